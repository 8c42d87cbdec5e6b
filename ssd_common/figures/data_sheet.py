"""A dataset on one page: images with their boxes, how many objects there are, how large they are."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from ssd_common.data.formats.annotations import AnnotatedSet
from ssd_common.data.formats.objects import check_objects
from ssd_common.data.transforms import image_size, read_image
from ssd_common.drawing import BOX_COLORS, class_color, drawable, shown_names
from ssd_common.figures.canvas import grid, new_figure, row_heights, short_name, show_image
from ssd_common.figures.detections import CROWDED, show_bboxes
from ssd_common.figures.names import in_legend, legend_columns

COLUMNS = 4
WIDTH = 14.0  # inches
TALLEST = 1.25  # height over width of the place of an image
PLOTS_HEIGHT = 4.2  # inches
MOST_CLASSES = 20  # that have a bar
MOST_BARS = 40  # in the plot of numbers
NEUTRAL = "#999999"
MOST_DOTS = 5000  # in the plot of sizes
Objects = NDArray[np.float64]
"""`(n, 6)` `[class_id, ignored, xmin, ymin, xmax, ymax]`, the good objects of an image."""


def save_data_sheet(
    path: str | os.PathLike[str],
    data: AnnotatedSet,
    count: int = 12,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Write a contact sheet of a dataset, with plots of the numbers and the sizes of its objects.

    Args:
        path: of the PNG.
        data: what its files say; objects that are wrong are left out.
        count: how many images to show, taken at equal steps from all.
        progress: called with the indices of all the images, returns them; it may show a bar.

    Raises:
        InputError: an image cannot be read.
    """
    objects = [_objects(data, index) for index in progress(range(len(data.annotations)))]
    chosen = np.linspace(0, len(objects) - 1, min(count, len(objects))).round().astype(int).tolist()
    images = [_image(data, index) for index in chosen]
    columns = min(COLUMNS, len(images))
    tile = WIDTH / columns
    heights = row_heights(images, columns, TALLEST)
    every, shown = np.concatenate(objects), shown_names(data.class_names)
    sheet_height = sum(tile * height + 0.25 for height in heights) + 1.1
    with new_figure(path, (WIDTH, sheet_height + PLOTS_HEIGHT)) as figure:
        figure.suptitle(f"{drawable(data.name)}: {len(objects):,} images, {len(every):,} objects")
        above, below = figure.subfigures(2, 1, height_ratios=[sheet_height, PLOTS_HEIGHT])
        present = np.unique(every[:, 0].astype(int)).tolist()
        told_apart = len(present) <= len(BOX_COLORS)  # with more classes than colours each box has its name
        for axes, image, index in zip(grid(above, len(images), columns, heights), images, chosen, strict=True):
            _draw_picture(axes, image, objects[index], None if told_apart else shown)
            axes.set_title(short_name(data.annotations[index].image_name), fontsize=11)
        _draw_legend(above, present if told_apart else (), shown, bool(every[:, 1].any()))
        counts, numbers, sizes = below.subplots(1, 3)
        _plot_classes(counts, every, shown)
        _plot_numbers(numbers, [len(rows) for rows in objects])
        _plot_sizes(sizes, every)


def _objects(data: AnnotatedSet, index: int) -> Objects:
    annotation = data.annotations[index]
    height, width = image_size(annotation.image, annotation.image_label)
    good, corners, _ = check_objects(annotation, height, width)
    return np.column_stack([annotation.class_ids, annotation.ignored, corners])[good].astype(np.float64)


def _image(data: AnnotatedSet, index: int) -> NDArray[np.uint8]:
    annotation = data.annotations[index]
    return read_image(annotation.image, annotation.image_label)


def _draw_picture(axes: Axes, image: NDArray[np.uint8], objects: Objects, names: Sequence[str] | None) -> None:
    height, width = image.shape[:2]
    show_image(axes, image)
    boxes = objects[:, 2:] * (width, height, width, height)
    labels = [names[int(row[0])] for row in objects] if names is not None and len(objects) <= CROWDED else None
    # 0.72 points are a pixel; a black edge of one on either side, so that they show on any image.
    show_bboxes(axes, boxes, colors="black", linewidth=3.6)
    show_bboxes(axes, boxes, labels, [class_color(row[0]) for row in objects], linewidth=2.16)
    show_bboxes(axes, boxes[objects[:, 1] == 1], colors="white", linewidth=0.72)


def _draw_legend(figure: SubFigure, class_ids: Sequence[int], class_names: Sequence[str], ignored: bool) -> None:
    handles: list[Any] = [Line2D([], [], color=class_color(class_id), linewidth=4) for class_id in class_ids]
    names = [in_legend(class_names[class_id]) for class_id in class_ids]
    if ignored:
        handles.append((Line2D([], [], color="black", linewidth=5), Line2D([], [], color="white", linewidth=1.5)))
        names.append("white line: difficult or crowd")
    if names:
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, legend_columns(names, WIDTH, 12)))


def _plot_classes(axes: Axes, objects: Objects, class_names: Sequence[str]) -> None:
    counts = np.bincount(objects[:, 0].astype(int), minlength=len(class_names))
    order = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    bars = axes.barh(
        range(len(order)),
        counts[order],
        0.8 if len(order) > 2 else 0.4,
        color=[class_color(class_id) for class_id in order],
    )
    axes.bar_label(bars, [f"{count:,}" for count in counts[order]], padding=3, fontsize=10)
    names = [class_names[class_id] for class_id in order]
    axes.set_yticks(range(len(order)), [name if len(name) <= 18 else f"{name[:17]}…" for name in names], fontsize=10)
    axes.invert_yaxis()
    axes.margins(x=0.2, y=0.05 if len(order) > 2 else 0.5)
    more = len(class_names) - len(order)
    axes.set(title="Objects of each class" + (f" ({more} more)" if more else ""), xlabel="objects")


def _plot_numbers(axes: Axes, numbers: Sequence[int]) -> None:
    width = math.ceil((max(numbers) + 1) / MOST_BARS)
    axes.hist(numbers, bins=np.arange(0, max(numbers) + 1 + width, width) - 0.5, color=NEUTRAL, edgecolor="white")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(title=f"Objects in an image (mean {np.mean(numbers):.1f})", xlabel="objects", ylabel="images")


def _plot_sizes(axes: Axes, objects: Objects) -> None:
    axes.set(title="Boxes, in % of the image", xlabel="width", ylabel="height")
    if not len(objects):
        axes.text(0.5, 0.5, "no objects", transform=axes.transAxes, ha="center")
        return
    dots = objects[:: math.ceil(len(objects) / MOST_DOTS)]
    sizes = 100 * (dots[:, 4:] - dots[:, 2:4])
    smallest = max(0.1, sizes.min() / 1.3)
    axes.plot([smallest, 100], [smallest, 100], color="gray", linewidth=1, linestyle=":")
    axes.scatter(*sizes.T, s=9, alpha=0.5, linewidths=0, c=[class_color(class_id) for class_id in dots[:, 0]])
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if tick >= smallest]
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(FixedLocator([]))
        axis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set(xlim=(smallest, 115), ylim=(smallest, 115))
    axes.grid(alpha=0.3)
