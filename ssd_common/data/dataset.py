"""What a data set is."""

from __future__ import annotations

import shlex
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Example = tuple[NDArray[np.uint8], NDArray[np.float32]]


class Dataset(Protocol):
    """Pictures with labelled boxes; anything with these four is one."""

    @property
    def name(self) -> str:
        """What messages call it, such as "pikachu:val"."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class id."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example:
        """Return a picture, uint8 RGB `(height, width, 3)`, and its labels, float32 `(num_objects, 5)`.

        A label is `[class_id, xmin, ymin, xmax, ymax]`, corners as fractions of the picture.
        """


def ignored_objects(data: Dataset, index: int) -> NDArray[np.float32]:
    """Return the objects of a picture that are not trained on, and in evaluation neither found nor missed.

    They are COCO's crowds and VOC's difficult objects; a data set that has such objects has a method `ignored(index)`.

    Args:
        data: the data set.
        index: of the picture.

    Returns:
        `(num_ignored, 5)` float32, rows as those of the labels; none for a data set without the method.
    """
    ignored = getattr(data, "ignored", None)
    return np.zeros((0, 5), np.float32) if ignored is None else ignored(index)


class Subset:
    """The first pictures of a data set."""

    def __init__(self, data: Dataset, length: int) -> None:
        self._data, self._length = data, min(length, len(data))
        self.name, self.class_names = data.name, data.class_names

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Example:
        if not 0 <= index < self._length:
            raise IndexError(f"{self.name}: index {index} is out of range, the data set has {self._length} pictures")
        return self._data[index]

    def ignored(self, index: int) -> NDArray[np.float32]:
        """Return the ignored objects of a picture; see `ignored_objects`."""
        return ignored_objects(self._data, index)

    def skipped(self) -> tuple[int, int]:
        """Return how many objects were wrong, and how many there were in all; see `skipped_objects`."""
        return skipped_objects(self._data)


def skipped_objects(data: Dataset) -> tuple[int, int]:
    """Return how many objects were left out because they are wrong, and how many there were in all.

    Both count the pictures that have been read so far.

    Args:
        data: the data set; one without a method `skipped` leaves none out.
    """
    skipped = getattr(data, "skipped", None)
    return (0, 0) if skipped is None else skipped()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 picture", "2,000 pictures"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def describe_skipped(data: Dataset) -> str:
    """Return the line that says how many objects were left out; empty if none was."""
    skipped, total = skipped_objects(data)
    if not skipped:
        return ""
    return f"{data.name}: skipped {skipped:,} of {total:,} boxes: run tinyssd data check {shlex.quote(data.name)}"
