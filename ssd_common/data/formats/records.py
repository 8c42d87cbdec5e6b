"""Detection datasets packed as RecordIO.

The payload of each record is an image record: a 24-byte header, the label, the encoded image. The label of a
detection dataset is `[header_width, object_width, ...]`, padded to `header_width` values (the image's width and
height, usually), then one row of `object_width` values an object, `[class_id, xmin, ymin, xmax, ymax, ...]`, the sixth
of which says, if it is there, whether the object is difficult.

Source of the formats: MXNet's `recordio.py`, `image/detection.py` and `tools/im2rec.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssd_common.data.formats.annotations import (
    AnnotatedSet,
    Annotation,
    BadObjectError,
    Box,
    Opened,
    Picture,
    annotate,
    read_box,
    read_rows,
)
from ssd_common.data.formats.class_names import FILE_NAME, numbered_classes, read_class_names
from ssd_common.data.formats.recordio import IndexedRecordReader, RecordWriter
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

IMAGE_HEADER = struct.Struct("<IfQQ")  # number of label values, the label if that is 0, id, id2
MAX_CLASSES = 10_000  # a higher class id, in a file without class names, is a mistake


class ImageRecord(NamedTuple):
    """An encoded image with its label: the payload of a record, unpacked."""

    label: float | NDArray[np.float32]
    """One number, or an array `(num_values,)`."""
    id: int
    id2: int
    image: bytes
    """The image file: JPEG, PNG, ..."""


def unpack_image_record(payload: bytes, name: str = "record") -> ImageRecord:
    """Return the header's fields and the encoded image of an image record; `name` is for the error.

    Raises:
        InputError: the payload is shorter than its header, or than the number of labels that its header gives.
    """
    if len(payload) < IMAGE_HEADER.size:
        raise InputError(f"{name}: {len(payload)} bytes, but an image record begins with 24 of header: pack it again")
    num_values, label, id_, id2 = IMAGE_HEADER.unpack_from(payload)
    image_start = IMAGE_HEADER.size + 4 * num_values
    if image_start > len(payload):
        raise InputError(f"{name}: {len(payload)} bytes cannot hold its {num_values} label values: pack it again")
    if num_values > 0:
        label = np.frombuffer(payload, "<f4", num_values, IMAGE_HEADER.size).astype(np.float32)
    return ImageRecord(label, id_, id2, payload[image_start:])


def pack_image_record(record: ImageRecord) -> bytes:
    """Return the payload that `unpack_image_record` reads, and MXNet's `recordio.pack` writes."""
    if isinstance(record.label, np.ndarray):
        values = record.label.astype("<f4").tobytes()
        return IMAGE_HEADER.pack(record.label.size, 0.0, record.id, record.id2) + values + record.image
    return IMAGE_HEADER.pack(0, record.label, record.id, record.id2) + record.image


def read_detection_label(label: float | NDArray[np.float32], name: str = "label") -> NDArray[np.float32]:
    """Return the rows of an image record's label, float32, `(num_rows, object_width)`, as they are stored.

    A row is `[class_id, xmin, ymin, xmax, ymax, ...]`, the corners as fractions of the image; one that begins with
    five times -1 is padding.

    Args:
        label: `(num_values,)`, as in `ImageRecord`.
        name: what to call the label in an error.

    Raises:
        InputError: it is not the label of a detection dataset.
    """
    values = np.atleast_1d(np.asarray(label, dtype=np.float32))
    header_width, object_width = (float(v) for v in values[:2]) if values.size >= 2 else (0.0, 0.0)
    if not (header_width.is_integer() and 2 <= header_width <= values.size):
        raise InputError(_not_detection(name, values, f"header width {header_width:g}"))
    if not (object_width.is_integer() and object_width >= 5):
        raise InputError(_not_detection(name, values, f"object width {object_width:g}"))
    objects = values[int(header_width) :]
    if objects.size % int(object_width):
        raise InputError(_not_detection(name, values, f"{objects.size} values for objects of {object_width:g}"))
    return objects.reshape(-1, int(object_width))


def _not_detection(name: str, values: NDArray[np.float32], what: str) -> str:
    return (
        f"{name}: {what} in a label of {values.size} values, not [header_width >= 2, object_width >= 5, ..., objects]: "
        "pack the records for detection"
    )


def write_detection_label(
    class_ids: NDArray[np.int64], corners: NDArray[np.floating], difficult: NDArray[np.bool_], width: int, height: int
) -> NDArray[np.float32]:
    """Return the label that `read_detection_label` reads, `(num_values,)`.

    Args:
        class_ids: `(n,)`.
        corners: `(n, 4)`, fractions of the image.
        difficult: `(n,)`.
        width: of the image, in pixels.
        height: of the image, in pixels.
    """
    rows = np.concatenate([class_ids[:, None], corners, difficult[:, None]], axis=1)
    return np.concatenate([[4, 6, width, height], rows.ravel()]).astype(np.float32)


