"""Pascal VOC: `Annotations/ID.xml`, `JPEGImages/ID.jpg`, and the IDs of a split in `ImageSets/Main/SPLIT.txt`.

Without `ImageSets`, all the annotations are one split. The classes are the names in all the annotations, sorted, or the
lines of `classes.txt` if there is one. A picture is found by its name without extension.

Source of the format: "The PASCAL Visual Object Classes Challenge 2012 Development Kit", section 5.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from ssd_common.data.formats.annotations import (
    SIDES,
    AnnotatedSet,
    BadObjectError,
    Box,
    Opened,
    Picture,
    Problem,
    annotate,
    read_box,
    read_rows,
)
from ssd_common.data.formats.class_names import FILE_NAME, clean_name, read_class_names
from ssd_common.data.transforms import SUFFIXES
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

KNOWN_TAGS = ("name", "bndbox", "difficult")
SAYS_NOTHING = ("", "0", "Unspecified")  # what tools write into the fields of an object that nobody filled in
LISTS, PICTURES = "ImageSets/Main", "JPEGImages"
CLASS_FLAG = re.compile(r"\s+-?[01]$")  # behind an ID in the list of a single class
OBJECT_FIELDS = {"pose": "Unspecified", "truncated": "0"}  # what readers of the format expect to find


class Object(NamedTuple):
    """An object as the XML has it."""

    name: str
    corners: tuple[str | None, ...]
    """The texts of xmin, ymin, xmax, ymax; empty if there is no box."""
    difficult: bool


class Document(NamedTuple):
    """An annotation as the XML has it."""

    size: tuple[int, int] | None
    objects: list[Object]
    lost: frozenset[str]


class VocFolder:
    """A VOC data set; its annotations are read once, for all the splits and the class names.

    Args:
        folder: the data set.

    Raises:
        InputError: there is no such folder, or it has no annotations.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "Annotations").is_dir():
            what = "no folder Annotations in it" if folder.is_dir() else "no such folder"
            raise InputError(f"{folder}: {what}; a VOC data set has Annotations, {PICTURES} and {LISTS}")
        self.folder = folder
        self._lists = {path.stem: path for path in sorted((folder / LISTS).glob("*.txt"))}

    def opened(self) -> Opened:
        """Return its splits and `read`."""
        return Opened(tuple(self._lists), self.read)

    @cached_property
    def _documents(self) -> dict[str, Document | Problem]:
        """What each annotation says, by ID, or why it cannot be read."""
        return {path.stem: _read_document(path) for path in sorted((self.folder / "Annotations").glob("*.xml"))}

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
        documents = self._documents
        ids, problems = _ids(self._lists[split], documents) if self._lists else (list(documents), [])
        read = partial(_read_object, {class_name: i for i, class_name in enumerate(self.class_names)})
        images, doubles = _images(self.folder / PICTURES)
        annotations = []
        lost: set[str] = set()
        for stem in ids:
            file, document = f"Annotations/{stem}.xml", documents.get(stem)
            if document is None:
                problems.append(Problem(file, "", "", f"missing annotation, listed in split {split}"))
            elif isinstance(document, Problem):
                problems.append(document)
            elif stem not in images:
                problems.append(Problem(f"{PICTURES}/{stem}.jpg", "", "", f"missing picture, {file} is there"))
            else:
                rows, bad = read_rows(enumerate(document.objects, start=1), read, file, "object")
                image = images[stem]
                problems += doubles.get(stem, [])
                lost |= document.lost
                annotations.append(annotate(image, image.name, file, rows, bad, header_size=document.size))
        return AnnotatedSet(name, self.class_names, annotations, tuple(problems), lost=frozenset(lost))


def _ids(path: Path, documents: Container[str]) -> tuple[list[str], list[Problem]]:
    """The IDs in a list, each once, and those that are there twice."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable list of annotations ({error})") from error
    first: dict[str, int] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        stem = line.strip()
        if stem not in documents:
            stem = CLASS_FLAG.sub("", stem)
        if stem in first:
            reason = f"duplicate picture, first in line {first[stem]}"
            problems.append(Problem(f"{LISTS}/{path.name}", f"line {number}", stem, reason))
        elif stem:
            first[stem] = number
    return list(first), problems


class _NoDocumentType(ET.TreeBuilder):
    """Refuses the declaration in which entities are defined, and with them every bomb made of entities."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"document type {name}: entities are not read")


