"""YOLO as Ultralytics lays it out: `images/SPLIT/NAME.jpg`, `labels/SPLIT/NAME.txt`, `data.yaml` with the class names.

Roboflow's `SPLIT/images` and `SPLIT/labels` is read as well; its folder `valid` is the split `val`, as in its
`data.yaml`.

A line of a label file is `class x y width height`, the box's centre and size as fractions of the image, or `class x1
y1 x2 y2 x3 y3 …`, a polygon, of which the box is taken, as Ultralytics does for detection. With `kpt_shape` in
`data.yaml`, keypoints follow the box, and are left out. An image without a label file has no objects. Without
`data.yaml` the classes are called "class 0", "class 1", ….

Source of the format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssd_common.data.formats.annotations import (
    AnnotatedSet,
    BadObjectError,
    Box,
    Opened,
    Picture,
    Problem,
    Row,
    annotate,
    read_box,
    read_numbers,
    read_rows,
)
from ssd_common.data.formats.class_names import checked_class_names, clean_name, numbered_classes
from ssd_common.data.formats.files import files_below, listed, read_bytes, read_text, stem
from ssd_common.data.transforms import SUFFIXES
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

YAML = "data.yaml"
MAX_YAML, MAX_DEPTH = 1 << 20, 100  # characters, and lists in lists


class YoloFolder:
    """A YOLO dataset: where its splits are, and what its classes are called, found once.

    Args:
        folder: the dataset.

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
        return read_names(self.folder / YAML) or numbered_classes(1 + max(map(self._highest_class, self._folders)))

    @cached_property
    def _num_keypoints(self) -> int | None:
        """How many numbers of keypoints are behind each box; None if the labels are no poses."""
        shape = _read_yaml(self.folder / YAML).get("kpt_shape")
        if shape is None:
            return None
        if len(shape.items) != 2 or not all(text and text.isdecimal() and len(text) < 5 for text in shape.items):
            raise InputError(f"{self.folder / YAML}: kpt_shape is not two whole numbers, such as [17, 3]")
        return math.prod(int(text) for text in shape.items if text)

    def _labelled(self, split: str) -> tuple[dict[str, tuple[Path, Path | None]], dict[str, Path], list[Problem]]:
        """By name: each image with its labels if it has any, the labels without an image; and duplicate images."""
        images, labels = self._folders[split]
        files = {stem(path, labels): path for path in files_below(labels, ".txt")}
        pictures: dict[str, tuple[Path, Path | None]] = {}
        problems = []
        for path in files_below(images, *SUFFIXES):
            key = stem(path, images)
            if key in pictures:
                reason = f"duplicate image, {pictures[key][0].name} has the same name"
                problems.append(Problem(self._place(path), "", "", reason))
            else:
                pictures[key] = (path, files.pop(key, None))
        files.pop("classes", None)  # the class names, which some tools lay beside the labels
        return pictures, files, problems

    def _highest_class(self, split: str) -> int:
        """The highest class id of a split, as far as it can be read; 0 at least."""
        highest = 0
        for _, file in self._labelled(split)[0].values():
            with suppress(OSError):
                lines = read_bytes(file).decode("utf-8-sig", "replace").splitlines() if file else []
                first = (next(iter(line.split()), "") for line in lines)
                highest = max([highest, *(int(word) for word in first if word.isdecimal() and len(word) < 5)])
        return highest

    def read(self, split: str, name: str) -> AnnotatedSet:
        """Return a split as its files have it.

        Args:
            split: one of those in `opened`.
            name: what to call the set.

        Raises:
            InputError: `data.yaml` names no classes.
        """
        images, labels = self._folders[split]
        pictures, strays, problems = self._labelled(split)
        read = partial(_read_object, len(self.class_names), self._num_keypoints)
        annotations = []
        doubts: list[Problem] = []
        for key, (path, file) in pictures.items():
            where = self._place(file) if file else f"{self._place(labels / key)}.txt"
            try:
                lines = read_text(file).splitlines() if file else []
            except (OSError, UnicodeDecodeError) as error:
                problems.append(Problem(where, "", "", f"unreadable annotation, {error}"))
                continue
            beside = path.with_suffix(".txt")
            if file is None and beside.is_file():
                doubts.append(Problem(self._place(beside), "", "", f"unused annotation, it belongs to {where}"))
            numbered = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
            rows, bad = read_rows(numbered, read, where, "line")
            lost = {"keypoints" if self._num_keypoints else "polygons" for _, words in numbered if len(words) > 5}
            if self._num_keypoints is None:
                doubts += _six_numbers(dict(numbered), rows, where)
            place = path.relative_to(images).as_posix()
            annotations.append(annotate(path, place, where, rows, bad, noun="line", fractions=True, lost=lost))
        missing = [
            Problem(self._place(path), "", "", f"missing image, there is no {self._place(images / key)}")
            for key, path in strays.items()
        ]
        used = {labels for _, labels in self._folders.values()}
        doubts += [
            Problem(self._place(path), "", "", f"unused annotations, there is no images/{path.name}")
            for path in listed(self.folder / "labels")
            if path.is_dir() and path not in used
        ]
        return AnnotatedSet(name, self.class_names, annotations, tuple(problems), tuple(missing), tuple(doubts))

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _split_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Where the images and the labels of each split are, in either layout, by name; valid is val."""
    folders: dict[str, tuple[Path, Path]] = {}
    for path in listed(folder):  # Roboflow's
        if (path / "images").is_dir() and (path / "labels").is_dir():
            folders["val" if path.name == "valid" else path.name] = path / "images", path / "labels"
    labels = {path.name: path for path in listed(folder / "labels") if path.is_dir()}
    for path in listed(folder / "images"):
        other = {"val": "valid", "valid": "val"}.get(path.name, "")
        if path.is_dir():
            folders[path.name] = path, labels.get(path.name, labels.get(other, folder / "labels" / path.name))
    if not folders:
        what = "no folder images/SPLIT in it" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder}: {what}; a YOLO dataset has images/train and labels/train")
    return {name: folders[name] for name in sorted(folders)}


class Entry(NamedTuple):
    """What stands behind a name at the top of a YAML file."""

    kind: str
    """"text", "list" or "table"."""
    items: list[str | None]
    """Its words as they are written, of a table each key and value; None for what is not a word."""


def _read_yaml(path: Path) -> dict[str, Entry]:
    """The top of a YAML file, {} if there is none.

    No word is made into anything: to YAML, 010 is 8, 1.10 is 1.1, 12:30 is 750, yes is true and 2024-02-30 an error.

    Raises:
        InputError: it is not YAML.
    """
    import yaml

    top: dict[str, Entry] = {}
    entry: Entry | None = None
    key: str | None = None
    depth = 0
    try:
        text = read_text(path)
        if len(text) > MAX_YAML:
            raise OSError(f"more than {MAX_YAML:,} characters")
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.NodeEvent):
                word = event.value if isinstance(event, yaml.ScalarEvent) else None
                if depth == 1 and key is None:
                    key = str(word)
                elif depth == 1 and key is not None:
                    kinds = {yaml.SequenceStartEvent: "list", yaml.MappingStartEvent: "table"}
                    entry = top[key] = Entry(kinds.get(type(event), "text"), [word][: word is not None])
                    key = None
                elif depth == 2 and entry is not None:
                    entry.items.append(word)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:  # of which a parser takes a time that grows with its square
                    raise OSError(f"nested more than {MAX_DEPTH} deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentEndEvent):
                break
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not a readable YAML file ({' '.join(str(error).split())})") from error
    return top


def read_names(path: Path) -> tuple[str, ...] | None:
    """Return the class names in a `data.yaml`; None if there is no such file.

    Raises:
        InputError: it is not YAML, or has no `names` in it: a list, or a table from 0 on.
    """
    top = _read_yaml(path)
    if not top and not path.exists():
        return None
    kind, items = top.get("names", Entry("", []))
    names = items
    if kind == "table":
        named = dict(zip(items[::2], items[1::2], strict=True))
        names = [named.get(str(i)) for i in range(len(named))]
    if kind not in ("list", "table") or None in names:
        found = {"": "no 'names' in it", "text": f"its 'names' are the text {' '.join(map(str, items))[:40]!r}"}
        what = found.get(kind, f"its 'names' are a {kind} that is not of names from 0 on")
        raise InputError(f"{path}: {what}; write names: [cat, dog], or a table from 0 on, a line '  0: cat' each")
    return checked_class_names([clean_name(name) for name in names if name is not None], f"{path}: names")


def _read_object(num_classes: int, num_keypoints: int | None, words: list[str]) -> tuple[int, Box, bool]:
    class_id, *numbers = words
    if not class_id.isdecimal() or len(class_id) > 9 or int(class_id) >= num_classes:
        raise BadObjectError(f"class {class_id}", f"unknown class, the classes are 0 to {num_classes - 1}")
    if num_keypoints is not None and len(numbers) == 4 + num_keypoints:
        numbers = numbers[:4]
    elif num_keypoints is None and len(numbers) >= 6 and len(numbers) % 2 == 0:
        return int(class_id), _box_of_polygon(numbers), False
    x, y, width, height = read_box(numbers, ("x", "y", "width", "height"))
    return int(class_id), (x - width / 2, y - height / 2, x + width / 2, y + height / 2), False


def _six_numbers(lines: Mapping[int, list[str]], rows: Iterable[Row], where: str) -> list[Problem]:
    """The lines whose triangle may be a box within the image, and more: a confidence, a track id, an angle."""
    doubts = []
    for number in (row.number for row in rows if len(lines[row.number]) == 7):
        x, y, width, height = map(float, lines[number][1:5])
        if 0 < width <= 2 * min(x, 1 - x) and 0 < height <= 2 * min(y, 1 - y):
            reason = "six numbers, a triangle, or a box with a confidence and more? taken for a triangle"
            doubts.append(Problem(where, f"line {number}", " ".join(lines[number]), reason))
    return doubts


def _box_of_polygon(numbers: list[str]) -> Box:
    points = [read_numbers(numbers[i : i + 2], ("x", "y")) for i in range(0, len(numbers), 2)]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def write_yolo(folder: Path, split: str, class_names: Sequence[str], pictures: Iterable[Picture]) -> None:
    """Write a split of a YOLO dataset; the folder may have others. Objects that are ignored are left out.

    Args:
        folder: the dataset.
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
        # The objects first: an image without them would be one that has none.
        (labels / f"{picture.stem}.txt").write_text("".join(lines), encoding="utf-8")
        picture.copy_to(images)
    try:
        own = yaml.safe_load(read_text(folder / YAML)) if (folder / YAML).exists() else {}
    except (ValueError, OSError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{folder / YAML}: cannot be added to ({' '.join(str(error).split())})") from error
    content = own | {split: f"images/{split}", "names": dict(enumerate(class_names))}
    write_atomically(folder / YAML, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
