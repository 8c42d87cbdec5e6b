"""Pascal VOC: `Annotations/ID.xml`, `JPEGImages/ID.jpg`, and the IDs of a split in `ImageSets/Main/SPLIT.txt`.

Without `ImageSets`, all the annotations are one split. The classes are the names in all the annotations, sorted, or the
lines of `classes.txt` if there is one. An image is found by its name without extension.

Source of the format: "The PASCAL Visual Object Classes Challenge 2012 Development Kit", section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

from ssd_common.data.formats.annotations import (
    AnnotatedSet,
    BadObjectError,
    Box,
    Opened,
    Picture,
    Problem,
    annotate,
    read_box,
    read_flag,
    read_rows,
)
from ssd_common.data.formats.class_names import FILE_NAME, read_class_names
from ssd_common.data.formats.files import elsewhere, files_below, listed, normal, read_lines, rough, stem
from ssd_common.data.formats.voc_xml import Document, Object, encode_document, read_document
from ssd_common.data.transforms import SUFFIXES
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

LISTS, PICTURES = "ImageSets/Main", "JPEGImages"
CLASS_FLAGS = ("-1", "0", "1")  # behind an ID in the list of a single class


class VocFolder:
    """A VOC dataset; its annotations are read once, for all the splits and the class names.

    Args:
        folder: the dataset.

    Raises:
        InputError: there is no such folder, or it has no annotations or no images.
    """

    def __init__(self, folder: Path) -> None:
        if missing := _missing(folder):
            what = f"no folder {missing[0]} in it" if folder.is_dir() else "no such folder"
            hint = elsewhere(folder, lambda path: not _missing(path))
            raise InputError(f"{folder}: {what}; a VOC dataset has Annotations, {PICTURES} and {LISTS}{hint}")
        self.folder = folder
        self._lists = {path.stem: path for path in listed(folder / LISTS) if path.suffix.lower() == ".txt"}
        self._files: dict[str, Path] = {}
        self._doubles: dict[str, Problem] = {}
        for path in files_below(folder / "Annotations", ".xml"):
            key = stem(path, folder / "Annotations")
            if (other := self._files.setdefault(key, path)) is not path:  # one.XML and one.xml
                place = path.relative_to(folder).as_posix()
                self._doubles[key] = Problem(place, "", "", f"duplicate annotation, {other.name} is read")

    def opened(self) -> Opened:
        """Return its splits, `read`, and the lists that repeat others: trainval, and those of a single class."""
        names = set(self._lists)
        likely = {name for name in names if any(name.endswith(f"_{other}") for other in names)}
        likely |= names & {"trainval"} if {"train", "val"} <= names else set()
        others = {picture for name in names - likely for picture in self._ids(name)[0]}
        return Opened(tuple(self._lists), self.read, frozenset(n for n in likely if others.issuperset(self._ids(n)[0])))

    @cached_property
    def _documents(self) -> dict[str, Document | Problem]:
        """What each annotation says, by ID, or why it cannot be read."""
        return {key: read_document(path, f"Annotations/{key}.xml") for key, path in self._files.items()}

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Those in `classes.txt`, or all that the annotations have, sorted."""
        documents = [document for document in self._documents.values() if isinstance(document, Document)]
        names = {item.name for document in documents for item in document.objects}
        return read_class_names(self.folder / FILE_NAME) or tuple(sorted(names - {""}))

    def read(self, split: str, name: str) -> AnnotatedSet:
        """Return a split as its files have it.

        Args:
            split: one of those in `opened`; any name where there is none.
            name: what to call the set.
        """
        ids, problems = self._ids(split) if self._lists else (list(self._files), [])
        read = partial(_read_object, {class_name: i for i, class_name in enumerate(self.class_names)})
        images, doubles = _images(self.folder / PICTURES)
        annotations = []
        unused = () if self._lists else (path for path in listed(self.folder / "ImageSets") if path.suffix == ".txt")
        reason = f"unused list, lists are read from {LISTS}"
        doubts = [Problem(f"ImageSets/{path.name}", "", "", reason) for path in unused]
        if not self._lists:
            doubts += [
                Problem(f"{PICTURES}/{key}{path.suffix}", "", "", f"unused image, there is no Annotations/{key}.xml")
                for key, path in images.items()
                if key not in self._files and path.suffix.lower() in SUFFIXES
            ]
        alike: dict[str, str] = {}  # the annotations, and the images, by their rough names
        named: dict[str, str] = {}
        for key in ids:
            file, document = f"Annotations/{key}.xml", self._documents.get(key)
            if document is None:
                alike = alike or {rough(other): other for other in self._files}
                like = f"; a list has names such as {alike[rough(key)]}" if rough(key) in alike else ""
                problems.append(Problem(file, "", "", f"missing annotation, listed in split {split}{like}"))
            elif isinstance(document, Problem):
                problems.append(document)
            elif key not in images:
                named = named or {rough(other): path.name for other, path in images.items()}
                like = f", and {named[rough(key)]}" if rough(key) in named else ""
                problems.append(Problem(f"{PICTURES}/{key}.jpg", "", "", f"missing image, {file} is there{like}"))
            else:
                rows, bad = read_rows(enumerate(document.objects, start=1), read, file, "object")
                image, other = images[key], images.get(document.picture)
                problems += [*doubles.get(key, []), *([self._doubles[key]] if key in self._doubles else [])]
                if document.picture != key and other is not None:
                    reason = f"another image, it says that it is for {other.name}, and is taken for {image.name}"
                    doubts.append(Problem(file, "", "", reason))
                place = image.relative_to(self.folder / PICTURES).as_posix()
                size, lost = document.size, document.lost
                annotations.append(annotate(image, place, file, rows, bad, header_size=size, lost=lost))
        return AnnotatedSet(name, self.class_names, annotations, tuple(problems), doubts=tuple(doubts))

    def _ids(self, split: str) -> tuple[list[str], list[Problem]]:
        """The IDs in a list, each once, and those that are there twice."""
        path = self._lists[split]
        try:
            lines = read_lines(path)
        except OSError as error:
            raise InputError(f"{path}: not a readable list of annotations ({error}): correct it") from error
        first: dict[str, int] = {}
        problems = []
        for number, line in enumerate(lines, start=1):
            key = normal(line.strip())
            if key not in self._files:
                words = key.rsplit(None, 1)  # a regular expression would count many spaces again and again
                key = words[0] if len(words) == 2 and words[1] in CLASS_FLAGS else key
                if key.lower().endswith((".xml", *SUFFIXES)) and key not in self._files:
                    key = key.rpartition(".")[0]
            if key in first:
                reason = f"duplicate image, first in line {first[key]}"
                problems.append(Problem(f"{LISTS}/{path.name}", f"line {number}", key, reason))
            elif key:
                first[key] = number
        return list(first), problems


