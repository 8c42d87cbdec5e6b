"""Crop, expand, shift, resize and flip: where an image is looked at, and where its boxes are then.

Crop, expand and shift are one thing: a window onto the plane that the image lies in. Smaller than the image it
crops, larger it expands, moved it shifts. So windows are chosen first, one inside the other, and pixels are resampled
once, by `view`, from the original. What that did to the image is a `Mapping`, and boxes follow it: `map_labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssd_common.boxes import box_iou

FILL = (123, 117, 104)
"""RGB of a window where no image is: ImageNet's mean, which SSD fills with and straight dope subtracts."""

IOU_CROP_OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Smallest IoU of an IoU crop with an object; None leaves the image whole (SSD, section 2.2)."""
IOU_CROP_SIDES = (0.3, 1.0)
"""Square root of the cropped share of the image: about [0.1, 1] of its area (SSD; its code says 0.3)."""
IOU_CROP_RATIOS = (0.5, 2.0)
"""Width over height of an IoU crop, both as shares of the image's (SSD)."""
IOU_CROP_ATTEMPTS = 50
"""Crops that are tried for one of the overlaps (SSD's code)."""

OBJECT_CROP_RATIOS = (0.75, 1.33)
"""Width over height of an object crop in pixels (MXNet, `aspect_ratio_range`)."""
OBJECT_CROP_AREA = 0.05
"""Smallest share of the image that an object crop shows (MXNet, `area_range`)."""
OBJECT_CROP_KEPT = 0.3
"""An object of which less than this share is in the crop is dropped (MXNet, `min_eject_coverage`)."""
OBJECT_CROP_PIXELS = 2
"""An object crop takes no notice of objects of that area or below (MXNet)."""

Boxes = NDArray[np.floating]


@dataclass(frozen=True)
class Mapping:
    """Where a transformed image shows the points of the original: `x' = scale * x + shift`, for x and for y.

    Coordinates are fractions, of the original before and of the transformed image after; a negative scale mirrors.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def apply(self, corners: Boxes) -> Boxes:
        """Return boxes of the original as the transformed image shows them, not clipped; `(..., 4)` corners."""
        moved = corners * np.array(2 * self.scale, corners.dtype) + np.array(2 * self.shift, corners.dtype)
        ends = moved[..., :2], moved[..., 2:]
        return np.concatenate((np.minimum(*ends), np.maximum(*ends)), axis=-1)

    def inverse(self) -> Mapping:
        """Return the mapping back: what is predicted on the transformed image becomes boxes of the original."""
        (sx, sy), (tx, ty) = self.scale, self.shift
        return Mapping((1 / sx, 1 / sy), (-tx / sx, -ty / sy))

    def then(self, after: Mapping) -> Mapping:
        """Return this mapping and `after`, one after the other."""
        (sx, sy), (tx, ty) = self.scale, self.shift
        (ax, ay), (bx, by) = after.scale, after.shift
        return Mapping((ax * sx, ay * sy), (ax * tx + bx, ay * ty + by))


class Window(NamedTuple):
    """A rectangle in the pixels of the original image, with or without parts outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top


def shift_window(window: Window, limit: float, rng: np.random.Generator) -> Window:
    """Return the window moved by up to `limit` of its width and of its height, either way."""
    dx, dy = (round(rng.uniform(-limit, limit) * side) for side in (window.width, window.height))
    return Window(window.left + dx, window.top + dy, window.right + dx, window.bottom + dy)


def expand_window(window: Window, largest: float, rng: np.random.Generator) -> Window:
    """Return a window 1 to `largest` times as wide and as high, with the given one somewhere in it.

    Source: SSD, section 3.6, data augmentation for small objects ("zoom out").
    """
    ratio = rng.uniform(1, largest)
    width, height = round(ratio * window.width), round(ratio * window.height)
    left = window.left - int(rng.integers(0, width - window.width, endpoint=True))
    top = window.top - int(rng.integers(0, height - window.height, endpoint=True))
    return Window(left, top, left + width, top + height)