def _read_document(path: Path) -> Document | Problem:
    try:
        parser = ET.XMLParser(target=_NoDocumentType())
        parser.feed(path.read_bytes())
        root = parser.close()
        if root.tag != "annotation":
            raise ValueError(f"begins with <{root.tag[:40]}>, not with <annotation>")
    except (ET.ParseError, ValueError, LookupError, OSError) as error:
        return Problem(f"Annotations/{path.name}", "", "", f"unreadable annotation, {error}")
    objects, lost = [], set()
    for element in root.iterfind("object"):
        box = element.find("bndbox")
        corners = () if box is None else tuple(box.findtext(side) for side in SIDES)
        difficult = (element.findtext("difficult") or "").strip() == "1"
        objects.append(Object(clean_name(element.findtext("name") or ""), corners, difficult))
        for field in element:
            if field.tag not in KNOWN_TAGS and (len(field) or (field.text or "").strip() not in SAYS_NOTHING):
                lost.add(field.tag)
    try:
        size = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ValueError:
        size = 0, 0  # nothing is made of it: the picture knows its size
    return Document(size if min(size) > 0 else None, objects, frozenset(lost))


def _read_object(class_ids: Mapping[str, int], item: Object) -> tuple[int, Box, bool]:
    if item.name not in class_ids:
        raise BadObjectError(item.name, "unknown class" if item.name else "no class name")
    if not item.corners:
        raise BadObjectError(item.name, "no bndbox")
    return class_ids[item.name], read_box(item.corners), item.difficult


def _images(folder: Path) -> tuple[dict[str, Path], dict[str, list[Problem]]]:
    """The files of a folder by their names without extension, and the pictures that share one."""
    images: dict[str, Path] = {}
    doubles: dict[str, list[Problem]] = {}
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in sorted(files, key=lambda path: path.suffix.lower() not in SUFFIXES):  # pictures before notes on them
        other = images.setdefault(path.stem, path)
        if other is not path and path.suffix.lower() in SUFFIXES:
            reason = f"duplicate picture, {other.name} has the same name"
            doubles.setdefault(path.stem, []).append(Problem(f"{PICTURES}/{path.name}", "", "", reason))
    return images, doubles


def write_voc(folder: Path, split: str, class_names: Sequence[str], pictures: Iterable[Picture]) -> None:
    """Write a split of a VOC data set; the folder may have others.

    Args:
        folder: the data set.
        split: the name of the split.
        class_names: written to `classes.txt`.
        pictures: what it has.
    """
    for part in ("Annotations", PICTURES, LISTS):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE_NAME, "".join(f"{name}\n" for name in class_names).encode())
    ids = []
    for picture in pictures:
        root = ET.Element("annotation")
        _add(root, {"folder": PICTURES, "filename": picture.name})
        _add(ET.SubElement(root, "size"), {"width": str(picture.width), "height": str(picture.height), "depth": "3"})
        for class_id, box, ignored in zip(picture.class_ids, picture.boxes.tolist(), picture.ignored, strict=True):
            element = ET.SubElement(root, "object")
            _add(element, {"name": class_names[class_id], **OBJECT_FIELDS, "difficult": str(int(ignored))})
            corners = {side: f"{value:.15g}" for side, value in zip(SIDES, box, strict=True)}
            _add(ET.SubElement(element, "bndbox"), corners)
        ET.indent(root, "\t")
        (folder / "Annotations" / f"{picture.stem}.xml").write_bytes(ET.tostring(root, "utf-8"))
        picture.copy_to(folder / PICTURES)
        ids.append(picture.stem)
    write_atomically(folder / LISTS / f"{split}.txt", "".join(f"{stem}\n" for stem in ids).encode())


def _add(element: ET.Element, fields: Mapping[str, str]) -> None:
    for tag, text in fields.items():
        ET.SubElement(element, tag).text = text