def _missing(folder: Path) -> list[str]:
    return [part for part in ("Annotations", PICTURES) if not (folder / part).is_dir()]


def _read_object(class_ids: Mapping[str, int], item: Object) -> tuple[int, Box, bool]:
    if item.name not in class_ids:
        raise BadObjectError(item.name, "unknown class" if item.name else "no class name")
    if item.repeated:
        raise BadObjectError(item.name, f"more than one {item.repeated}")
    if not item.corners:
        raise BadObjectError(item.name, "no bndbox")
    return class_ids[item.name], read_box(item.corners), read_flag(item.difficult, "difficult")


def _images(folder: Path) -> tuple[dict[str, Path], dict[str, list[Problem]]]:
    """The files of a folder by their names without extension, and the images that share one."""
    images: dict[str, Path] = {}
    doubles: dict[str, list[Problem]] = {}
    for path in sorted(files_below(folder), key=lambda path: path.suffix.lower() not in SUFFIXES):  # images first
        other = images.setdefault(stem(path, folder), path)
        if other is not path and path.suffix.lower() in SUFFIXES:
            reason = f"duplicate image, {other.name} has the same name"
            place = path.relative_to(folder).as_posix()
            doubles.setdefault(stem(path, folder), []).append(Problem(f"{PICTURES}/{place}", "", "", reason))
    return images, doubles


def write_voc(folder: Path, split: str, class_names: Sequence[str], pictures: Iterable[Picture]) -> None:
    """Write a split of a VOC dataset; the folder may have others.

    Args:
        folder: the dataset.
        split: the name of the split.
        class_names: written to `classes.txt`.
        pictures: what it has.
    """
    for part in ("Annotations", PICTURES, LISTS):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE_NAME, "".join(f"{name}\n" for name in class_names).encode())
    ids = []
    for picture in pictures:
        xml = encode_document(picture, PICTURES, class_names)
        (folder / "Annotations" / f"{picture.stem}.xml").write_bytes(xml)
        picture.copy_to(folder / PICTURES)
        ids.append(picture.stem)
    write_atomically(folder / LISTS / f"{split}.txt", "".join(f"{stem}\n" for stem in ids).encode())
