"""Images of detection: boxes on images, contact sheets, anchors.

Nothing here needs a display or touches pyplot: figures are made with matplotlib's object interface and rendered by its
Agg canvas, whatever the caller's matplotlib settings are. Files are PNG, and the same input gives the same bytes.

The colours are those of Okabe and Ito, "Color Universal Design" (2008), which the colour-blind can tell apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from ssd_common.data.dataset import Dataset
from ssd_common.data.transforms import checked_image
from ssd_common.detection import Detections
from ssd_common.drawing import BOX_COLORS, class_color, label_text, shown_names, text_color, visible
from ssd_common.errors import InputError
from ssd_common.evaluation.agreement import differing
from ssd_common.figures.canvas import grid, new_figure, row_heights, short_name, show_image
from ssd_common.figures.names import in_legend, legend_columns

DIFFERS = "#FF00FF"  # the colour of no class: what the other backend does not have
# The band around it, from below: colour, width in points, dashes.
STRIPES: tuple[tuple[str, int, Any], ...] = (("black", 8, "-"), (DIFFERS, 6, "-"), ("white", 6, (0, (1, 1))))
TILE = 3.2  # inches of a contact sheet that each image is wide
HIGHEST = 4  # times its width that a tile is high at most
CROWDED = 8  # boxes on one tile of a contact sheet above which their labels would hide the image


def show_bboxes(
    axes: Axes,
    bboxes: Iterable[Iterable[SupportsFloat]],
    labels: str | Sequence[str] | None = None,
    colors: str | Sequence[str] | None = None,
    linewidth: float = 3,
) -> None:
    """Draw bounding boxes on axes that already show their image.

    Args:
        axes: of a figure or of pyplot.
        bboxes: (n, 4) `[xmin, ymin, xmax, ymax]` in the units of the axes (pixels, after `imshow`), as an array of
            numpy or of either framework, or as a list of rows.
        labels: one for each box, or for the first ones; a string is the label of the first box.
        colors: matplotlib colours that repeat over the boxes; by default seven that the colour-blind can tell apart.
        linewidth: in points.

    Source: the function of this name in the chapter "Anchor Boxes" of Dive into Deep Learning.
    """
    texts = [labels] if isinstance(labels, str) else list(labels or ())
    cycle = [colors] if isinstance(colors, str) else list(colors or BOX_COLORS)
    # A number at a time: numpy takes an array of MXNet for nested sequences and does not finish.
    corners = np.array([[float(value) for value in bbox] for bbox in bboxes]).reshape(-1, 4)
    _outline(axes, corners, edgecolors=cycle, linewidths=linewidth)
    for index, (text, corner) in enumerate(zip(texts, corners, strict=False)):
        _label(axes, corner, text, cycle[index % len(cycle)])


def save_detection_grid(
    path: str | os.PathLike[str],
    images: Sequence[NDArray[np.uint8]],
    detections_per_image: Sequence[ArrayLike],
    class_names: Sequence[str],
    truths: Sequence[ArrayLike] | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    threshold: float = 0.5,
    differs: Sequence[Sequence[bool] | NDArray[np.bool_]] | None = None,
) -> None:
    """Write a contact sheet: each image with its detections solid and its ground truth dashed.

    An image with more than eight detections carries no labels; the legend tells the classes by their colours.
    Detections that only one backend has lie in a striped band, their labels begin with "≠" (more than eight of them
    carry none), and so does the title of their image, which has a frame.

    Args:
        path: of the PNG.
        images: uint8 RGB images (height, width, 3) of any sizes.
        detections_per_image: for each image (n, 6), see `draw_detections`.
        class_names: the name of each class id.
        truths: for each image (n, 5) `[class_id, xmin, ymin, xmax, ymax]`, corners normalised; −1 rows are padding.
        titles: a line or lines above each image; of a long line the end.
        columns: images side by side.
        threshold: the lowest score that is drawn.
        differs: for each image and each of its detections, in their order: whether the other backend lacks it, see
            `ssd_common.evaluation.agreement`.

    Raises:
        InputError: there is no image, the sequences differ in length, or as `draw_detections`.
    """
    given = {"detections": detections_per_image, "truths": truths, "titles": titles, "rows of marks": differs}
    for name, items in given.items():
        if items is not None and len(items) != len(images):
            raise InputError(f"{len(images)} images but {len(items)} {name}: give one for each image")
    if not images:
        raise InputError("a contact sheet needs at least one image")
    both, alone = [], []  # what either backend has, and what only this one has
    for number, detections in enumerate(detections_per_image):
        rows = np.asarray(detections, dtype=np.float64)
        mask = np.zeros(len(rows), dtype=bool) if differs is None else np.asarray(differs[number], dtype=bool)
        if len(rows) != len(mask):
            raise InputError(f"image {number}: {len(rows)} detections but {len(mask)} marks: give one for each")
        both.append(visible(rows[~mask], class_names, threshold))
        alone.append(visible(rows[mask], class_names, threshold))
    columns, shown = min(columns, len(images)), shown_names(class_names)
    heights = row_heights([checked_image(image) for image in images], columns, HIGHEST)
    above = 0.3 * max(title.count("\n") + 1 for title in titles) if titles else 0
    size = (max(6, TILE * columns), sum(TILE * height + above for height in heights) + 0.5)
    with new_figure(path, size) as figure:
        for index, axes in enumerate(grid(figure, len(images), columns, heights)):
            show_image(axes, images[index])
            rows, scale = both[index], images[index].shape[1::-1] * 2  # width, height, width, height
            crowded = len(rows) + len(alone[index]) > CROWDED
            labels = None if crowded else [label_text(row, shown) for row in rows]
            show_bboxes(axes, rows[:, 2:] * scale, labels, [class_color(row[0]) for row in rows])
            if len(alone[index]):
                _mark(axes, alone[index], shown)
            if truths is not None:
                truth = np.asarray(truths[index], dtype=np.float64).reshape(-1, 5)
                corners = truth[truth[:, 0] >= 0, 1:] * scale
                # White dashes on black show on any image; 1.44 points are two pixels, so that they are crisp.
                _outline(axes, corners, edgecolors="black", linewidths=1.44)
                _outline(axes, corners, edgecolors="white", linewidths=1.44, linestyles=(0, (3, 3)))
            if titles is not None:
                title = "\n".join(short_name(line) for line in titles[index].split("\n"))
                axes.set_title(f"≠ {title}" if len(alone[index]) else title, fontsize=12)
        present = sorted({int(row[0]) for rows in (*both, *alone) for row in rows})
        handles: list[Any] = [Line2D([], [], color=class_color(class_id), linewidth=3) for class_id in present]
        drawn = f" (score ≥ {threshold:g})" if threshold > 0 else ""
        names = [f"{in_legend(shown[class_id])}{drawn}" for class_id in present]
        if truths is not None:
            handles.append((Line2D([], [], color="black"), Line2D([], [], color="white", dashes=(2, 2))))
            names.append("ground truth")
        if differs is not None:
            handles.append(tuple(Line2D([], [], color=c, linewidth=width, linestyle=d) for c, width, d in STRIPES))
            names.append("≠ no counterpart in the other backend" + ("" if any(map(len, alone)) else ": none"))
        most = min(max(2, columns), legend_columns(names, size[0], 12))
        figure.legend(handles, names, loc="outside lower center", ncols=most, facecolor="#d0d0d0")


def save_anchor_plot(
    path: str | os.PathLike[str], image: NDArray[np.uint8], anchors: ArrayLike, title: str = ""
) -> None:
    """Write an image of anchors on an image, with a margin for those that reach beyond it.

    Args:
        path: of the PNG.
        image: (height, width, 3) uint8, RGB.
        anchors: (n, 4) corners `[xmin, ymin, xmax, ymax]`, normalised; more than 50 are drawn in thin, pale lines.
        title: above the image.
    """
    height, width = checked_image(image).shape[:2]
    corners = np.asarray(anchors, dtype=np.float64).reshape(-1, 4) * (width, height, width, height)
    margin = (
        np.clip([-corners[:, :2], corners[:, 2:] - (width, height)], 0, max(width, height) / 2).max(initial=0) * 1.02
    )
    line = {"linewidths": 0.6, "alpha": 0.5} if len(corners) > 50 else {"linewidths": 2.5}
    with new_figure(path, (8, 8 * (height + 2 * margin) / (width + 2 * margin) + 0.4)) as figure:
        (axes,) = grid(figure, 1, 1)
        show_image(axes, image)
        _outline(axes, corners, edgecolors=BOX_COLORS, **line)
        axes.set(title=title, xlim=(-margin, width + margin), ylim=(height + margin, -margin))


def _outline(axes: Axes, corners: NDArray[np.float64], **line: Any) -> None:
    """Outline (n, 4) boxes in the units of the axes, without moving the axes' limits."""
    polygons = corners[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    axes.add_collection(PolyCollection(list(polygons), facecolors="none", **line), autolim=False)


def _label(axes: Axes, corners: NDArray[np.float64], text: str, color: str) -> None:
    """Stand a label on a box, or hang it in it where the box reaches the top; it grows towards the middle."""
    xmin, ymin, xmax, _ = corners
    across, up = axes.transAxes.inverted().transform(axes.transData.transform(((xmin + xmax) / 2, ymin)))
    axes.text(
        np.clip(xmin if across < 0.6 else xmax, *axes.get_xbound()),
        np.clip(ymin, *axes.get_ybound()),
        text,
        color=text_color(color),
        fontsize=12,
        ha="left" if across < 0.6 else "right",
        va="bottom" if up < 0.9 else "top",
        bbox={"facecolor": color, "linewidth": 0, "pad": 1.5},
    )


def _mark(axes: Axes, rows: NDArray[np.float64], class_names: Sequence[str]) -> None:
    """Draw detections (n, 6) with a striped band just around each, label them where they are few, frame the image."""
    size = np.array([axes.get_xlim()[1], axes.get_ylim()[0]] * 2)
    point = size[0] / (72 * TILE)
    boxes, colors = rows[:, 2:] * size, [class_color(row[0]) for row in rows]
    show_bboxes(axes, boxes, colors=colors)
    around = np.clip(boxes + np.array([-5, -5, 5, 5]) * point, 7 * point, size - 7 * point)
    for color, width, dashes in STRIPES:
        _outline(axes, around, edgecolors=color, linewidths=width, linestyles=dashes)
    for row, corners, color in zip(rows, around - 4 * point, colors, strict=True):
        if len(rows) <= CROWDED:
            _label(axes, corners, f"≠ {label_text(row, class_names)}", color)
    _outline(axes, size * np.array([[0.0, 0.0, 1.0, 1.0]]), edgecolors=DIFFERS, linewidths=6)  # half of it is cut off


PICTURES_SHOWN = 5  # of the validation split


def save_pictures(
    path: Path,
    val: Dataset,
    detections: Mapping[str, Sequence[Detections]],
    mark_differences: bool = False,
    count: int = 0,
) -> None:
    """Draw the first validation images with their true boxes and as many of the best detections, or else one.

    There is a row of images for each backend.

    Args:
        path: of the PNG.
        val: the validation images.
        detections: of each image, by backend.
        mark_differences: of two backends, mark a detection that the other does not have (see `differing`).
        count: how many images; 0 for `PICTURES_SHOWN`.
    """
    count = min(count or PICTURES_SHOWN, len(val))
    examples = [val[i] for i in range(count)]
    best = [max(1, len(example.labels)) for example in examples]
    marks = None
    if mark_differences:
        pairs = [differing(*pair) for pair in zip(*(found[:count] for found in detections.values()), strict=True)]
        marks = [pair[side][:k].tolist() for side in (0, 1) for pair, k in zip(pairs, best, strict=True)]
    save_detection_grid(
        path,
        [example.image for _ in detections for example in examples],
        [found[:k] for of_backend in detections.values() for found, k in zip(of_backend, best, strict=False)],
        val.class_names,
        truths=[example.labels for _ in detections for example in examples],
        titles=[name for name in detections for _ in examples],
        columns=count,
        threshold=0.0,
        differs=marks,
    )
