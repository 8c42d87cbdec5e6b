"""A drawing of a dog and a cat, for lessons: where the book's photograph of a dog and a cat has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE = 728, 561
"""Width and height in pixels, those of the photograph."""
BOXES = np.array([[0.1, 0.08, 0.52, 0.92], [0.55, 0.2, 0.9, 0.88]])
"""Dog and cat, corners normalised (d2l, section "Anchor Boxes", an example)."""

_FINER = 4  # drawn so much larger, then reduced: smooth edges
_TAN, _SHADE, _BROWN, _CREAM, _INK, _PINK = "#d9a05b", "#cc9250", "#8a5a2b", "#f3dcb8", "#2b2118", "#e58a93"
_GREY, _DARK, _PALE, _GREEN = "#9a9a9f", "#5c5c63", "#e6e6ea", "#7fb069"
_WALL, _FLOOR = "#eef3f6", "#d8e0da"

# Shapes from back to front: kind, colour, and left, top, right, bottom, or the corners, as fractions of the box.
Shape = tuple[str, str, tuple[float, ...]]
_DOG: tuple[Shape, ...] = (
    ("ellipse", _TAN, (0.1, 0.38, 0.9, 1.0)),  # body
    ("ellipse", _TAN, (0.0, 0.7, 0.36, 1.0)),  # hind legs
    ("ellipse", _TAN, (0.64, 0.7, 1.0, 1.0)),
    ("ellipse", _CREAM, (0.3, 0.46, 0.7, 0.92)),  # chest
    ("rounded", _SHADE, (0.28, 0.64, 0.46, 1.0)),  # forelegs
    ("rounded", _SHADE, (0.54, 0.64, 0.72, 1.0)),
    ("ellipse", _CREAM, (0.25, 0.93, 0.47, 1.0)),
    ("ellipse", _CREAM, (0.53, 0.93, 0.75, 1.0)),
    ("ellipse", _TAN, (0.16, 0.0, 0.84, 0.5)),  # head
    ("ellipse", _BROWN, (0.0, 0.07, 0.25, 0.43)),  # ears
    ("ellipse", _BROWN, (0.75, 0.07, 1.0, 0.43)),
    ("ellipse", _CREAM, (0.3, 0.25, 0.7, 0.49)),  # muzzle
    ("ellipse", _PINK, (0.43, 0.4, 0.57, 0.52)),  # tongue
    ("ellipse", _CREAM, (0.34, 0.3, 0.66, 0.43)),
    ("ellipse", _INK, (0.42, 0.25, 0.58, 0.335)),  # nose
    ("ellipse", _INK, (0.29, 0.15, 0.39, 0.22)),  # eyes
    ("ellipse", _INK, (0.61, 0.15, 0.71, 0.22)),
    ("ellipse", "white", (0.31, 0.16, 0.345, 0.185)),
    ("ellipse", "white", (0.63, 0.16, 0.665, 0.185)),
)
_CAT: tuple[Shape, ...] = (
    ("ellipse", _DARK, (0.6, 0.6, 1.0, 1.0)),  # tail
    ("ellipse", _GREY, (0.12, 0.42, 0.88, 1.0)),  # body
    ("polygon", _DARK, (0.53, 0.58, 0.87, 0.63, 0.53, 0.67)),  # stripes
    ("polygon", _DARK, (0.53, 0.72, 0.88, 0.76, 0.53, 0.81)),
    ("ellipse", _PALE, (0.3, 0.5, 0.62, 0.92)),  # chest
    ("rounded", _GREY, (0.26, 0.66, 0.43, 1.0)),  # forelegs
    ("rounded", _GREY, (0.5, 0.66, 0.67, 1.0)),
    ("ellipse", _PALE, (0.23, 0.92, 0.44, 1.0)),
    ("ellipse", _PALE, (0.49, 0.92, 0.7, 1.0)),
    ("polygon", _GREY, (0.04, 0.0, 0.07, 0.34, 0.42, 0.13)),  # ears
    ("polygon", _GREY, (0.88, 0.0, 0.85, 0.34, 0.5, 0.13)),
    ("polygon", _PINK, (0.09, 0.06, 0.11, 0.25, 0.31, 0.14)),
    ("polygon", _PINK, (0.83, 0.06, 0.81, 0.25, 0.61, 0.14)),
    ("ellipse", _GREY, (0.0, 0.09, 0.92, 0.54)),  # head
    ("polygon", _DARK, (0.41, 0.1, 0.51, 0.1, 0.46, 0.22)),
    ("polygon", _DARK, (0.29, 0.13, 0.37, 0.11, 0.36, 0.22)),
    ("polygon", _DARK, (0.63, 0.13, 0.55, 0.11, 0.56, 0.22)),
    ("ellipse", _PALE, (0.27, 0.34, 0.65, 0.53)),  # muzzle
    ("ellipse", _GREEN, (0.16, 0.24, 0.36, 0.36)),  # eyes
    ("ellipse", _GREEN, (0.56, 0.24, 0.76, 0.36)),
    ("ellipse", _INK, (0.23, 0.245, 0.29, 0.355)),
    ("ellipse", _INK, (0.63, 0.245, 0.69, 0.355)),
    ("polygon", _PINK, (0.4, 0.37, 0.52, 0.37, 0.46, 0.42)),  # nose
    ("line", _INK, (0.46, 0.42, 0.46, 0.46, 0.38, 0.48)),  # mouth
    ("line", _INK, (0.46, 0.46, 0.54, 0.48)),
    ("line", _INK, (0.32, 0.42, 0.06, 0.38)),  # whiskers
    ("line", _INK, (0.32, 0.45, 0.07, 0.47)),
    ("line", _INK, (0.6, 0.42, 0.86, 0.38)),
    ("line", _INK, (0.6, 0.45, 0.85, 0.47)),
)


def draw_dog_and_cat() -> NDArray[np.uint8]:
    """Return a drawing of a dog and a cat, (561, 728, 3) uint8, RGB; each fills its box in `BOXES`."""
    width, height = (_FINER * side for side in SIZE)
    image = Image.new("RGB", (width, height), _WALL)
    canvas = ImageDraw.Draw(image)
    canvas.rectangle((0, 0.72 * height, width, height), fill=_FLOOR)
    for box, shapes in zip(BOXES, (_DOG, _CAT), strict=True):
        corner, extent = box[:2] * (width, height), (box[2:] - box[:2]) * (width, height)
        for kind, color, fractions in shapes:
            points = [tuple(point) for point in corner + np.reshape(fractions, (-1, 2)) * extent]
            if kind == "ellipse":
                canvas.ellipse(points, fill=color)
            elif kind == "rounded":
                canvas.rounded_rectangle(points, radius=0.08 * extent[0], fill=color)
            elif kind == "polygon":
                canvas.polygon(points, fill=color)
            else:
                canvas.line(points, fill=color, width=2 * _FINER)
    return np.array(image.resize(SIZE, Image.Resampling.BOX))
