"""A data set written in another format: `tinyssd data convert voc:DIR yolo:OUT`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ssd_common.data import parse_spec, read_annotations, separate_splits, split_names
from ssd_common.data.annotated import require_usable
from ssd_common.data.formats.annotations import AnnotatedSet, Picture
from ssd_common.data.formats.class_names import FILE_NAME, read_class_names
from ssd_common.data.formats.coco import write_coco
from ssd_common.data.formats.objects import check_objects, pixel_boxes
from ssd_common.data.formats.records import write_record_set
from ssd_common.data.formats.voc import write_voc
from ssd_common.data.formats.yolo import YAML, read_names, write_yolo
from ssd_common.data.specs import FORMATS, UNDIVIDED, Spec, coco_paths
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
    given, wanted = parse_spec(source), parse_spec(target)
    if wanted.kind not in FORMATS:
        raise InputError(f"'{target}' cannot be written; write one of {', '.join(FORMATS)}, such as yolo:DIR")
    splits = separate_splits(given)
    if len(splits) > 1 and (wanted.split or wanted.kind in UNDIVIDED):
        names = ", ".join(map(str, splits))
        raise InputError(f"{target} is one split, {source} has {names}: name one of them, {given.of_split(splits[0])}")
    sets = [read_annotations(given, split, data_dir) for split in splits]
    for data in sets:
        require_usable(data)
    _require_free(wanted, sets[0].class_names)
    done = Conversion()
    shared = _names_in(wanted)  # the splits of VOC share one folder of pictures
    # What cannot be read shows before anything is written.
    plans = [_plan(data, shared if wanted.kind == "voc" else set(), progress) for data in sets]
    with _all_or_nothing(wanted):
        for split, data, plan in zip(splits, sets, plans, strict=True):
            pictures = _pictures(data, plan, done, progress)
            _write(wanted, wanted.split or split or "train", data.class_names, pictures)
            done.lost |= data.lost
    if wanted.kind == "yolo":
        done.objects -= done.ignored
    else:
        done.ignored = 0
    if wanted.kind == "rec":
        done.lost.add("names of the pictures")
    return done


@contextmanager
def _all_or_nothing(target: Spec) -> Iterator[None]:
    """Take away again what was written to the target if it is not written to its end: half a set passes for a whole."""
    roots = {"coco": coco_paths, "rec": _record_paths}.get(target.kind, lambda path: [Path(path)])(target.path)
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


def _record_paths(path: str) -> tuple[Path, Path, Path]:
    """The files of a set of records: the pictures, their index, and the names of their classes."""
    return Path(path), Path(path).with_suffix(".idx"), Path(path).parent / FILE_NAME


def _write(target: Spec, split: str, class_names: tuple[str, ...], pictures: Iterable[Picture]) -> None:
    if target.kind == "coco":
        write_coco(*coco_paths(target.path), class_names, pictures)
    elif target.kind == "rec":
        write_record_set(Path(target.path), class_names, pictures)
    else:
        (write_voc if target.kind == "voc" else write_yolo)(Path(target.path), split, class_names, pictures)


def _require_free(target: Spec, class_names: tuple[str, ...]) -> None:
    """Raise InputError if the target would be written over, or mixed with something else."""
    path = Path(target.path)
    named: tuple[str, ...] | None = None
    if target.kind == "rec":
        *outputs, names = _record_paths(target.path)
        named = read_class_names(names)  # of the other files there
        if named is None and any(path.parent.glob("*.rec")):
            raise InputError(
                f"{path.parent}: {names.name} would name the classes of the other .rec files, too: name another folder"
            )
    elif target.kind == "coco":
        outputs = list(coco_paths(target.path))
    elif target.split and _in_use(path):
        if target.split in split_names(target):
            raise InputError(f"{path} has a split '{target.split}': name another one, or another folder")
        outputs = []
        named = (read_class_names(path / FILE_NAME) if target.kind == "voc" else read_names(path / YAML)) or ()
    else:
        outputs = [path]
    for output in outputs:
        if _in_use(output):
            raise InputError(f"{output} is there already: nothing is written over; name another one")
    if named is not None and named != class_names:
        what = f"the classes {', '.join(named)}" if named else "no class names"
        raise InputError(f"{target.whole} has {what}; the source has {', '.join(class_names)}: name another folder")


def _in_use(path: Path) -> bool:
    """Whether there is a file, or a folder that is not empty."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _names_in(target: Spec) -> set[str]:
    """The pictures that are in the target, without extension, in lower case: some file systems see no difference."""
    folder = Path(target.path) / "JPEGImages"
    return {path.stem.lower() for path in folder.iterdir()} if target.kind == "voc" and folder.is_dir() else set()


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
        good, bad = check_objects(annotation, height, width)
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
