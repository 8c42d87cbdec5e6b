"""Detection data sets packed as RecordIO, and the one of the Straight Dope among them: Pikachu.

The payload of each record is an image record: a 24-byte header, the label, the encoded picture. The label of a
detection data set is `[header_width, object_width, ...]`, padded to `header_width` values (the picture's width and
height, usually), then one row of `object_width` values an object, `[class_id, xmin, ymin, xmax, ymax, ...]`.

Source of the formats: MXNet's `recordio.py` and `image/detection.py`.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssd_common.data.dataset import Example
from ssd_common.data.recordio import IndexedRecordReader
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError

IMAGE_HEADER = struct.Struct("<IfQQ")  # number of label values, the label if that is 0, id, id2

# A coordinate this far outside 0...1 is rounding (a quarter of a pixel in 256) and is clipped; further is a mistake.
COORDINATE_TOLERANCE = 1e-3

SPLITS = ("train", "val")


class ImageRecord(NamedTuple):
    """An encoded picture with its label: the payload of a record, unpacked."""

    label: float | NDArray[np.float32]
    """One number, or an array `(num_values,)`."""
    id: int
    id2: int
    image: bytes
    """The picture file: JPEG, PNG, ..."""


def unpack_image_record(payload: bytes, name: str = "record") -> ImageRecord:
    """Return the header's fields and the encoded picture of an image record; `name` is for the error.

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


def read_detection_label(
    label: float | NDArray[np.float32], num_classes: int, name: str = "label"
) -> NDArray[np.float32]:
    """Return the objects of an image record's label, float32, `(num_objects, 5)`.

    A row is `[class_id, xmin, ymin, xmax, ymax]`, the corners normalised to 0...1. Values after the fifth of an object
    (`difficult`, usually) and rows of -1 (padding) are left out. A coordinate at most `COORDINATE_TOLERANCE` outside
    0...1 is clipped. An empty box (zero width or height) is kept.

    Args:
        label: `(num_values,)`, as in `ImageRecord`.
        num_classes: how many classes the data set has; class ids are 0 to `num_classes - 1`.
        name: what to call the label in an error.

    Raises:
        InputError: the header does not fit the label, or a row is not an object: a class id that is not one of the
            classes, a coordinate that is not finite or is outside 0...1, an inverted box.
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
    rows: NDArray[np.float32] = objects.reshape(-1, int(object_width))[:, :5]
    rows = rows[~(rows == -1).all(axis=1)]  # a copy
    for i, row in enumerate(rows.tolist()):
        _check_object(row, num_classes, f"{name}: object {i}")
    rows[:, 1:] = rows[:, 1:].clip(0, 1)
    return rows


def _not_detection(name: str, values: NDArray[np.float32], what: str) -> str:
    return (
        f"{name}: {what} in a label of {values.size} values, not [header_width >= 2, object_width >= 5, ..., objects]: "
        "pack the records for detection"
    )


def _check_object(row: list[float], num_classes: int, name: str) -> None:
    class_id, *corners = row
    if class_id not in range(num_classes):
        raise InputError(f"{name}: class id {class_id:g} is not one of 0 to {num_classes - 1}: mend the label")
    for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
        if not -COORDINATE_TOLERANCE <= value <= 1 + COORDINATE_TOLERANCE:  # NaN fails too
            raise InputError(f"{name}: {side} {value:g} is not in 0...1: divide x by the width and y by the height")
    xmin, ymin, xmax, ymax = corners
    if xmin > xmax or ymin > ymax:
        raise InputError(f"{name}: inverted box ({xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}): mend the label")


class RecordDataset:
    """A detection data set in a `.rec` file, in the order of its index.

    An item is `(image, labels)`: image uint8 RGB `(height, width, 3)`; labels float32 `(num_objects, 5)`, rows
    `[class_id, xmin, ymin, xmax, ymax]` with corners normalised to 0...1. Both are read-only: copy what you change.

    Args:
        path: the `.rec` file; the `.idx` beside it is used if there is one.
        class_names: the names of class ids 0, 1, ...; a label with another class id is an error.
        name: what to call the data set; the file's name without `.rec`, by default.
        cache: keep every decoded picture in memory (height x width x 3 bytes each) once it has been asked for.

    Raises:
        InputError: as `IndexedRecordReader`, or the file has no records. `dataset[i]` raises it for a damaged record, a
            picture that cannot be decoded and a label that is not valid, and names the file, the record and the value.
    """

    def __init__(
        self, path: str | Path, class_names: tuple[str, ...], name: str | None = None, cache: bool = False
    ) -> None:
        self.name = Path(path).stem if name is None else name
        self.class_names = class_names
        self._reader = IndexedRecordReader(path)
        self._cache: dict[int, Example] | None = {} if cache else None
        if len(self._reader) == 0:
            raise InputError(f"{path}: has no records: fetch or write it again")

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int, /) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} is out of range, the data set has {len(self)} pictures")
        key = self._reader.keys[index]
        if self._cache is None:
            return self._decode(key)
        if key not in self._cache:
            self._cache[key] = self._decode(key)
        return self._cache[key]

    def _decode(self, key: int) -> Example:
        name = f"{self._reader.path}: record {key}"
        record = unpack_image_record(self._reader.read(key), name)
        labels = read_detection_label(record.label, len(self.class_names), name)
        image = read_image(record.image, name)
        image.flags.writeable = labels.flags.writeable = False  # the cache hands out the same arrays each time
        return image, labels


class PikachuDataset(RecordDataset):
    """The Straight Dope's Pikachu set: 900 + 100 pictures of 256 x 256 with one object each, `(image, labels)`.

    Source: the chapter "Object Detection Using Convolutional Neural Networks" of the Straight Dope. All coordinates of
    the set are inside 0...1, so its labels are returned as they are stored.

    Args:
        split: `"train"` or `"val"`.
        data_dir: the folder with `pikachu/train.rec`, `train.rec` or `pikachu_train.rec` (and the same for `val`); by
            default the one that the environment variable `TINYSSD_DATA` names.
        cache: keep the decoded pictures in memory: 177 MB for train, 20 MB for val.

    Raises:
        InputError: no such split, or none of the files is there; else as `RecordDataset`.
    """

    def __init__(self, split: str = "train", data_dir: str | Path | None = None, cache: bool = True) -> None:
        super().__init__(_find_pikachu(split, data_dir), ("pikachu",), name=f"pikachu:{split}", cache=cache)


def _find_pikachu(split: str, data_dir: str | Path | None) -> Path:
    if split not in SPLITS:
        raise InputError(f"pikachu has no split {split!r}: choose one of {', '.join(SPLITS)}")
    data_dir = data_dir or os.environ.get("TINYSSD_DATA")
    wanted = (f"pikachu/{split}.rec", f"{split}.rec", f"pikachu_{split}.rec")
    if not data_dir:
        raise InputError(f"pikachu: where is {wanted[0]}? Name its folder with --data-dir or TINYSSD_DATA")
    for path in (Path(data_dir) / name for name in wanted):
        if path.is_file():
            return path
    raise InputError(
        f"pikachu: no {' or '.join(wanted)} in {data_dir}: name the folder that has it with --data-dir or TINYSSD_DATA"
    )
