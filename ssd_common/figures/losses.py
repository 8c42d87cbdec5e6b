"""Curves of losses and of their gradients, for the notebooks."""

from __future__ import annotations

import os
from collections.abc import Mapping

from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from ssd_common.drawing import class_color
from ssd_common.figures.canvas import DASHES, LARGE_TEXT, new_figure


def save_loss_curves(
    path: str | os.PathLike[str],
    x: ArrayLike,
    losses: Mapping[str, ArrayLike],
    gradients: Mapping[str, ArrayLike],
    xlabel: str,
) -> None:
    """Write two panels side by side: the value of each loss, and its gradient, in the same colour and dashes.

    Args:
        path: of the PNG.
        x: `(n,)`.
        losses: `(n,)` values of each loss by its name in the legend; up to four look different without colours.
        gradients: `(n,)` by the same names.
        xlabel: what x is.
    """
    with new_figure(path, (14, 6), LARGE_TEXT) as figure:
        for axes, curves, title in zip(figure.subplots(1, 2), (losses, gradients), ("loss", "gradient"), strict=True):
            axes.set(title=title, xlabel=xlabel)
            axes.grid(alpha=0.3)
            for look, (name, values) in enumerate(curves.items()):
                edge = [withStroke(linewidth=5, foreground="0.25")]  # for the yellow, which is pale on white
                line = {"color": class_color(look), "linestyle": DASHES[look % len(DASHES)], "linewidth": 3.5}
                axes.plot(x, values, label=name, path_effects=edge, **line)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=3)
