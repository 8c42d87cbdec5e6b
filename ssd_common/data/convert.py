"""A dataset written in another format: `tinyssd data convert voc:DIR yolo:OUT`."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ssd_common.data import DataSource
from ssd_common.data.annotated import require_usable
from ssd_common.data.formats.annotations import AnnotatedSet, Picture
from ssd_common.data.formats.files import lies_outside
from ssd_common.data.formats.objects import check_objects, pixel_boxes
from ssd_common.data.specs import FORMATS, Format, Outputs, Spec, parse_spec
from ssd_common.data.transforms import SUFFIXES, image_suffix, read_image
from ssd_common.errors import InputError
from ssd_common.output.console import HIDDEN

Progress = Callable[[Iterable[int]], Iterable[int]]
Plan = list[tuple[str, int, int]]
"""A file name of its own, and height and width, for each image of a split."""


@dataclass
class Conversion:
    """What was written, and what was not."""

    pictures: int = 0
    objects: int = 0
    bad: int = 0
    """Objects that are wrong, and left out."""
    ignored: int = 0
    """Objects that are difficult or crowds, and left out because the format cannot mark them."""
    doubts: int = 0
    """Annotations that were taken as they stand, though they may be wrong."""
    other_size: int = 0
    """Annotations whose size is not that of their image."""
    outside: int = 0
    """Images from outside of the dataset's folder."""
    lost: set[str] = field(default_factory=set)
    """What else the format, or this program, has no place for."""


def convert_data(
    source: str,
    target: str,
    data_dir: Path | None = None,
    progress: Progress = iter,
    allow_outside: bool = False,
) -> Conversion:
    """Write a dataset in another format; images are copied byte for byte.

    All of it is read before anything is written, every image to its last pixel, and nothing has its name until all
    is written: however the conversion ends, there is a whole dataset or none.

    Args:
        source: the dataset; all its splits, unless it names one.
        target: `voc:DIR`, `yolo:DIR`, `coco:IMAGES,FILE.json` or `rec:FILE.rec`. With a split, that split is added to
            what is there; else nothing may be there.
        data_dir: as in `load_dataset`.
        progress: called with the indices of a split's images, returns them; it may show a bar.
        allow_outside: as in `DataSource`.

    Raises:
        InputError: the source cannot be read, the target is in use, cannot be written, or has no place for the splits.
    """
    given, wanted = DataSource(source, data_dir, allow_outside), parse_spec(target)
    row = FORMATS[wanted.kind]
    if row.write is None:
        kinds = ", ".join(kind for kind, row in FORMATS.items() if row.write)
        raise InputError(f"'{target}' cannot be written; write one of {kinds}, such as yolo:DIR")
    splits = given.separate_splits()
    if len(splits) > 1 and (wanted.split or not row.divided):
        names, first = ", ".join(map(str, splits)), given.spec.of_split(splits[0])
        raise InputError(f"{target} is one split, {source} has {names}: name one of them, {first}")
    sets = [given.read(split) for split in splits]
    for data in sets:
        require_usable(data)
    outputs = row.outputs(wanted.path)
    added = row.divided and wanted.split is not None and _in_use(outputs[0])
    _require_free(wanted, row, outputs, added, sets[0].class_names)
    done = Conversion(doubts=len({doubt for data in sets for doubt in data.doubts}))
    taken = Counter(_names_in(outputs[0] / row.pictures)) if row.pictures else None
    plans = [_plan(data, Counter() if taken is None else taken, done, progress) for data in sets]
    try:
        with _staged(row, outputs, added) as staged:
            for split, data, plan in zip(splits, sets, plans, strict=True):
                pictures = _pictures(data, plan, done, progress)
                row.write(staged, wanted.split or split or "train", data.class_names, pictures)
    except OSError as error:
        raise InputError(
            f"{wanted.whole}: cannot be written ({error.strerror or error}): make room or name another place"
        ) from error
    done.lost |= row.lost
    if row.marks_ignored:
        done.ignored = 0
    done.objects -= done.ignored
    return done


