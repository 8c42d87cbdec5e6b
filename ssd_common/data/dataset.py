"""What a data set is."""

from __future__ import annotations

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
