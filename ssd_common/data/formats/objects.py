"""The objects of an annotated image: which of them are right, and where they are.

Decided once, for training (`annotated`), `tinyssd data check`, `show` and `convert` alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssd_common.data.formats.annotations import Annotation, Box, Problem

MAX_OVERHANG = 1.0
"""A corner at most so many pixels outside the image is rounding, or counting from 1, and is cut off; a corner further
outside is a mistake."""
MAX_FRACTION = 2.0
"""Above it, a fraction is likely to be a number of pixels, or per cent."""
ROUNDING = 1e-15  # of a fraction that was computed in double precision


class Checked(NamedTuple):
    """The objects of an image, checked."""

    good: NDArray[np.bool_]
    """Which of them are right, `(n,)`."""
    corners: NDArray[np.float32]
    """`(n, 4)`, as fractions of the image, cut to it."""
    problems: list[Problem]
    """What is wrong with each of the others."""


def check_objects(annotation: Annotation, height: int, width: int) -> Checked:
    """Return which objects of an image are good, and where they are.

    Args:
        annotation: the image's.
        height: of the upright image, in pixels.
        width: of the upright image, in pixels.
    """
    size = np.array([width, height])
    unit = (1, 1) if annotation.fractions else (width, height)
    corners: NDArray[np.float32] = (annotation.boxes / (*unit, *unit)).clip(0, 1).astype(np.float32)
    boxes = annotation.boxes.astype(np.float64)
    low, high = boxes[:, :2], boxes[:, 2:]
    overhang = MAX_OVERHANG * np.array(unit) / size
    smaller = "smaller than a pixel" + ("" if annotation.fractions else ", are these fractions of the image?")
    outside = f"outside the image, which is {width} x {height}"
    in_pixels = annotation.fractions & (high > MAX_FRACTION).any(axis=1)
    # Of what is wrong with an object, the first that holds is told.
    reasons = {
        "inverted": (low > high).any(axis=1),
        "zero area": (low == high).any(axis=1),
        f"{outside}; are these pixels, where fractions belong?": in_pixels,
        outside: ((low < -overhang) | (high > unit + overhang)).any(axis=1),
        f"no area within the image, which is {width} x {height}": (corners[:, :2] >= corners[:, 2:]).any(axis=1),
        smaller: (high - low < np.array(unit) / size).all(axis=1),
    }
    bad: dict[int, str] = {}
    for reason, found in reasons.items():
        for i in np.flatnonzero(found).tolist():
            bad.setdefault(i, reason)
    first: dict[tuple[int, Box], int] = {}
    for i, (class_id, box) in enumerate(zip(annotation.class_ids.tolist(), boxes.tolist(), strict=True)):
        if i not in bad and (other := first.setdefault((class_id, tuple(box)), i)) != i:
            bad[i] = f"duplicate object, the same as {annotation.place(other)}"
    good = np.ones(len(boxes), bool)
    good[list(bad)] = False
    problems = [
        Problem(annotation.file, annotation.place(i), f"({', '.join(f'{number:.10g}' for number in boxes[i])})", bad[i])
        for i in sorted(bad)
    ]
    return Checked(good, corners, problems)


def pixel_boxes(annotation: Annotation, height: int, width: int) -> NDArray[np.float64]:
    """Return the corners `(n, 4)` in pixels.

    Of all the numbers that are the same fraction of the image in the precision of the format, the one with the fewest
    decimals: 453 of 640 pixels is 453 again after a format that stores 0.70781249.
    """
    if not annotation.fractions:
        return annotation.boxes.astype(np.float64)
    double = annotation.boxes.dtype == np.float64
    pixels = [
        [_fewest_decimals(value, side, double) for value, side in zip(box, (width, height) * 2, strict=True)]
        for box in annotation.boxes
    ]
    return np.array(pixels, np.float64).reshape(-1, 4)


def _fewest_decimals(fraction: np.floating, side: int, double: bool) -> float:
    exact = float(fraction) * side
    for decimals in range(12):
        value = round(exact, decimals)
        if abs(value / side - fraction) <= ROUNDING if double else np.float32(value / side) == fraction:
            return value
    return exact
