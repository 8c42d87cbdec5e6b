"""What a dataset is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Example(NamedTuple):
    """An image and its objects; a row of labels is `[class_id, xmin, ymin, xmax, ymax]`, corners 0…1."""

    image: NDArray[np.uint8]
    """RGB, `(height, width, 3)`, upright."""
    labels: NDArray[np.float32]
    """`(num_objects, 5)`."""
    ignored: NDArray[np.float32] = np.empty((0, 5), np.float32)
    """`(num_ignored, 5)`: not trained on, neither found nor missed in evaluation (COCO's crowds, VOC's difficult)."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


class Dataset(Protocol):
    """Images with labelled boxes; anything with these four is one."""

    @property
    def name(self) -> str:
        """What messages call it, such as "pikachu:val"."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class id."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2,000 images"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
