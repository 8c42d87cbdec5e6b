"""The network in one figure, drawn from a `ModelConfig`: blocks, feature maps, anchors, shapes of the outputs."""

from __future__ import annotations

import os
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import FancyBboxPatch, Rectangle

from ssd_common.anchors import multibox_prior
from ssd_common.config import BASE_CHANNELS, BLOCK_CHANNELS, ModelConfig
from ssd_common.figures.canvas import new_figure

WIDTH = 14.0  # inches, of 100 pixels; a page shows it at about half of this
ROW = 1.75  # inches that a block is high
HEADER = 0.75
BLOCK_COLORS = {"image": "#FFFFFF", "base": "#56B4E9", "down": "#E69F00", "pool": "#009E73", "outputs": "#F0E442"}
ANCHOR_COLORS = ("#0072B2", "#D55E00", "#CC79A7", "black")
TEXT, SMALL = 21, 18  # points
COLUMNS = {"block": 1.75, "map": 4.75, "anchors": 7.65, "predictions": 11.6}
"""The middle of each column, in inches."""
MOST_LINES = 64  # of a map; more would be a grey square


def save_architecture(path: str | os.PathLike[str], model_config: ModelConfig) -> None:
    """Write a figure of the network: each block with its feature map, its anchors and its predictions, from above.

    Maps are drawn smaller the fewer units they have, though not to scale. The anchors are those of one unit, in the
    right size on the image. Channels are those of `TinySSD`.

    Args:
        path: of the PNG.
        model_config: the model; its anchors say how many blocks there are.
    """
    maps = model_config.feature_map_sizes
    rows = len(maps) + 2  # the image above, the outputs below
    height = HEADER + ROW * rows
    with new_figure(path, (WIDTH, height)) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.axis("off")
        for column, words in (
            ("block", "block"),
            ("map", "feature map"),
            ("anchors", "anchors of a unit"),
            ("predictions", "predictions"),
        ):
            axes.text(COLUMNS[column], HEADER / 2, words, ha="center", va="center", fontsize=TEXT, weight="bold")
        size = model_config.image_size
        _block(axes, 0, "image", "image", f"3 × {size} × {size}")
        for i, units in enumerate(maps):
            _row(axes, i, units, model_config)
        _outputs(axes, len(maps) + 1, model_config)


def _row(axes: Axes, i: int, units: int, model_config: ModelConfig) -> None:
    """Draw a block, its map, its anchors and what it predicts."""
    last = len(model_config.feature_map_sizes) - 1
    kind = "base" if i == 0 else "pool" if i == last else "down"
    words = {"base": "base network", "down": "downsampling", "pool": "global max pooling"}[kind]
    _block(axes, i + 1, kind, f"{i}: {words}", f"{len(BASE_CHANNELS)} × downsampling" if kind == "base" else "")
    y = HEADER + ROW * (i + 1.5)
    channels = BASE_CHANNELS[-1] if i == 0 else BLOCK_CHANNELS
    _map(axes, y, units, f"{channels} × {units} × {units}", BLOCK_COLORS[kind])
    _anchors(axes, y, i, units, model_config)
    per_unit, classes = model_config.anchors.per_unit(i), model_config.num_classes + 1
    lines = (
        f"classes: {per_unit} · {classes} = {per_unit * classes} channels",
        f"offsets: {per_unit} · 4 = {per_unit * 4} channels",
        f"{units} · {units} · {per_unit} = {units * units * per_unit:,} anchors",
    )
    for number, line in enumerate(lines):
        place = (COLUMNS["predictions"], y + 0.42 * (number - 1))
        axes.text(*place, line, ha="center", va="center", fontsize=SMALL, weight="bold" if number == 2 else "normal")


def _block(axes: Axes, row: int, kind: str, words: str, below: str) -> None:
    """Draw the box of a block, and the arrow to it from the one above."""
    top = HEADER + ROW * row
    box = FancyBboxPatch(
        (0.3, top + 0.35), 2.9, ROW - 0.7, "round,pad=0,rounding_size=0.15", facecolor=BLOCK_COLORS[kind]
    )
    axes.add_patch(box)
    text = f"{words}\n{below}" if below else words
    axes.text(COLUMNS["block"], top + ROW / 2, text, ha="center", va="center", fontsize=SMALL)
    if row:
        _arrow(axes, (COLUMNS["block"], top - 0.35), (COLUMNS["block"], top + 0.35))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 2.5})


def _map(axes: Axes, y: float, units: int, shape: str, color: str) -> None:
    """Draw a feature map as a square of units, and its shape under it."""
    side = (ROW - 0.65) * (0.22 + 0.78 * min(1.0, np.log2(units) / 5))
    left, top = COLUMNS["map"] - side / 2, y - 0.2 - side / 2
    _arrow(axes, (3.2, y - 0.2), (left - 0.05, y - 0.2))
    axes.add_patch(Rectangle((left, top), side, side, facecolor=color, edgecolor="black", linewidth=1.5))
    step = side / min(units, MOST_LINES)
    at = np.arange(1, min(units, MOST_LINES)) * step
    lines = [[(left + d, top), (left + d, top + side)] for d in at] + [
        [(left, top + d), (left + side, top + d)] for d in at
    ]
    axes.add_collection(
        LineCollection(lines, colors="black", linewidths=0.3 if units > 16 else 0.5 if units > 8 else 1)
    )
    axes.text(COLUMNS["map"], y + 0.66, shape, ha="center", va="center", fontsize=SMALL)


def _anchors(axes: Axes, y: float, i: int, units: int, model_config: ModelConfig) -> None:
    """Draw the image as a square, and on it the anchors of the unit in its middle."""
    side = ROW - 0.55
    left, top = COLUMNS["anchors"] - side / 2, y - side / 2
    axes.add_patch(Rectangle((left, top), side, side, facecolor="#eeeeee", edgecolor="#888888", linewidth=1.5))
    corners = multibox_prior(np.empty((1, 1)), model_config.anchors.sizes[i], model_config.anchors.ratios[i])[0]
    for box, color in zip(corners * side + np.tile([left, top], 2), cycle(ANCHOR_COLORS), strict=False):
        axes.add_patch(Rectangle(box[:2], *(box[2:] - box[:2]), fill=False, edgecolor=color, linewidth=2.2))
    if units > 1:
        unit = side / units
        axes.add_patch(Rectangle((left + (side - unit) / 2, top + (side - unit) / 2), unit, unit, facecolor="black"))


def _outputs(axes: Axes, row: int, model_config: ModelConfig) -> None:
    """Draw what the network returns, below the blocks."""
    top = HEADER + ROW * row + 0.3
    number, columns = model_config.num_anchors, model_config.num_classes + 1
    box = FancyBboxPatch(
        (3.75, top), WIDTH - 4.05, ROW - 0.5, "round,pad=0,rounding_size=0.15", facecolor=BLOCK_COLORS["outputs"]
    )
    axes.add_patch(box)
    axes.text(
        (WIDTH + 3.45) / 2,
        top + ROW / 2 - 0.25,
        f"concatenated, for a batch of n images: anchors 1 × {number:,} × 4\n"
        f"class predictions n × {number:,} × {columns}\n"
        f"offset predictions n × {number * 4:,}",
        ha="center",
        va="center",
        fontsize=SMALL,
    )
    _arrow(axes, (COLUMNS["predictions"], top - 0.35), (COLUMNS["predictions"], top))
