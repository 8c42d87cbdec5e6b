"""A data set written in another format: `tinyssd data convert voc:DIR yolo:OUT`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ssd_common.data import DataSource
from ssd_common.data.annotated import require_usable
from ssd_common.data.formats.annotations import AnnotatedSet, Picture
from ssd_common.data.formats.objects import check_objects, pixel_boxes
from ssd_common.data.specs import FORMATS, Format, Outputs, Spec, parse_spec
from ssd_common.data.transforms import SUFFIXES, image_size, image_suffix
from ssd_common.errors import InputError

Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass
class Conversion:
    """What was written, and what was not."""

    pictures: int = 0
    objects: int = 0
    bad: int = 0
    """Objects that are wrong, and left out."""
    ignored: int = 0
    """Objects that are difficult or crowds, and left out because the format cannot mark them."""
    lost: set[str] = field(default_factory=set)
    """What else the format, or this program, has no place for."""


def convert_data(source: str, target: str, data_dir: Path | None = None, progress: Progress = iter) -> Conversion:
    """Write a data set in another format; pictures are copied byte for byte.

    Args:
        source: the data set; all its splits, unless it names one.
        target: `voc:DIR`, `yolo:DIR`, `coco:IMAGES,FILE.json` or `rec:FILE.rec`. With a split, that split is added to
            what is there; else nothing may be there.
        data_dir: as in `load_dataset`.
        progress: called with the indices of a split's pictures, returns them; it may show a bar.

    Raises:
        InputError: the source cannot be read, the target is in use, or has no place for all the splits.
    """
    given, wanted = DataSource(source, data_dir), parse_spec(target)
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
    _require_free(wanted, row, outputs, sets[0].class_names)
    done = Conversion()
    taken = _names_in(outputs[0] / row.pictures) if row.pictures else None
    # What cannot be read shows before anything is written.
    plans = [_plan(data, set() if taken is None else taken, progress) for data in sets]
    with _all_or_nothing(outputs):
        for split, data, plan in zip(splits, sets, plans, strict=True):
            pictures = _pictures(data, plan, done, progress)
            row.write(outputs, wanted.split or split or "train", data.class_names, pictures)
            done.lost |= data.lost
    done.lost |= row.lost
    if row.marks_ignored:
        done.ignored = 0
    done.objects -= done.ignored
    return done


@contextmanager
def _all_or_nothing(roots: Outputs) -> Iterator[None]:
    """Take away again what was written to the target if it is not written to its end: half a set passes for a whole."""
    before = _below(roots)
    try:
        yield
    except BaseException:
        for path in sorted(_below(roots) - before, reverse=True):  # what a folder holds before the folder
            path.rmdir() if path.is_dir() else path.unlink()
        raise


def _below(roots: Iterable[Path]) -> set[Path]:
    """Every file and folder that there is, at or below some paths."""
    return {path for root in roots if root.exists() for path in (root, *root.rglob("*"))}


def _require_free(target: Spec, row: Format, outputs: Outputs, class_names: tuple[str, ...]) -> None:
    """Raise InputError if the target would be written over, or mixed with something else."""
    added = row.divided and target.split is not None and _in_use(outputs[0])
    if added and target.split in row.open(target.path, None).splits:
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
    """The pictures of a folder, without extension, in lower case: some file systems see no difference."""
    return {path.stem.lower() for path in folder.iterdir()} if folder.is_dir() else set()


def _plan(data: AnnotatedSet, taken: set[str], progress: Progress) -> list[tuple[str, int, int]]:
    """A file name of its own, and height and width, for each picture."""
    plan = []
    for index in progress(range(len(data.annotations))):
        annotation = data.annotations[index]
        path = PurePath(annotation.image_name)
        known = path.suffix.lower() in SUFFIXES
        suffix = path.suffix if known else image_suffix(annotation.image, annotation.image_label)
        parts = [part for part in (path.with_suffix("") if known else path).parts if part not in (path.anchor, "..")]
        stem = first = parts[-1].strip()
        for attempt in range(len(taken) + 2):
            if stem.lower() not in taken:
                break
            stem = "_".join(parts) if attempt == 0 else f"{first}_{attempt + 1}"
        taken.add(stem.lower())
        plan.append((f"{stem}{suffix}", *image_size(annotation.image, annotation.image_label)))
    return plan


def _pictures(
    data: AnnotatedSet, plan: list[tuple[str, int, int]], done: Conversion, progress: Progress
) -> Iterator[Picture]:
    """The pictures of a split, and in `done` what they are."""
    done.bad += len(data.strays)
    for index in progress(range(len(plan))):
        annotation = data.annotations[index]
        name, height, width = plan[index]
        good, _, bad = check_objects(annotation, height, width)
        picture = Picture(
            name,
            annotation.image,
            height,
            width,
            annotation.class_ids[good],
            pixel_boxes(annotation, height, width)[good],
            annotation.ignored[good],
        )
        done.pictures += 1
        done.objects += len(picture.class_ids)
        done.bad += len(bad) + len(annotation.problems)
        done.ignored += int(picture.ignored.sum())
        yield picture
