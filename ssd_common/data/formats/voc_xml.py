"""The XML of Pascal VOC: the annotation of an image, as the tools of many people write it.

Source of the format: "The PASCAL Visual Object Classes Challenge 2012 Development Kit", section 5.
"""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ssd_common.data.formats.annotations import SIDES, Picture, Problem
from ssd_common.data.formats.class_names import clean_name
from ssd_common.data.formats.files import decoded, normal, read_bytes

KNOWN_TAGS = ("name", "bndbox", "difficult")
PICTURE_TAGS = ("folder", "filename", "path", "size", "object")
SAYS_NOTHING = ("", "0", "Unspecified", "Unknown")  # what tools write into the fields that nobody filled in
ENCODING = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.-]+)["'][^>]*\?>""")
OF_ONE_BYTE = ("ascii", "iso8859", "cp125", "latin")
"""How encodings begin in which a text that is valid UTF-8 by accident is hardly ever one; it was declared wrongly."""
WIDER = {"gb2312": "gb18030", "gbk": "gb18030"}
NOT_OF_FILES = ("idna", "punycode", "raw-unicode-escape", "unicode-escape")  # nor are they fast
MAX_DEPTH = 100  # elements in elements
OBJECT_FIELDS = {"pose": "Unspecified", "truncated": "0"}  # what readers of the format expect to find


class Object(NamedTuple):
    """An object as the XML has it."""

    name: str
    corners: tuple[str | None, ...]
    """The texts of xmin, ymin, xmax, ymax; empty if there is no box."""
    difficult: str | None
    repeated: str
    """What it has more than one of: a name, a box, or a side of the box."""


class Document(NamedTuple):
    """An annotation as the XML has it."""

    size: tuple[int, int] | None
    objects: list[Object]
    lost: frozenset[str]
    picture: str
    """The name of its image, without extension, as it has it."""


class _Builder(ET.TreeBuilder):
    """Names elements in lower case and without namespace; reads no entities, of which bombs are made, and no depths."""

    depth = 0

    def start(self, tag: str, attributes: dict[str, str], /) -> ET.Element:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        return super().start(tag.rpartition("}")[2].lower(), attributes)

    def end(self, tag: str, /) -> ET.Element:
        self.depth -= 1
        return super().end(tag.rpartition("}")[2].lower())

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"document type {name}: entities are not read")


def read_document(path: Path, file: str) -> Document | Problem:
    """Return what an annotation says, or why it cannot be read.

    Args:
        path: the XML file.
        file: what to call it, "Annotations/ID.xml".
    """
    try:
        parser = ET.XMLParser(target=_Builder())
        parser.feed(_decoded(read_bytes(path)))
        root = parser.close()
        if root.tag != "annotation":
            raise ValueError(f"begins with <{root.tag[:40]}>, not with <annotation>")
    except (ET.ParseError, ValueError, LookupError, OSError) as error:
        return Problem(file, "", "", f"unreadable annotation, {error}")
    lost = {field.tag for field in root if field.tag not in PICTURE_TAGS and _says(field)}
    lost -= {field.tag for field in root if field.find(".//object") is not None}  # <objects>, which is read
    objects = []
    for element in root.iter("object"):
        box = element.find("bndbox")
        corners = () if box is None else tuple(box.findtext(side) for side in SIDES)
        paths = ("name", "bndbox", *(f"bndbox/{side}" for side in SIDES))
        repeated = next((path for path in paths if len(element.findall(path)) > 1), "").rpartition("/")[2]
        name = clean_name(element.findtext("name") or "")
        objects.append(Object(name, corners, element.findtext("difficult"), repeated))
        lost |= {field.tag for field in element if field.tag not in KNOWN_TAGS and _says(field)}
    try:
        size = int(float(root.findtext("size/width") or 0)), int(float(root.findtext("size/height") or 0))
    except (ValueError, OverflowError):
        size = 0, 0  # nothing is made of it: the image knows its size
    picture = normal((root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2])
    folder = file.removeprefix("Annotations/").rpartition("/")[0]
    key = f"{folder}/" * bool(folder) + (picture.rpartition(".")[0] or picture)
    return Document(size if min(size) > 0 else None, objects, frozenset(lost), key)


def _decoded(content: bytes) -> bytes | str:
    """The content of an XML file; as text if it is in an encoding that Python can read, and XML parsers cannot."""
    if not content.strip():
        raise ValueError("the file is empty")
    if b"\0" in content[:4] or content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content
    content = content.removeprefix(codecs.BOM_UTF8)
    declared = ENCODING.match(content)
    if declared is None:
        return decoded(content)  # of what is no UTF-8, an XML parser has no clear words
    encoding = declared[1].decode().lower()
    content = b" " * declared.end() + content[declared.end() :]  # messages count bytes
    try:
        name = codecs.lookup(encoding).name
        if name.replace("_", "-") in NOT_OF_FILES:
            raise LookupError
        if not name.startswith(OF_ONE_BYTE):
            # .NET writes UTF-8 and declares UTF-16: what declares it in single bytes is none.
            return decoded(content) if name.startswith("utf") else content.decode(WIDER.get(name, name))
        with suppress(OSError):
            return decoded(content)
        return content.decode(name)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not {encoding}: save the file as UTF-8") from error
    except LookupError:
        raise ValueError(f"unknown encoding {encoding}: save the file as UTF-8") from None


def _says(field: ET.Element) -> bool:
    """Whether somebody filled in a field, or a field within it."""
    return any((inner.text or "").strip() not in SAYS_NOTHING for inner in field.iter())


def encode_document(picture: Picture, folder: str, class_names: Sequence[str]) -> bytes:
    """Return the annotation of an image as XML.

    Args:
        picture: the image and its objects.
        folder: what the annotation calls the folder of the image.
        class_names: the name of each class id.
    """
    root = ET.Element("annotation")
    _add(root, {"folder": folder, "filename": picture.name})
    _add(ET.SubElement(root, "size"), {"width": str(picture.width), "height": str(picture.height), "depth": "3"})
    for class_id, box, ignored in zip(picture.class_ids, picture.boxes.tolist(), picture.ignored, strict=True):
        element = ET.SubElement(root, "object")
        _add(element, {"name": class_names[class_id], **OBJECT_FIELDS, "difficult": str(int(ignored))})
        corners = {side: f"{value:.15g}" for side, value in zip(SIDES, box, strict=True)}
        _add(ET.SubElement(element, "bndbox"), corners)
    ET.indent(root, "\t")
    return ET.tostring(root, "utf-8")


def _add(element: ET.Element, fields: Mapping[str, str]) -> None:
    for tag, text in fields.items():
        ET.SubElement(element, tag).text = text
