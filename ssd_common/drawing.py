"""Detections drawn on an image, pixel by pixel, at its own resolution; class names as a figure can show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib  # its colours and its font, without its figures: `predict` does not wait for them
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.ft2font import FT2Font
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from ssd_common.data.transforms import checked_image
from ssd_common.errors import InputError
from ssd_common.evaluation.agreement import checked_rows

BOX_COLORS = ("#E69F00", "#56B4E9", "#D55E00", "#F0E442", "#CC79A7", "#009E73", "#0072B2")
SMALLEST_FONT = 8  # pixels
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
LONGEST = 20  # letters of a name


def draw_detections(
    image: NDArray[np.uint8], detections: ArrayLike, class_names: Sequence[str], threshold: float = 0.5
) -> NDArray[np.uint8]:
    """Return a copy of an image, at its own resolution, with the detections drawn on it.

    Args:
        image: (height, width, 3) uint8, RGB.
        detections: (n, 6) `[class_id, score, xmin, ymin, xmax, ymax]`, corners normalised to 0…1. What lies outside
            the image is cut off.
        class_names: the name of each class id.
        threshold: the lowest score that is drawn. A row with a negative class id or a NaN is never drawn.

    Raises:
        InputError: the image or the detections have another shape, or a class id has no name.
    """
    picture = Image.fromarray(checked_image(image))
    canvas = ImageDraw.Draw(picture)
    width, height = picture.size
    line = max(2, round(max(width, height) / 200))
    rows, names = visible(detections, class_names, threshold), shown_names(class_names)
    boxes = [_pixels(row[2:], width, height) for row in rows]
    for row, box in zip(rows[::-1], boxes[::-1], strict=True):  # the best last, on top
        canvas.rectangle(box, outline=class_color(row[0]), width=line)
    labels: list[tuple[int, int, int, int]] = []
    drawn = []
    for row, box in zip(rows, boxes, strict=True):  # the best first: it has the choice of places
        text = label_text(row, names)
        font = _fitting_font(text, round(max(width, height) / 32), width)
        across, down = _label_size(text, font)
        if across <= width and down <= height:
            left, top = _label_place(across, down, box, width, height, labels)
            labels.append((left, top, left + across - 1, top + down - 1))
            drawn.append((text, font, class_color(row[0])))
    for place, (text, font, color) in zip(labels[::-1], drawn[::-1], strict=True):
        canvas.rectangle(place, fill=color)
        canvas.text((place[0] + 2, place[1] + 1), text, fill=text_color(color), font=font)
    return np.array(picture)


def visible(detections: ArrayLike, class_names: Sequence[str], threshold: float) -> NDArray[np.float64]:
    """Return the rows to draw, corners cut to the image, the best first."""
    rows = checked_rows(detections)
    rows = rows[(rows[:, 0] >= 0) & (rows[:, 1] >= threshold)]
    unnamed = rows[rows[:, 0] >= len(class_names), 0]
    if unnamed.size:
        raise InputError(
            f"a detection has class id {unnamed[0]:g}, but the class names are {list(class_names)}: "
            "use the names that the weights were trained with"
        )
    rows[:, 2:] = rows[:, 2:].clip(0, 1)
    rows = rows[(rows[:, 2] < rows[:, 4]) & (rows[:, 3] < rows[:, 5])]  # false for NaN
    rows = rows[np.argsort(-rows[:, 1], kind="stable")]
    return rows


def _pixels(corners: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """Normalised corners as the first and the last pixel of the box, across and down."""
    left, top = min(round(corners[0] * width), width - 1), min(round(corners[1] * height), height - 1)
    return left, top, max(left, round(corners[2] * width) - 1), max(top, round(corners[3] * height) - 1)


def class_color(class_id: float) -> str:
    """Return the colour of a class, the same in every image."""
    return BOX_COLORS[int(class_id) % len(BOX_COLORS)]


def text_color(background: str) -> str:
    """Return black or white, whichever has the higher contrast (relative luminance of WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(background)]
    return "black" if np.dot([0.2126, 0.7152, 0.0722], linear) > 0.179 else "white"


def shown_names(class_names: Sequence[str]) -> list[str]:
    """Return names for the classes that a figure can show and that tell one from the other.

    A name with a letter that the font lacks is "class 3", as where classes have no names. One that is too long is
    shortened, and has its class id where another one begins alike.
    """
    shown: list[str] = []
    for class_id, name in enumerate(class_names):
        name = " ".join(name.split())
        if any(ord(letter) not in _letters() for letter in name):
            name = f"class {class_id}"
        if len(name) > LONGEST:
            name = f"{name[: LONGEST - 1]}…"
        if name in shown:
            name = f"{name[: LONGEST - 8]}… ({class_id})"
        shown.append(name)
    return shown


def drawable(text: str) -> str:
    """Return a text with "?" for each letter that the font lacks, such as those of a file name in Chinese."""
    return "".join(letter if ord(letter) in _letters() or letter == "\n" else "?" for letter in text)


def label_text(row: NDArray[np.float64], class_names: Sequence[str]) -> str:
    """Return what stands on a box: class name, as `shown_names` has it, and score."""
    return f"{class_names[int(row[0])]} {row[1]:.2f}"


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    return frozenset(FT2Font(str(FONT)).get_charmap())


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size)


def _fitting_font(text: str, size: int, width: int) -> ImageFont.FreeTypeFont:
    """The font at `size` pixels, 12 at least, or smaller where the label would be wider than the image."""
    size = max(12, size)
    while size > SMALLEST_FONT and _label_size(text, _font(size))[0] > width:
        size -= 1
    return _font(size)


def _label_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Width and height in pixels of a label's filled box."""
    return math.ceil(font.getlength(text)) + 4, sum(font.getmetrics()) + 2


def _label_place(
    across: int, down: int, box: tuple[int, ...], width: int, height: int, taken: Sequence[tuple[int, ...]]
) -> tuple[int, int]:
    """Left and top of a label in the image: above the box, below or in it, off the other labels where that can be."""
    lefts = (min(box[0], width - across), max(box[2] + 1 - across, 0))
    tops = [top for top in (box[1] - down, box[3] + 1, box[1]) if 0 <= top <= height - down] or [height - down]
    for left, top in ((left, top) for top in tops for left in lefts):
        if all(left > t[2] or left + across <= t[0] or top > t[3] or top + down <= t[1] for t in taken):
            return left, top
    return lefts[0], tops[0]
