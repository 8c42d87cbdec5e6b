"""YOLO as Ultralytics lays it out: `images/SPLIT/NAME.jpg`, `labels/SPLIT/NAME.txt`, `data.yaml` with the class names.

Roboflow's `SPLIT/images` and `SPLIT/labels` is read as well; its folder `valid` is the split `val`, as in its
`data.yaml`.

A line of a label file is `class x y width height`, the box's centre and size as fractions of the picture, or `class x1
y1 x2 y2 x3 y3 …`, a polygon, of which the box is taken, as Ultralytics does for detection. A picture without a label
file has no objects. Without `data.yaml` the classes are called "class 0", "class 1", ….

Source of the format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import numpy as np

from ssd_common.data.formats.annotations import (
    AnnotatedSet,
    BadObjectError,
    Box,
    Opened,
    Picture,
    Problem,
    annotate,
    read_box,
    read_numbers,
    read_rows,
)
from ssd_common.data.formats.class_names import checked_class_names, clean_name, numbered_classes
from ssd_common.data.transforms import SUFFIXES
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

YAML = "data.yaml"


class YoloFolder:
    """A YOLO data set: where its splits are, and what its classes are called, found once.

    Args:
        folder: the data set.

    Raises:
        InputError: there is no such folder, or it has no splits.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._folders = _split_folders(folder)

    def opened(self) -> Opened:
        """Return its splits and `read`."""
        return Opened(tuple(self._folders), self.read)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Those in `data.yaml`, or as many numbers as the labels need."""
        every_label = [labels for _, labels in self._folders.values()]
        return read_names(self.folder / YAML) or numbered_classes(_count_classes(every_label))

    def read(self, split: str, name: str) -> AnnotatedSet:
        """Return a split as its files have it.

        Args:
            split: one of those in `opened`.
            name: what to call the set.

        Raises:
            InputError: `data.yaml` names no classes.
        """
        images, labels = self._folders[split]
        files = {path.relative_to(labels).with_suffix(""): path for path in sorted(labels.rglob("*.txt"))}
        files.pop(Path("classes"), None)  # the class names, which some tools lay beside the labels
        read = partial(_read_object, len(self.class_names))
        pictures: dict[Path, Path] = {}
        problems: list[Problem] = []
        annotations = []
        for path in sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES):
            stem = path.relative_to(images).with_suffix("")
            if pictures.setdefault(stem, path) is not path:
                reason = f"duplicate picture, {pictures[stem].name} has the same name"
                problems.append(Problem(self._place(path), "", "", reason))
                continue
            file = files.pop(stem, None)
            where = f"{self._place(labels / stem)}.txt"
            try:
                lines = file.read_text(encoding="utf-8-sig").splitlines() if file else []
            except (OSError, UnicodeDecodeError) as error:
                problems.append(Problem(where, "", "", f"unreadable annotation, {error}"))
                continue
            numbered = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
            rows, bad = read_rows(numbered, read, where, "line")
            image_name = path.relative_to(images).as_posix()
            annotations.append(annotate(path, image_name, where, rows, bad, noun="line", fractions=True))
        strays = tuple(
            Problem(self._place(path), "", "", f"missing picture, there is no {self._place(images / stem)}")
            for stem, path in files.items()
        )
        return AnnotatedSet(name, self.class_names, annotations, tuple(problems), strays)

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _split_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Where the pictures and the labels of each split are, in either layout, by name."""
    roboflow = {path.parent.name: (path.with_name("images"), path) for path in folder.glob("*/labels") if path.is_dir()}
    roboflow = {name: (images, labels) for name, (images, labels) in roboflow.items() if images.is_dir()}
    if "valid" in roboflow:
        roboflow.setdefault("val", roboflow.pop("valid"))
    own = {path.name: (path, folder / "labels" / path.name) for path in folder.glob("images/*") if path.is_dir()}
    folders = roboflow | own
    if not folders:
        what = "no folder images/SPLIT in it" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder}: {what}; a YOLO data set has images/train and labels/train")
    return {name: folders[name] for name in sorted(folders)}


def read_names(path: Path) -> tuple[str, ...] | None:
    """Return the class names in a `data.yaml`; None if there is no such file.

    Raises:
        InputError: it is not YAML, or has no `names` in it: a list, or a table from 0 on.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    # YAML reads the names yes and no as truth values.
    plain = isinstance(names, list) and all(type(item) in (str, int, float) for item in names)
    if not isinstance(names, list) or not plain:
        what = "write the class names as a list, or as a table from 0 on; words like yes in quotation marks"
        raise InputError(f"{path}: no 'names' in it; {what}")
    return checked_class_names([clean_name(str(item)) for item in names], f"{path}: names")


def _count_classes(folders: Iterable[Path]) -> int:
    """One more than the highest class id in any label file of any split, 1 at least."""
    highest = 0
    for path in chain.from_iterable(folder.rglob("*.txt") for folder in folders):
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            first = next(iter(line.split()), "")
            highest = max(highest, int(first) if first.isdecimal() and len(first) < 5 else 0)
    return highest + 1


def _read_object(num_classes: int, words: list[str]) -> tuple[int, Box, bool]:
    class_id, *numbers = words
    if not class_id.isdecimal() or int(class_id) >= num_classes:
        raise BadObjectError(f"class {class_id}", f"unknown class, the classes are 0 to {num_classes - 1}")
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        return int(class_id), _box_of_polygon(numbers), False
    x, y, width, height = read_box(numbers, ("x", "y", "width", "height"))
    return int(class_id), (x - width / 2, y - height / 2, x + width / 2, y + height / 2), False


def _box_of_polygon(numbers: list[str]) -> Box:
    points = [read_numbers(numbers[i : i + 2], ("x", "y")) for i in range(0, len(numbers), 2)]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def write_yolo(folder: Path, split: str, class_names: Sequence[str], pictures: Iterable[Picture]) -> None:
    """Write a split of a YOLO data set; the folder may have others. Objects that are ignored are left out.

    Args:
        folder: the data set.
        split: the name of the split.
        class_names: written to `data.yaml`.
        pictures: what it has.
    """
    import yaml

    images, labels = folder / "images" / split, folder / "labels" / split
    for part in (images, labels):
        part.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        size = np.array([picture.width, picture.height])
        trained_on = ~picture.ignored
        low, high = picture.boxes[trained_on, :2], picture.boxes[trained_on, 2:]
        numbers = np.concatenate([(low + high) / 2 / size, (high - low) / size], axis=1).tolist()
        lines = [
            f"{class_id} {' '.join(f'{number:.15g}' for number in row)}\n"
            for class_id, row in zip(picture.class_ids[trained_on].tolist(), numbers, strict=True)
        ]
        # The objects first: a picture without them would be one that has none.
        (labels / f"{picture.stem}.txt").write_text("".join(lines), encoding="utf-8")
        picture.copy_to(images)
    parts = {name: images.relative_to(folder).as_posix() for name, (images, _) in _split_folders(folder).items()}
    own = yaml.safe_load((folder / YAML).read_text(encoding="utf-8-sig")) if (folder / YAML).is_file() else {}
    content = own | parts | {"names": dict(enumerate(class_names))}
    write_atomically(folder / YAML, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
