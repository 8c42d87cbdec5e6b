"""Augmentation: a training image as it might have been taken too, and its boxes with it.

The same seed, epoch and image give the same pixels: in either framework, in a run that was resumed, whatever the
batch size. Evaluation sees the images as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssd_common.config.augment import AugmentConfig
from ssd_common.data.augment.geometry import (
    OBJECT_CROP_KEPT,
    Mapping,
    Window,
    expand_window,
    flip,
    iou_crop,
    map_labels,
    object_crop,
    shift_window,
    view,
)
from ssd_common.data.augment.photometry import add_noise, distort_colours

EXPANDED = 0.5
"""Share of the images that are expanded (SSD's code)."""


class Augmented(NamedTuple):
    """An image that was changed at random."""

    image: NDArray[np.uint8]
    """RGB, `(size, size, 3)`."""
    labels: NDArray[np.float32]
    """`(num_objects, 5)`: the objects still in view."""
    mapping: Mapping
    """From the original to this image; its inverse takes predictions back."""


def picture_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random numbers of one image of a dataset in one epoch of a training run."""
    return np.random.default_rng([seed, epoch, 1 + index])  # numpy takes a 0 at the end for nothing: `epoch_order`'s


def augment(
    image: NDArray[np.uint8],
    labels: NDArray[np.float32],
    augment_config: AugmentConfig,
    size: int,
    rng: np.random.Generator,
) -> Augmented:
    """Return an image at the size of the network, changed at random, with its labels.

    The geometry is chosen first and the original resampled once; colours change afterwards, on as few pixels as the
    network sees.

    Args:
        image: uint8 RGB, `(height, width, 3)`.
        labels: `(num_objects, 5)` `[class_id, xmin, ymin, xmax, ymax]`, corners as fractions of the image.
        augment_config: what is changed, and how far.
        size: height and width of the result, in pixels.
        rng: see `picture_rng`.

    Source: SSD, section 2.2, data augmentation; its code expands after, not before, colours are distorted.
    """
    picture = Image.fromarray(image)
    boxes = labels[:, 1:].astype(np.float64) * (2 * picture.size)  # in pixels

    window = Window(0, 0, *picture.size)
    if augment_config.shift:
        window = shift_window(window, augment_config.shift, rng)
    if augment_config.expand > 1 and rng.random() < EXPANDED:
        window = expand_window(window, augment_config.expand, rng)
    if augment_config.crop == "iou":
        window = iou_crop(window, boxes, rng)
    elif augment_config.crop == "object":
        window = object_crop(window, boxes, augment_config.min_object_covered, augment_config.max_attempts, rng)
    picture, mapping = view(picture, window, size)
    if rng.random() < augment_config.flip:
        picture, mirrored = flip(picture)
        mapping = mapping.then(mirrored)
    labels = map_labels(labels, mapping, OBJECT_CROP_KEPT if augment_config.crop == "object" else None)

    picture = distort_colours(
        picture, augment_config.brightness, augment_config.contrast, augment_config.saturation, augment_config.hue, rng
    )
    image = np.array(picture)
    if augment_config.noise:
        image = add_noise(image, augment_config.noise, rng)
    return Augmented(image, labels, mapping)
