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

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

import numpy as np

from ssd_common.data.dataset import counted
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
from ssd_common.data.formats.class_names import FILE_NAME, numbered_classes, read_class_names
from ssd_common.data.formats.data_yaml import YAML, Top, class_names_of, num_keypoints_of, other_paths, read_yaml
from ssd_common.data.formats.files import elsewhere, file_names, files_below, listed, read_lines, read_text, rough, stem
from ssd_common.data.transforms import OTHER_SUFFIXES, SUFFIXES
from ssd_common.errors import InputError, one_line
from ssd_common.output.atomic import write_atomically

CONVERT = "convert it to JPEG or PNG"
OTHER_LABELS = (".csv", ".json", ".xml")
"""How annotations of other formats end, that lie among the labels."""
NAMES = (".yaml", ".yml", ".names", FILE_NAME)  # how files with names of classes end, of this and of other tools
CLASS_ID = re.compile(r"\+?\d{1,9}(\.\d{0,30})?(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)
MAX_CLASS = 10_000
MAX_LINES = 100_000  # of the labels of an image
KEYS = ("kpt_shape", "names", "nc", "path")  # of data.yaml, beside the splits
USUAL_SPLITS = ("train", "val", "valid", "test")


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
        if self._yaml is not None:
            return class_names_of(self._yaml, self.folder / YAML)
        return numbered_classes(1 + max(map(self._highest_class, self._folders)))

    @cached_property
    def _yaml(self) -> Top | None:
        return read_yaml(self.folder / YAML)

    def _labelled(self, split: str) -> tuple[dict[str, tuple[Path, Path | None]], dict[str, Path], list[Problem]]:
        """By name: each image with its labels if it has any, the labels without an image; and duplicate images."""
        images, labels = self._folders[split]
        files: dict[str, Path] = {}
        pictures: dict[str, tuple[Path, Path | None]] = {}
        problems = []
        for path in files_below(labels, ".txt"):
            if (other := files.setdefault(stem(path, labels), path)) is not path:  # one.TXT and one.txt
                problems.append(Problem(self._place(path), "", "", f"duplicate annotation, {other.name} is read"))
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
                lines = read_lines(file) if file else []
                ids = (_class_id(line.split()[0]) for line in lines if line.strip())
                highest = max([highest, *(class_id for class_id in ids if class_id is not None)])
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
        num_keypoints = num_keypoints_of(self._yaml or {}, self.folder / YAML)
        read = partial(_read_object, len(self.class_names), num_keypoints)
        annotations = []
        doubts = self._unused(split, pictures.get(Path(FILE_NAME).stem, (None, None))[1])
        for key, (path, file) in pictures.items():
            where = self._place(file) if file else f"{self._place(labels / key)}.txt"
            try:
                lines = read_lines(file) if file else []
                if len(lines) > MAX_LINES:
                    raise OSError(f"more than {MAX_LINES:,} lines")
            except OSError as error:
                problems.append(Problem(where, "", "", f"unreadable annotation, {error}"))
                continue
            beside = path.with_suffix(".txt")
            if file is None and beside.is_file():
                doubts.append(Problem(self._place(beside), "", "", f"unused annotation, it belongs to {where}"))
            numbered = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
            rows, bad = read_rows(numbered, read, where, "line")
            lost = {"keypoints" if num_keypoints else "polygons" for _, words in numbered if len(words) > 5}
            if num_keypoints is None:
                doubts += _six_numbers(dict(numbered), rows, where)
            place = path.relative_to(images).as_posix()
            annotations.append(annotate(path, place, where, rows, bad, noun="line", fractions=True, lost=lost))
        if others := [path for path in files_below(labels, *OTHER_LABELS) if stem(path, labels) in pictures]:
            reason = f"unused annotations, labels are read from .txt files, {counted(len(others), 'file')}"
            doubts.append(Problem(self._place(others[0]), "", "", reason))
        unread = {stem(path, images): path for path in files_below(images, *OTHER_SUFFIXES)}
        alike = {rough(key): path for key, (path, _) in pictures.items()} if strays else {}
        missing = []
        for key, path in strays.items():
            reason = f"there is no {self._place(images / key)}"
            if image := unread.pop(key, None):
                reason = f"{self._place(image)} is not read: {CONVERT}"
            elif image := alike.get(rough(key)):  # one.jpg.txt, or One.txt
                reason = f"{image.name} has its labels in {image.stem}.txt"
            missing.append(Problem(self._place(path), "", "", f"missing image, {reason}"))
        doubts += [Problem(self._place(path), "", "", f"unused image, {CONVERT}") for path in unread.values()]
        if pictures and not labels.is_dir() and not any("annotation" in doubt.kind for doubt in doubts):
            reason = f"no labels, there is no folder {self._place(labels)}"
            doubts.append(Problem(self._place(images), "", "", reason))
        return AnnotatedSet(name, self.class_names, annotations, tuple(problems), tuple(missing), tuple(doubts))

    def _unused(self, split: str, labels: Path | None) -> list[Problem]:
        """What seems to be said about a split, and is not read; `labels` are those of an image called classes."""
        used = {labels for _, labels in self._folders.values()}
        folders = (path for path in listed(self.folder / "labels") if path.is_dir() and path not in used)
        doubts = [
            Problem(self._place(path), "", "", f"unused annotations, there is no images/{path.name}")
            for path in folders
        ]
        if above := file_names(self.folder / "images", SUFFIXES):
            reason = f"unused images, they are in no split, {counted(len(above), 'file')}"
            doubts.append(Problem(self._place(self.folder / "images" / above[0]), "", "", reason))
        if self._yaml is None:
            others = (path for path in listed(self.folder) if path.name.lower().endswith(NAMES))
            reason = f"unused file, the names of the classes are read from {YAML}"
            return doubts + [Problem(path.name, "", "", reason) for path in others]
        for path in (folder / FILE_NAME for folder in (self.folder, self.folder / "labels", self._folders[split][1])):
            with suppress(InputError):
                if path != labels and read_class_names(path) not in (None, self.class_names):
                    reason = f"other class names, than in {YAML}, which is used"
                    doubts.append(Problem(self._place(path), "", "", reason))
        place = self._place(self._folders[split][0])
        reason = f"unused path, the images are those in {place}"
        paths = other_paths(self._yaml, split, PurePosixPath(place))
        doubts += [Problem(YAML, split, path, reason) for path in paths]
        places = [PurePosixPath(self._place(images)) for images, _ in self._folders.values()]
        for key in sorted({"train", "val"} - set(self._folders)):  # exports name a test set that need not be there
            paths = other_paths(self._yaml, key, *places)
            doubts += [Problem(YAML, key, path, "unused path, the dataset has no such folder") for path in paths]
        return doubts

    def _place(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _split_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Where the images and the labels of each split are, in either layout, by name; valid is val."""
    folders: dict[str, tuple[Path, Path]] = {}
    parts = [path for path in listed(folder) if (path / "images").is_dir() and not _has_splits(path)]
    if any((path / "labels").is_dir() for path in parts):  # Roboflow's
        parts = [path for path in parts if path.name in USUAL_SPLITS or (path / "labels").is_dir()]
        names = {path: path.name for path in parts}
        names |= {folder / "valid": "val"} if folder / "valid" in parts and folder / "val" not in parts else {}
        folders = {names[path]: (path / "images", path / "labels") for path in parts}
    labels = {path.name: path for path in listed(folder / "labels") if path.is_dir()}
    for path in listed(folder / "images"):
        other = {"val": "valid", "valid": "val"}.get(path.name, "")
        if path.is_dir():
            folders[path.name] = path, labels.get(path.name, labels.get(other, folder / "labels" / path.name))
    if not folders:
        what = "no folder images/SPLIT in it" if folder.is_dir() else "no such folder"
        what = "a file, not the folder of a dataset" if folder.is_file() else what
        hint = elsewhere(folder, _has_splits)
        if file_names(folder / "images", SUFFIXES):  # as Label Studio exports them
            hint = ": move the files in images to images/train, and those in labels to labels/train"
        raise InputError(f"{folder}: {what}; a YOLO dataset has images/train and labels/train{hint}")
    return {name: folders[name] for name in sorted(folders)}


def _has_splits(folder: Path) -> bool:
    """Whether a folder is a dataset, and no split of one."""
    return any((folder / "images" / split).is_dir() for split in USUAL_SPLITS)


def _read_object(num_classes: int, num_keypoints: int | None, words: list[str]) -> tuple[int, Box, bool]:
    word, *numbers = words
    class_id = _class_id(word)
    if "," in word or ";" in word:
        raise BadObjectError(word, "a comma or a semicolon, spaces alone separate the numbers of a line")
    if class_id is None or class_id >= num_classes:
        raise BadObjectError(f"class {word}", f"unknown class, the classes are 0 to {num_classes - 1}")
    if num_keypoints is not None and len(numbers) == 4 + num_keypoints:
        numbers = numbers[:4]
    elif num_keypoints is None and len(numbers) >= 6 and len(numbers) % 2 == 0:
        return class_id, _box_of_polygon(numbers), False
    x, y, width, height = read_box(numbers, ("x", "y", "width", "height"))
    return class_id, (x - width / 2, y - height / 2, x + width / 2, y + height / 2), False


def _class_id(word: str) -> int | None:
    """The class that a word stands for, 1.0 and 1e+00 for the class 1, as numpy writes it; None for what is none."""
    number = float(word) if CLASS_ID.fullmatch(word) else -1.0
    return int(number) if number.is_integer() and 0 <= number < MAX_CLASS else None


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

    Raises:
        InputError: the split has a name that `data.yaml` needs itself, or there is a `data.yaml` that cannot be read.
    """
    import yaml

    if split in KEYS:
        raise InputError(
            f"a YOLO dataset has no split '{split}', which {YAML} has another meaning for: name it otherwise"
        )
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
        raise InputError(f"{folder / YAML}: cannot be added to ({one_line(error)})") from error
    content = own | {split: f"images/{split}", "names": dict(enumerate(class_names))}
    write_atomically(folder / YAML, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
