"""Decoded images kept in memory, up to a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ssd_common.data.dataset import Example

CACHE_BYTES = 1 << 30
"""How many bytes of decoded images a dataset keeps, 1 GiB: 5461 images of 256 x 256."""


class ExampleCache:
    """The first examples of a dataset that fit; the others are made again each time.

    Nothing is ever thrown out. Training goes through all the images, then through all of them again: whatever were
    thrown out for the latest image would be asked for before it.

    Args:
        max_bytes: of the images.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._left = max_bytes
        self._examples: dict[int, Example] = {}
        self._lock = threading.Lock()

    def get(self, index: int, make: Callable[[int], Example]) -> Example:
        """Return the example of that index, made if it is not here; its arrays are read-only."""
        example = self._examples.get(index)
        if example is None:
            example = make(index)
            for array in example:
                array.flags.writeable = False
            with self._lock:
                if index not in self._examples and example.image.nbytes <= self._left:
                    self._left -= example.image.nbytes
                    self._examples[index] = example
        return example
