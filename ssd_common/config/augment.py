"""How training images are changed at random, and the recipes that have a name.

Sources: Liu et al., "SSD: Single Shot MultiBox Detector", 2016, with its published code (SSD), and *The Straight Dope*,
chapter "Object Detection Using Convolutional Neural Networks" (straight dope).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssd_common.errors import InputError


@dataclass(frozen=True)
class AugmentConfig:
    """How training images are changed at random: by default not at all. See `ssd_common.data.augment`."""

    crop: Literal["none", "iou", "object"] = "none"
    """Random crop: `iou` overlaps an object enough (SSD); `object` has each object nearly whole or not at all
    (straight dope)."""
    min_object_covered: float = 0.95
    """Object crop: of every object that it touches it shows more than this share (straight dope)."""
    max_attempts: int = 200
    """Object crop: after so many attempts the image stays whole (straight dope)."""
    expand: float = 1.0
    """Half of the images shrink, up to so many times, on a plain ground; 1 switches it off (SSD: 4)."""
    shift: float = 0.0
    """An image moves by up to this share of its width and of its height."""
    flip: float = 0.0
    """Share of the images that are mirrored, left to right (SSD: 0.5)."""
    brightness: float = 0.0
    """Half of the images have their values multiplied by 1 - `brightness` to 1 + `brightness` (SSD: 0.125)."""
    contrast: float = 0.0
    """Likewise for how far a value is from the image's mean grey (SSD: 0.5)."""
    saturation: float = 0.0
    """Likewise for how far a pixel is from its own grey (SSD: 0.5)."""
    hue: float = 0.0
    """Half of the images have their hues turned by up to this share of the circle, either way (SSD: 0.05)."""
    noise: int = 0
    """A whole number from -`noise` to `noise` is added to every value, 0…255."""

    def __post_init__(self) -> None:
        for name in ("flip", "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"augment: {name} must be between 0 and 1, got {getattr(self, name)}")
        for name in ("shift", "hue"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise InputError(f"augment: {name} must be between 0 and 0.5, got {getattr(self, name)}")
        if not 0 <= self.min_object_covered < 1:
            raise InputError(
                f"augment: min_object_covered must be at least 0 and below 1, got {self.min_object_covered}"
            )
        if self.max_attempts < 1:
            raise InputError(f"augment: max_attempts must be at least 1, got {self.max_attempts}")
        if not 1 <= self.expand < float("inf"):
            raise InputError(f"augment: expand must be a number from 1 on, got {self.expand}")
        if not 0 <= self.noise <= 127:
            raise InputError(f"augment: noise must be between 0 and 127, got {self.noise}")


AUGMENTATIONS = {
    "none": AugmentConfig(),
    "flip": AugmentConfig(flip=0.5),
    "jitter": AugmentConfig(flip=0.5, shift=0.1, brightness=0.3, noise=8),
    "ssd": AugmentConfig(crop="iou", expand=4.0, flip=0.5, brightness=0.125, contrast=0.5, saturation=0.5, hue=0.05),
    "straight-dope": AugmentConfig(crop="object", min_object_covered=0.95, max_attempts=200),
}
"""Augmentations by name.

`jitter` keeps objects about their size: for few images, all taken alike. `ssd` is the SSD paper's, for
objects of any size, its colours in torchvision's units. `straight-dope` is the crop of that chapter.
"""


def get_augmentation(name: str) -> AugmentConfig:
    """Return the augmentation called `name`.

    Raises:
        InputError: there is none of that name; the message lists the names.
    """
    if name not in AUGMENTATIONS:
        raise InputError(f"unknown augmentation '{name}'; there are {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]
