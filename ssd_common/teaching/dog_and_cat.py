"""A drawing of a dog and a cat, for lessons: where the book's photograph of a dog and a cat has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssd_common.data.transforms import read_image

BOXES = np.array([[0.1, 0.08, 0.52, 0.92], [0.55, 0.2, 0.9, 0.88]])
"""Dog and cat, corners normalised (d2l, section "Anchor Boxes", an example)."""


def draw_dog_and_cat() -> NDArray[np.uint8]:
    """Return a drawing of a dog and a cat, (561, 728, 3) uint8, RGB; each fills its box in `BOXES`."""
    return read_image(Path(__file__).with_suffix(".webp"))