@contextmanager
def _staged(row: Format, outputs: Outputs, added: bool) -> Iterator[Outputs]:
    """Yield paths to write to instead of the outputs; they get the names of these, one after the other, at the end.

    Args:
        row: the format.
        outputs: its files and folders.
        added: a split is added to a folder that is there.
    """
    if row.writes_whole:
        yield outputs
        return
    ending = f".{os.getpid()}.tmp"
    first = outputs[0]
    stages = [(path if added else path.parent) / f".{path.name}{ending}" for path in outputs]
    inside = [path for path in outputs[1:] if path.is_relative_to(first)]  # a file in the folder of its images
    stages = [stages[0] / p.relative_to(first) if p in inside else s for s, p in zip(stages, outputs, strict=True)]
    made = [folder for path in outputs for folder in path.parents if not folder.exists()]
    done = False
    try:
        for stage, path in zip(stages, outputs, strict=True):
            stage.parent.mkdir(parents=True, exist_ok=True)
            if added and row.adds_to and (path / row.adds_to).exists():
                stage.mkdir()
                shutil.copyfile(path / row.adds_to, stage / row.adds_to)
        yield tuple(stages)
        for stage, path in zip(stages, outputs, strict=True):
            if added:
                for part in sorted(stage.iterdir(), key=lambda part: part.name == row.last_part):
                    _move(part, path / part.name)
            elif path not in inside:
                os.replace(stage, path)
        done = True
    finally:
        for stage in stages:
            shutil.rmtree(stage) if stage.is_dir() else stage.unlink(missing_ok=True)
        for folder in () if done else sorted(set(made), reverse=True):  # what a folder holds before the folder
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _move(path: Path, target: Path) -> None:
    """Give a file or a folder its place; a folder that is there keeps what it has."""
    if target.is_dir():
        for part in sorted(path.iterdir()):
            _move(part, target / part.name)
    else:
        os.replace(path, target)


def _require_free(target: Spec, row: Format, outputs: Outputs, added: bool, class_names: tuple[str, ...]) -> None:
    """Raise InputError if the target would be written over, or mixed with something else."""
    if added and target.split in row.open(target.path, None, False).splits:
        raise InputError(f"{target.path} has a split '{target.split}': name another one, or another folder")
    for output in () if added else outputs:
        if _in_use(output):
            raise InputError(f"{output} is there already: nothing is written over; name another one")
    named = row.names(outputs[-1])
    if named != class_names and (added or named is not None):
        what = f"the classes {', '.join(named)}" if named else "no class names"
        raise InputError(f"{target.whole} has {what}; the source has {', '.join(class_names)}: name another folder")


def _in_use(path: Path) -> bool:
    """Whether there is a file, or a folder that is not empty."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _names_in(folder: Path) -> set[str]:
    """The images of a folder, without extension, in lower case: some file systems see no difference."""
    return {path.stem.lower() for path in folder.iterdir()} if folder.is_dir() else set()


def _plan(data: AnnotatedSet, taken: Counter[str], done: Conversion, progress: Progress) -> Plan:
    """Read every image to its end, and give it a name that is not taken, where upper and lower case are the same."""
    plan = []
    done.bad += len(data.strays)
    for index in progress(range(len(data.annotations))):
        annotation = data.annotations[index]
        height, width = read_image(annotation.image, annotation.image_label).shape[:2]
        done.other_size += annotation.header_size not in (None, (width, height))
        done.outside += lies_outside(annotation.image_name)
        path = PurePosixPath(annotation.image_name.replace("\\", "/"))
        known = path.suffix.lower() in SUFFIXES
        suffix = path.suffix if known else image_suffix(annotation.image, annotation.image_label)
        parts = [_plain(part) for part in (path.with_suffix("") if known else path).parts if part not in ("/", "..")]
        stem = parts[-1]
        if stem.lower() in taken:
            stem = "_".join(parts)
        while (key := stem.lower()) in taken:
            taken[key] += 1
            stem = f"{stem}_{taken[key]}"
        taken[key] = 1
        plan.append((f"{stem}{suffix}", height, width))
    return plan


def _plain(name: str) -> str:
    """A part of a file name without what is no UTF-8, hidden, ends a line or is obeyed by a terminal."""
    return re.sub(r"^\.|^$", "_", HIDDEN.sub("_", name.strip()))


def _pictures(data: AnnotatedSet, plan: Plan, done: Conversion, progress: Progress) -> Iterator[Picture]:
    """The images of a split, and in `done` what they are."""
    for index in progress(range(len(plan))):
        annotation = data.annotations[index]
        name, height, width = plan[index]
        good, _, bad = check_objects(annotation, height, width)
        boxes = pixel_boxes(annotation, height, width)[good]
        ignored = annotation.ignored[good]
        done.pictures += 1
        done.objects += len(boxes)
        done.bad += len(bad) + len(annotation.problems)
        done.ignored += int(ignored.sum())
        done.lost |= annotation.lost
        yield Picture(name, annotation.image, height, width, annotation.class_ids[good], boxes, ignored)