def iou_crop(window: Window, boxes: Boxes, rng: np.random.Generator) -> Window:
    """Return a part of the window that overlaps an object enough, or all of it.

    What is enough is drawn from `IOU_CROP_OVERLAPS`, and drawn again where no crop in `IOU_CROP_ATTEMPTS` shows the
    centre of an object that overlaps the crop that much. Without objects the window stays whole.

    Args:
        window: what to crop.
        boxes: the objects, `(num_objects, 4)` corners in pixels of the original image.
        rng: draws the crop.

    Source: SSD, section 2.2, data augmentation, and its code (`batch_sampler`).
    """
    for choice in rng.permutation(len(IOU_CROP_OVERLAPS)):
        overlap = IOU_CROP_OVERLAPS[choice]
        if overlap is None or not len(boxes):
            break
        crops = _iou_crops(window, rng)
        suitable = ((box_iou(crops, boxes) >= overlap) & _centre_inside(crops, boxes)).any(axis=1)
        if suitable.any():
            return _window(crops[suitable.argmax()])
    return window


def _iou_crops(window: Window, rng: np.random.Generator) -> Boxes:
    """Return `(IOU_CROP_ATTEMPTS, 4)` random crops of a window, whole pixels as float64."""
    side = rng.uniform(*IOU_CROP_SIDES, IOU_CROP_ATTEMPTS)
    # So far from 1 only that neither the width nor the height is more than the window's.
    low, high = np.maximum(IOU_CROP_RATIOS[0], side**2), np.minimum(IOU_CROP_RATIOS[1], side**-2)
    ratio = np.sqrt(rng.uniform(low, high))
    return _place(window, np.rint(window.width * side * ratio), np.rint(window.height * side / ratio), rng)


def object_crop(
    window: Window, boxes: Boxes, min_object_covered: float, max_attempts: int, rng: np.random.Generator
) -> Window:
    """Return a part of the window that shows, of every object that it touches, more than a given share, or all of it.

    Args:
        window: what to crop.
        boxes: the objects, `(num_objects, 4)` corners in pixels of the original image.
        min_object_covered: that share, 0…1, of an object's area.
        max_attempts: after so many crops the window stays whole, as it does without objects.
        rng: draws the crop.

    Source: MXNet, `image/detection.py`, `DetRandomCropAug`, which straight dope uses.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    boxes = boxes[(width > 0) & (height > 0) & (width * height > OBJECT_CROP_PIXELS)]
    if not len(boxes):
        return window
    crops, fits = _object_crops(window, max_attempts, rng)
    covered = _coverage(crops, boxes)  # (max_attempts, num_objects)
    enough = (covered == 0) | (covered > min_object_covered)
    suitable = fits & enough.all(axis=1) & (covered > OBJECT_CROP_KEPT).any(axis=1)
    return _window(crops[suitable.argmax()]) if suitable.any() else window


def _object_crops(window: Window, attempts: int, rng: np.random.Generator) -> tuple[Boxes, NDArray[np.bool_]]:
    """Return `(attempts, 4)` random crops of a window in whole pixels, and which of them are large enough."""
    ratio = rng.uniform(*OBJECT_CROP_RATIOS, attempts)
    lowest = np.ceil(np.sqrt(OBJECT_CROP_AREA * window.width * window.height / ratio))
    highest = np.minimum(window.height, np.floor(window.width / ratio))
    fits = lowest <= highest
    lowest = np.minimum(lowest, highest)
    heights = lowest + np.floor(rng.random(attempts) * (highest - lowest + 1))
    return _place(window, np.rint(heights * ratio), heights, rng), fits


def _place(window: Window, widths: Boxes, heights: Boxes, rng: np.random.Generator) -> Boxes:
    """Return crops of these sizes, `(n,)` each, at random places inside a window."""
    widths, heights = widths.clip(1, window.width), heights.clip(1, window.height)
    lefts = window.left + np.floor(rng.random(len(widths)) * (window.width - widths + 1))
    tops = window.top + np.floor(rng.random(len(heights)) * (window.height - heights + 1))
    return np.stack((lefts, tops, lefts + widths, tops + heights), axis=1)


def _window(corners: Boxes) -> Window:
    """Return corners in whole pixels as a window."""
    return Window(*corners.astype(int).tolist())


def _centre_inside(crops: Boxes, boxes: Boxes) -> NDArray[np.bool_]:
    """Return `(num_crops, num_boxes)`: which crop shows the centre of which box."""
    centres, crops = (boxes[:, :2] + boxes[:, 2:]) / 2, crops[:, None]
    return ((crops[..., :2] < centres) & (centres < crops[..., 2:])).all(axis=-1)


def _coverage(crops: Boxes, boxes: Boxes) -> Boxes:
    """Return `(num_crops, num_boxes)`: the share of each box's area that each crop shows."""
    crops = crops[:, None]
    low, high = np.maximum(crops[..., :2], boxes[:, :2]), np.minimum(crops[..., 2:], boxes[:, 2:])
    return (high - low).clip(0).prod(axis=-1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)


