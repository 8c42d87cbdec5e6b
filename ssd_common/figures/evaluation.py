"""Images of an evaluation: precision against recall, and the worst mistakes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ssd_common.data.dataset import Dataset
from ssd_common.drawing import BOX_COLORS, class_color, shown_names
from ssd_common.evaluation.average_precision import PrecisionRecall, best_precision, voc12_average_precision
from ssd_common.evaluation.mistakes import SCORE_THRESHOLD, Mistake, count_mistakes, worst_mistakes
from ssd_common.figures.canvas import DASHES, LARGE_TEXT, new_figure
from ssd_common.figures.detections import save_detection_grid
from ssd_common.figures.names import in_legend, legend_columns

NAMED = len(BOX_COLORS) * 3  # classes that have a line of their own look: each time the colours repeat, other dashes

CONTEXT = 3.0  # how much of the image a mistake is shown with: so many times the longer side of its boxes
SMALLEST_VIEW = 96  # pixels of the image
PER_KIND = 4  # mistakes of each kind, a row of the figure


def save_precision_recall(
    path: str | os.PathLike[str], curves: Sequence[PrecisionRecall], class_names: Sequence[str], title: str = ""
) -> None:
    """Write the curve of each class, precision against recall, in one figure.

    A line is the best precision at each recall or above: the area below it is VOC12's average precision. A dot is the
    precision and recall of the detections with a score of 0.5 or more, those that `predict` shows. Of very many classes
    the others are grey beside those with the most objects.

    Args:
        path: of the PNG.
        curves: of each class, see `precision_recall`.
        class_names: the name of each class.
        title: above the figure.
    """
    frequent = sorted(range(len(curves)), key=lambda class_id: -curves[class_id].num_objects)[:NAMED]
    few, shown = len(curves) <= len(BOX_COLORS), shown_names(class_names)
    with new_figure(path, (11, 9) if few else (15, 8), LARGE_TEXT) as figure:
        axes = figure.subplots()
        axes.set(title=title, xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        for look, class_id in enumerate(sorted(frequent)):
            _draw_curve(axes, curves[class_id], shown[class_id], look)
        others = [curve for class_id, curve in enumerate(curves) if class_id not in frequent and curve.num_objects]
        for number, curve in enumerate(others):
            label = None if number else f"{len(others)} other classes"
            axes.plot(curve.recall, best_precision(curve), color="0.75", linewidth=1, zorder=1, label=label)
        axes.plot([], [], "o", color="white", markeredgecolor="black", label=f"at score {SCORE_THRESHOLD:g}")
        lines = [str(label) for label in axes.get_legend_handles_labels()[1]]
        below = {"loc": "outside lower center", "ncols": min(2, legend_columns(lines, 11, 15))}
        place: dict[str, Any] = below if few else {"loc": "outside right upper"}
        figure.legend(handlelength=2.5, **place)


def save_worst_mistakes(
    path: str | os.PathLike[str], data: Dataset, mistakes: Sequence[Mistake], score_threshold: float = SCORE_THRESHOLD
) -> None:
    """Write a contact sheet of the worst mistakes of each kind, each with the part of the image around it.

    The detection is solid, the object that it should have found, or that was missed, dashed; around a false positive
    all objects are. The number is that of the image in the dataset, from 0.

    Args:
        path: of the PNG.
        data: the images.
        mistakes: all that there are, see `find_mistakes`.
        score_threshold: the one that they were found with.
    """
    if not mistakes:
        text = f"No mistakes: every object is found,\nand nothing else has a score of {score_threshold:g}."
        with new_figure(path, (11, 3), LARGE_TEXT) as figure:
            figure.text(0.5, 0.5, text, ha="center", va="center")
        return
    counts = count_mistakes(mistakes)
    rank, shown = dict.fromkeys(counts, 0), shown_names(data.class_names)
    images, detections, truths, captions = [], [], [], []
    for mistake in worst_mistakes(mistakes, PER_KIND):
        rank[mistake.kind] += 1
        captions.append(_caption(mistake, rank[mistake.kind], counts[mistake.kind], shown))
        image, labels, _ = data[mistake.picture]
        detected = np.zeros((0, 6)) if mistake.detection is None else mistake.detection[None]
        true = labels if mistake.truth is None else mistake.truth[None]
        view = _view(image, detected[:, 2:] if mistake.truth is None else np.vstack((detected[:, 2:], true[:, 1:])))
        left, top, right, bottom = view
        images.append(image[top:bottom, left:right])
        detections.append(_seen_in(view, image, detected))
        truths.append(_seen_in(view, image, true))
    save_detection_grid(
        path, images, detections, data.class_names, truths, captions, columns=PER_KIND, threshold=score_threshold
    )


def _draw_curve(axes: Axes, curve: PrecisionRecall, name: str, look: int) -> None:
    """One class, and its line of the legend; without objects that line alone."""
    name, color, dashes = in_legend(name), class_color(look), DASHES[look // len(BOX_COLORS)]
    # A dark edge: the yellow that the colour-blind can tell from the rest is too pale for a white page.
    line = {"color": color, "linewidth": 3.5, "path_effects": [withStroke(linewidth=5, foreground="0.25")]}
    if not curve.num_objects:
        axes.plot([], [], label=f"{name}: no objects", linestyle=dashes, **line)
        return
    recall, best = np.append(0, curve.recall), best_precision(curve)
    best = np.append(best.max(initial=0), best)  # from recall 0 on
    words = f"{name}: AP {voc12_average_precision(curve):.3f}, {curve.num_objects} objects"
    axes.plot(recall, best, label=words, linestyle=dashes, drawstyle="steps-pre", **line)
    shown = int((curve.scores >= SCORE_THRESHOLD).sum())
    if shown:
        at = curve.recall[shown - 1], curve.precision[shown - 1]
        axes.plot(*at, "o", color=color, markeredgecolor="black", markeredgewidth=1.5, zorder=4)


def _caption(mistake: Mistake, rank: int, count: int, class_names: Sequence[str]) -> str:
    """Return what is wrong, how bad it is among its kind, in which image, with its score and overlap."""
    what, where = f"{mistake.kind} {rank} of {count}", f"no. {mistake.picture}"
    if mistake.truth is not None and mistake.kind in ("wrong class", "missed"):
        what += f": {class_names[int(mistake.truth[0])]}"
    if mistake.detection is not None:
        where += f", {'only' if mistake.kind == 'missed' else 'score'} {mistake.detection[1]:.2f}"
    if mistake.iou:
        where += f", IoU {mistake.iou:.2f}"
    return f"{what}\n{where}"


def _view(image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom, in pixels, of the part of an image that shows some boxes."""
    height, width = image.shape[:2]
    corners = boxes.clip(0, 1) * [width, height, width, height]
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    side = max(CONTEXT * (high - low).max(), SMALLEST_VIEW)
    size = np.minimum(np.round(side), (width, height)).astype(int)
    left, top = np.clip(np.round((low + high - size) / 2).astype(int), 0, (width, height) - size)
    return int(left), int(top), int(left + size[0]), int(top + size[1])


def _seen_in(
    view: tuple[int, int, int, int], image: NDArray[np.uint8], rows: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return labels or detections, whose last four columns are corners, with corners as fractions of a view."""
    left, top, right, bottom = view
    height, width = image.shape[:2]
    seen = rows.astype(np.float64)
    seen[:, -4:] = (seen[:, -4:] * [width, height, width, height] - [left, top] * 2) / (
        [right - left, bottom - top] * 2
    )
    return seen