class RecordAnnotations:
    """The annotations in a `.rec` file, in the order of its index, each read when it is asked for.

    Args:
        path: the `.rec` file; the `.idx` beside it is used if there is one.
        num_classes: class ids are 0 to `num_classes - 1`.

    Raises:
        InputError: as `IndexedRecordReader`; an item raises it for a damaged record, and a label not for detection.
    """

    def __init__(self, path: str | Path, num_classes: int) -> None:
        self._reader = IndexedRecordReader(path)
        self._read_object = partial(_read_object, num_classes)

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int, /) -> Annotation:
        key = self._reader.keys[index]
        where = f"{self._reader.path}: record {key}"
        record = unpack_image_record(self._reader.read(key), where)
        label = read_detection_label(record.label, where)
        stored = (item for item in enumerate(label.tolist(), start=1) if item[1][:5] != [-1] * 5)
        rows, bad = read_rows(stored, self._read_object, where, "object")
        kept = label.shape[1] < 6 or (label.shape[1] == 6 and np.isin(label[:, 5], (-1, 0, 1)).all())
        lost = () if kept else ("further columns",)
        return annotate(record.image, f"{key:06}", where, rows, bad, fractions=True, dtype=np.float32, lost=lost)


def _read_object(num_classes: int, row: list[float]) -> tuple[int, Box, bool]:
    class_id, *values = row
    if not class_id.is_integer() or not 0 <= class_id < num_classes:
        raise BadObjectError(f"class id {class_id:g}", f"unknown class, the classes are 0 to {num_classes - 1}")
    return int(class_id), read_box(values[:4]), len(values) > 4 and values[4] == 1


def open_records(path: Path) -> Opened:
    """Return a detection dataset in RecordIO, see `read_record_set`; raise InputError for a file beside the records."""
    if path.suffix.lower() in (".idx", ".lst"):
        raise InputError(f"{path}: lists records and has none: name the file {path.with_suffix('.rec').name}")
    return Opened((), lambda split, name: read_record_set(path, name))


def names_beside(path: Path) -> tuple[str, ...] | None:
    """Return the class names that bind a new `.rec` file, because there are others in its folder.

    Raises:
        InputError: the others have no names, and would get those of the new file.
    """
    named = read_class_names(path.parent / FILE_NAME)
    if named is None and any(path.parent.glob("*.rec")):
        raise InputError(
            f"{path.parent}: {FILE_NAME} would name the classes of the other .rec files, too: name another folder"
        )
    return named


def read_record_set(path: Path, name: str, class_names: tuple[str, ...] | None = None) -> AnnotatedSet:
    """Return a detection dataset in RecordIO as its file has it.

    Args:
        path: the `.rec` file.
        name: what to call the set.
        class_names: the names of class ids 0, 1, …; by default the lines of `classes.txt` beside the file, and without
            that "class 0", "class 1", … up to the highest in the file, all of which is read for it.

    Raises:
        InputError: as `RecordAnnotations`, or the file has no records.
    """
    class_names = class_names or read_class_names(path.parent / FILE_NAME)
    if class_names is None:
        unnamed = RecordAnnotations(path, MAX_CLASSES)
        highest = max((unnamed[i].class_ids.max(initial=0) for i in range(len(unnamed))), default=0)
        class_names = numbered_classes(int(highest) + 1)
    annotations = RecordAnnotations(path, len(class_names))
    if len(annotations) == 0:
        raise InputError(f"{path}: has no records: fetch or write it again")
    return AnnotatedSet(name, class_names, annotations)


def write_record_set(path: Path, class_names: Sequence[str], pictures: Iterable[Picture]) -> None:
    """Write a detection dataset in RecordIO, its index, and `classes.txt`; an object that is ignored is difficult.

    Args:
        path: the `.rec` file.
        class_names: of class ids 0, 1, ….
        pictures: what it has.
    """
    names, text = path.parent / FILE_NAME, "".join(f"{name}\n" for name in class_names).encode()
    new = not names.exists()
    try:
        with RecordWriter(path, path.with_suffix(".idx")) as writer:
            for key, picture in enumerate(pictures):
                sides = (picture.width, picture.height)
                corners = picture.boxes / (sides * 2)
                label = write_detection_label(picture.class_ids, corners, picture.ignored, *sides)
                image = picture.image if isinstance(picture.image, bytes) else picture.image.read_bytes()
                writer.write(pack_image_record(ImageRecord(label, key, 0, image)))
            write_atomically(names, text)  # before the records are there: without it their classes have other names
    except BaseException:
        if new:
            names.unlink(missing_ok=True)
        raise