def view(picture: Image.Image, window: Window, size: int) -> tuple[Image.Image, Mapping]:
    """Return what is in the window as an image of `size` × `size` pixels, and where its points came from.

    Resampled as `resize_image` does. Where the image's edge is in the window it comes to lie between two pixels of
    the result, and at the nearest; the mapping is that of the pixels as drawn.

    Raises:
        ValueError: no part of the image is in the window.
    """
    seen = Window(
        max(window.left, 0),
        max(window.top, 0),
        min(window.right, picture.width),
        min(window.bottom, picture.height),
    )
    if seen.width < 1 or seen.height < 1:
        raise ValueError(f"{window} shows nothing of an image of {picture.width} x {picture.height} pixels")
    left, right = _drawn(seen.left - window.left, seen.right - window.left, window.width, size)
    top, bottom = _drawn(seen.top - window.top, seen.bottom - window.top, window.height, size)
    part = picture.crop(seen).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    x, y = (right - left) / seen.width, (bottom - top) / seen.height  # drawn pixels a pixel of the original
    mapping = Mapping(
        (x * picture.width / size, y * picture.height / size),
        ((left - x * seen.left) / size, (top - y * seen.top) / size),
    )
    if part.size == (size, size):
        return part, mapping
    drawn = Image.new("RGB", (size, size), FILL)
    drawn.paste(part, (left, top))
    return drawn, mapping


def _drawn(start: int, stop: int, side: int, size: int) -> tuple[int, int]:
    """Return where pixels `start` to `stop` of `side` are when those become `size`, at least one pixel."""
    first = min(round(start * size / side), size - 1)
    return first, max(round(stop * size / side), first + 1)


def flip(picture: Image.Image) -> tuple[Image.Image, Mapping]:
    """Return the image mirrored, left becoming right, and where its points came from."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Mapping((-1.0, 1.0), (1.0, 0.0))


def map_labels(labels: NDArray[np.float32], mapping: Mapping, min_covered: float | None = None) -> NDArray[np.float32]:
    """Return the labels of a transformed image: boxes moved, cut off at its edges, and those out of view dropped.

    Args:
        labels: `(num_objects, 5)` `[class_id, xmin, ymin, xmax, ymax]`, fractions of the original.
        mapping: what happened to the image.
        min_covered: keep an object of which more than this share of the area is in view. By default (SSD) one whose
            centre is in view.

    Returns:
        `(num_kept, 5)` float32, in the same order, fractions of the transformed image; every box has an area.
    """
    corners = mapping.apply(labels[:, 1:].astype(np.float64))
    if min_covered is None:
        kept = _centre_inside(np.array([[0, 0, 1, 1]]), corners)[0]
    else:
        with np.errstate(invalid="ignore"):  # a box without area, which goes below
            kept = _coverage(np.array([[0, 0, 1, 1]]), corners)[0] > min_covered
    mapped = np.column_stack((labels[:, 0], corners.clip(0, 1))).astype(np.float32)
    return mapped[kept & (mapped[:, 1:3] < mapped[:, 3:]).all(axis=1)]
