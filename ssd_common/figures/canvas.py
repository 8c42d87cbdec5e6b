"""How figures look, how they are laid out, and how they are written."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from ssd_common.drawing import drawable
from ssd_common.output.atomic import write_atomically

STYLE: list[str | dict[str, Any]] = [
    "default",
    {"font.size": 13, "axes.titlesize": 15, "legend.fontsize": 12, "text.parse_math": False},
]
LARGE_TEXT: list[str | dict[str, Any]] = [
    *STYLE,
    {"font.size": 18, "axes.titlesize": 18, "legend.fontsize": 15, "lines.markersize": 12},
]
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1.5, 1.5)))
"""Lines that look different without colours."""
LONGEST_NAME = 30  # letters of a title


@contextmanager
def new_figure(
    path: str | os.PathLike[str], size: tuple[float, float], look: list[str | dict[str, Any]] = STYLE
) -> Iterator[Figure]:
    """Give an empty figure to draw on, which is then written as PNG.

    Args:
        path: of the PNG.
        size: width and height in inches.
        look: its style.
    """
    with style.context(look):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        write_figure(figure, path)


def write_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, 100 pixels an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})  # matplotlib's version is not the input
    write_atomically(path, buffer.getvalue())


def grid(figure: Figure | SubFigure, count: int, columns: int, heights: Sequence[float] | None = None) -> list[Axes]:
    """Return so many axes without frames, row by row.

    Args:
        figure: what they are on.
        count: how many.
        columns: side by side.
        heights: of the rows, in any unit; by default all are the same.
    """
    places = figure.subplots(math.ceil(count / columns), columns, squeeze=False, height_ratios=heights).ravel()
    for axes in places:
        axes.axis("off")
    return list(places[:count])


def row_heights(images: Sequence[NDArray[Any]], columns: int, highest: float) -> list[float]:
    """Return the height of each row of a grid of images, in widths of a column: that of its highest image.

    Args:
        images: (height, width, 3) each.
        columns: side by side.
        highest: an image that is higher, in its widths, is shown smaller.
    """
    aspects = [min(image.shape[0] / image.shape[1], highest) for image in images]
    return [max(aspects[start : start + columns]) for start in range(0, len(aspects), columns)]


def show_image(axes: Axes, image: NDArray[Any]) -> None:
    """Show an image so that normalised corners times its size are the units of the axes."""
    axes.imshow(image, extent=(0, image.shape[1], image.shape[0], 0))


def short_name(name: str) -> str:
    """Return a name of a file for a title: its end if it is too long, "?" for what the font lacks."""
    name = drawable(name)
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
