"""Figures about boxes, for lessons: labelled boxes in panels, two boxes and their overlap, matrices of overlaps."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ssd_common.boxes import box_iou
from ssd_common.data.transforms import checked_image
from ssd_common.drawing import BOX_COLORS
from ssd_common.errors import InputError
from ssd_common.figures.canvas import grid, new_figure, show_image
from ssd_common.figures.detections import show_bboxes

PANEL = 4.6  # inches that a panel is wide
CROWDED = 20  # boxes of one layer above which they are drawn in thin lines
PICKED = "#D55E00"
TAKEN = "#d9d9d9"


class Boxes(NamedTuple):
    """Boxes that are drawn alike."""

    corners: ArrayLike
    """(n, 4) `[xmin, ymin, xmax, ymax]`, normalised."""
    labels: Sequence[str] = ()
    """One for each box, or for the first ones."""
    colors: str | Sequence[str] = BOX_COLORS
    """They repeat over the boxes."""
    dashed: bool = False


class Matrix(NamedTuple):
    """Overlaps at one moment of the matching."""

    overlaps: ArrayLike
    """(rows, columns), 0…1; a negative one is out of the game and drawn as a cross."""
    picked: Sequence[tuple[int, int]] = ()
    """The places (row, column) that are framed."""


def save_box_panels(
    path: str | os.PathLike[str],
    image: NDArray[np.uint8],
    panels: Mapping[str, Sequence[Boxes]],
    columns: int = 3,
) -> None:
    """Write the same image several times, each time with other boxes on it.

    Args:
        path: of the PNG.
        image: (height, width, 3) uint8, RGB.
        panels: the boxes of each panel by its title; what comes first is drawn first. There is a margin for those that
            reach beyond the image.
        columns: panels side by side.

    Raises:
        InputError: there is no panel.
    """
    height, width = checked_image(image).shape[:2]
    scale = np.array([width, height, width, height])
    corners = [np.asarray(b.corners, np.float64).reshape(-1, 4) for boxes in panels.values() for b in boxes]
    beyond = np.concatenate([np.zeros((0, 4)), *corners]) * scale
    left, top = beyond[:, :2].min(axis=0, initial=0)
    right, bottom = beyond[:, 2].max(initial=width), beyond[:, 3].max(initial=height)
    with _panels(path, list(panels), columns, (bottom - top) / (right - left)) as places:
        for axes, boxes in zip(places, panels.values(), strict=True):
            show_image(axes, image)
            axes.set(xlim=(left, right), ylim=(bottom, top))
            for layer in boxes:
                rows = np.asarray(layer.corners, np.float64).reshape(-1, 4) * scale
                show_bboxes(axes, rows, layer.labels, layer.colors, linewidth=1.2 if len(rows) > CROWDED else 3)
                axes.collections[-1].set_linestyle((0, (3, 2)) if layer.dashed else "-")


def save_overlaps(
    path: str | os.PathLike[str], pairs: Mapping[str, tuple[ArrayLike, ArrayLike]], columns: int = 4
) -> None:
    """Write pairs of boxes, the area that both cover hatched, with their intersection, union and IoU in numbers.

    Args:
        path: of the PNG.
        pairs: two boxes `[xmin, ymin, xmax, ymax]` by the title of their panel, coordinates 0…1.
        columns: panels side by side.

    Raises:
        InputError: there is no pair.
    """
    with _panels(path, list(pairs), columns, 1.2) as places:
        for axes, pair in zip(places, pairs.values(), strict=True):
            first, second = np.asarray(pair, np.float64)
            axes.set(xlim=(-0.02, 1.02), ylim=(1.02, -0.02), aspect="equal")
            iou = float(box_iou(first[None], second[None])[0, 0])
            union = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (first, second)) / (1 + iou)
            if iou:
                left, top = np.maximum(first[:2], second[:2])
                right, bottom = np.minimum(first[2:], second[2:])
                both = Rectangle((left, top), right - left, bottom - top, hatch="//", facecolor="#009E73", alpha=0.45)
                axes.add_patch(both)
            show_bboxes(axes, [first, second], colors=["#0072B2", PICKED], linewidth=4)
            numbers = f"intersection {iou * union:.3f}\nunion {union:.3f}\nIoU {iou:.3f}"
            axes.text(0.5, 1.03, numbers, ha="center", va="top", fontsize=16)


def save_overlap_matrices(
    path: str | os.PathLike[str], matrices: Mapping[str, Matrix], rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Write matrices of overlaps side by side, in each the picked ones framed and the taken ones crossed out.

    Args:
        path: of the PNG.
        matrices: by the title above each.
        rows: what each row stands for.
        columns: what each column stands for.

    Raises:
        InputError: there is no matrix, or one has another shape than the names.
    """
    for title, matrix in matrices.items():
        if np.shape(matrix.overlaps) != (len(rows), len(columns)):
            shape, names = np.shape(matrix.overlaps), f"{len(rows)} rows and {len(columns)} columns"
            raise InputError(f"{title}: overlaps of shape {shape}, but names of {names}")
    with _panels(path, list(matrices), len(matrices), 0.55 * len(rows) / len(columns), PANEL * 0.75) as places:
        for axes, matrix in zip(places, matrices.values(), strict=True):
            overlaps = np.asarray(matrix.overlaps, np.float64)
            axes.axis("on")
            axes.imshow(np.where(overlaps < 0, np.nan, overlaps), cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
            axes.set_facecolor(TAKEN)
            axes.set_xticks(range(len(columns)), columns, fontsize=15)
            axes.set_yticks(range(len(rows)), rows if axes is places[0] else [""] * len(rows), fontsize=15)
            axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
            for place, value in np.ndenumerate(overlaps):
                text = "×" if value < 0 else f"{value:.2f}"
                weight = "bold" if place in matrix.picked else "normal"
                color = "white" if value > 0.75 else "black"
                axes.text(place[1], place[0], text, ha="center", va="center", fontsize=16, weight=weight, color=color)
            for row, column in matrix.picked:
                axes.add_patch(
                    Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, color=PICKED, linewidth=5)
                )


@contextmanager
def _panels(
    path: str | os.PathLike[str], titles: Sequence[str], columns: int, aspect: float, width: float = PANEL
) -> Iterator[list[Axes]]:
    """Give the axes of a figure under each title, so many in a row, of that height over width; then write it."""
    if not titles:
        raise InputError("a figure needs at least one panel")
    columns = min(columns, len(titles))
    lines = 1 + max(title.count("\n") for title in titles)
    height = math.ceil(len(titles) / columns) * (width * aspect + 0.3 * lines + 0.1)
    with new_figure(path, (width * columns, height)) as figure:
        places = grid(figure, len(titles), columns)
        for axes, title in zip(places, titles, strict=True):
            axes.set_title(title)
        yield places
