"""Pictures kept in memory once they were read, so that an epoch does not wait for them again."""

from __future__ import annotations

from ssd_common.data.dataset import Dataset, Example

MAX_BYTES = 2**30
"""Of pictures kept: 5,461 of 256 x 256."""


class Cached:
    """A data set that keeps its decoded pictures, as many as fit; the others are read each time.

    Args:
        data: the data set.
        max_bytes: the most that the kept pictures may take.
    """

    def __init__(self, data: Dataset, max_bytes: int = MAX_BYTES) -> None:
        self._data, self._left = data, max_bytes
        self._examples: dict[int, Example] = {}
        self.name, self.class_names = data.name, data.class_names

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int, /) -> Example:
        if index in self._examples:
            return self._examples[index]
        image, labels = self._data[index]
        size = image.nbytes + labels.nbytes
        if size <= self._left:
            self._left -= size
            image.flags.writeable = labels.flags.writeable = False  # everybody gets the same arrays
            self._examples[index] = image, labels
        return image, labels
