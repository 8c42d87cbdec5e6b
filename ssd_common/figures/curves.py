"""Training curves, and how far two backends are apart: after every epoch, and after every step of the ladder's.

What else may set two training runs apart is drawn beside it: the weights that they start from.

Differences are on a logarithmic axis that ends in a real zero: two numbers that are equal to the last bit are drawn
there, on a line of their own, and are not left out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ssd_common.errors import InputError
from ssd_common.figures.canvas import new_figure

# Two backends that agree draw the same curve twice: the first is wide, so that it shows around the second.
LINE_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#56B4E9", "linestyle": "-", "marker": "o", "linewidth": 5, "markersize": 11, "markeredgewidth": 2},
    {"color": "#D55E00", "linestyle": "--", "marker": "s", "linewidth": 2, "markersize": 6, "markeredgewidth": 2},
)
# Title of a panel, then (key in results.csv, words) of each backend's curves.
CURVE_PANELS = (
    ("Loss", (("loss", "training"),)),
    ("Class error", (("class_error", "training"), ("val_class_error", "validation"))),
    ("Box mean absolute error", (("bbox_mae", "training"), ("val_bbox_mae", "validation"))),
    ("Average precision on validation", (("val_ap50", "AP50"), ("val_ap", "AP"))),
)
BASELINE_WORDS = {
    "class_error": "all background, training",
    "val_class_error": "all background, validation",
    "bbox_mae": "zero offsets, training",
    "val_bbox_mae": "zero offsets, validation",
}

# No backend's colours: a difference belongs to both.
DIFFERENCE_STYLES = (
    {"color": "#0072B2", "linestyle": "-", "marker": "o", "linewidth": 4, "markersize": 13},
    {"color": "black", "linestyle": "--", "marker": "D", "linewidth": 2, "markersize": 7, "markerfacecolor": "white"},
)

START_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
# As above; the first is pale as well.
START_LINES: tuple[dict[str, Any], ...] = (
    {"linestyle": "-", "linewidth": 11, "alpha": 0.4},
    {"linestyle": "--", "linewidth": 2.5, "marker": "s", "markersize": 7},
)


def save_training_curves(
    path: str | os.PathLike[str],
    results: Mapping[str, Sequence[Mapping[str, float | None]]],
    baselines: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    """Write the training curves of all backends in one figure: loss, class error, box error, average precision.

    Args:
        path: of the PNG.
        results: for each backend its epoch rows, with the keys of results.csv. A value may be missing or None.
        baselines: the errors of predicting background and zero offsets everywhere, under the keys of an epoch row. Each
            is a dotted line in the panel of its key.
        title: above the panels.
    """
    epochs = [float(row["epoch"] or 0) for rows in results.values() for row in rows] or [1.0]
    baselines = baselines or {}
    with new_figure(path, (14, 10)) as figure:
        figure.suptitle(title, fontsize=17)
        for axes, (panel, curves) in zip(figure.subplots(2, 2).ravel(), CURVE_PANELS, strict=True):
            axes.set_title(panel)
            _count(axes, "epoch", epochs)
            for number, (backend, rows) in enumerate(results.items()):
                for which, (key, words) in enumerate(curves):
                    _draw_curve(axes, rows, key, f"{backend}, {words}", number, hollow=which > 0)
            for key in (key for key, _ in curves if key in baselines):
                words = f"trivial: {BASELINE_WORDS.get(key, key)}"
                width = 2.5 if key == curves[0][0] else 1.2  # thin for validation, as the curves
                axes.axhline(baselines[key], color="black", linestyle=":", linewidth=width, label=words)
            if _is_empty(axes):
                continue
            if "val_ap" in dict(curves):
                axes.set_ylim(0, 1.02)
            else:
                _set_top(axes, sorted(set(epochs)))
            axes.legend(handlelength=3.5)


def save_curve_differences(
    path: str | os.PathLike[str], results: Mapping[str, Sequence[Mapping[str, float | str | None]]], title: str = ""
) -> None:
    """Write how far the training curves of two backends are apart, in the panels of the training curves.

    Args:
        path: of the PNG.
        results: for each of two backends its epoch rows, with the keys of results.csv. A value may be missing or None;
            where either backend has no finite one, or no such epoch, there is a gap.
        title: above the panels.

    Raises:
        InputError: there are not two backends.
    """
    first, second = _pair(results)
    rows = [{_number(row["epoch"]): row for row in results[backend]} for backend in (first, second)]
    epochs = sorted(set(rows[0]) | set(rows[1])) or [1.0]
    with new_figure(path, (14, 10)) as figure:
        figure.suptitle(title, fontsize=17)
        for axes, (panel, curves) in zip(figure.subplots(2, 2).ravel(), CURVE_PANELS, strict=True):
            axes.set(title=panel, ylabel=f"|{first} – {second}|")
            _count(axes, "epoch", epochs)
            for line, (key, words) in zip(DIFFERENCE_STYLES, curves, strict=False):
                one, other = ([_number(of_epoch.get(epoch, {}).get(key)) for epoch in epochs] for of_epoch in rows)
                differences = np.abs(np.subtract(one, other))
                if not np.isnan(differences).all():
                    axes.plot(epochs, differences, label=words, markevery=math.ceil(len(epochs) / 20), **line)
            _log_axis_with_zero(axes)


def save_step_losses(
    path: str | os.PathLike[str], losses: Mapping[str, Sequence[float | str]], tolerance: float, title: str = ""
) -> None:
    """Write the loss of two backends at every step, and below it how far the two are apart.

    Args:
        path: of the PNG.
        losses: for each of two backends the mean loss of every step; one that is not finite is a gap.
        tolerance: the largest difference that passes, a dotted line.
        title: above the panels.

    Raises:
        InputError: there are not two backends, or they took different numbers of steps.
    """
    first, second = _pair(losses)
    counts = [len(losses[backend]) for backend in (first, second)]
    if counts[0] != counts[1] or not counts[0]:
        raise InputError(f"losses of {counts[0]} steps of {first} and {counts[1]} of {second}: compare the same steps")
    steps, often = range(1, counts[0] + 1), math.ceil(counts[0] / 20)
    curves = [np.array([_number(loss) for loss in losses[backend]]) for backend in (first, second)]
    with new_figure(path, (14, 10)) as figure:
        figure.suptitle(title, fontsize=17)
        upper, lower = figure.subplots(2, 1)
        upper.set(title="Loss", ylabel="mean loss of a step")
        for line, backend, curve in zip(LINE_STYLES, (first, second), curves, strict=True):
            upper.plot(steps, curve, label=backend, markevery=often, **line)
        lower.set(title="Difference of the losses", ylabel=f"|{first} – {second}|")
        lower.plot(steps, np.abs(curves[0] - curves[1]), label="difference", markevery=often, **DIFFERENCE_STYLES[0])
        label = f"tolerance {_short(tolerance)}"
        lower.axhline(tolerance, color="black", linestyle=":", linewidth=3, label=label)
        _log_axis_with_zero(lower)
        upper.legend(handlelength=3.5)
        for axes in (upper, lower):
            _count(axes, "step", steps)


def save_curves_by_start(
    path: str | os.PathLike[str],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    quantity: str,
    baseline: float | None = None,
) -> None:
    """Write one quantity of several training runs: a colour for each kind of initial weights, a line for each backend.

    Args:
        path: of the PNG.
        curves: for each kind of initial weights, for each of two backends, the quantity after every epoch.
        quantity: in words, for the axis.
        baseline: what a trivial prediction scores, a dotted line.

    Raises:
        InputError: there are not two backends.
    """
    longest = max((len(values) for of_start in curves.values() for values in of_start.values()), default=1)
    with new_figure(path, (11, 6.5)) as figure:
        axes = figure.subplots()
        axes.set(ylabel=quantity)
        _count(axes, "epoch", range(1, longest + 1))
        for (start, of_start), color in zip(curves.items(), START_COLORS, strict=False):
            for backend, line in zip(_pair(of_start), START_LINES, strict=True):
                values = of_start[backend]
                axes.plot(range(1, len(values) + 1), values, label=f"{start}, {backend}", color=color, **line)
        if baseline is not None:
            axes.axhline(baseline, color="black", linestyle=":", linewidth=2.5, label="trivial prediction")
        axes.legend(handlelength=4)


def _draw_curve(
    axes: Axes, rows: Sequence[Mapping[str, float | None]], key: str, label: str, number: int, hollow: bool
) -> None:
    """One quantity of one backend; what is missing or not finite is a gap."""
    values = np.array([_number(row.get(key)) for row in rows])
    if np.isnan(values).all():
        return
    line = dict(LINE_STYLES[number % len(LINE_STYLES)])
    if hollow:
        line.update(markerfacecolor="white", linewidth=line["linewidth"] * 0.6)
    axes.plot([row["epoch"] for row in rows], values, label=label, markevery=math.ceil(len(rows) / 20), **line)


def _set_top(axes: Axes, epochs: Sequence[float]) -> None:
    """End the axis above all curves; where the first epoch would press the others flat, above those, and say so."""
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines]
    later, highest = max(np.nanmax(values[1:], initial=0.0) for values in lines), axes.dataLim.ymax
    if len(epochs) > 1 and highest > 3 * later > 0:
        axes.set_ylim(0, 1.25 * later)
        axes.text(epochs[1], 1.24 * later, f"  ↑ {highest:.2g}", va="top")
    else:
        axes.set_ylim(0, 1.08 * highest or 1)


def _pair(results: Mapping[str, object]) -> tuple[str, str]:
    """The names of the two backends."""
    if len(results) != 2:
        raise InputError(
            f"a difference is that of two backends, not of {len(results)} ({', '.join(results) or 'none'})"
        )
    first, second = results
    return first, second


def _number(value: float | str | None) -> float:
    """A number that can be drawn, else NaN; a report's JSON has words for numbers that are not finite."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan


def _short(number: float) -> str:
    """A number in a few letters: "1e-9", "2.5e-2", "0", "10"."""
    return f"{number:g}" if number == 0 or number >= 1 else np.format_float_scientific(number, exp_digits=1, trim="-")


def _count(axes: Axes, what: str, numbers: Sequence[float]) -> None:
    """Let the horizontal axis count what there is, in whole numbers."""
    axes.set(xlabel=what, xlim=(min(numbers) - 0.5, max(numbers) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)


def _is_empty(axes: Axes) -> bool:
    """Whether there is nothing to draw; then the panel says so."""
    if not axes.lines:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
    return not axes.lines


def _log_axis_with_zero(axes: Axes) -> None:
    """Make the vertical axis logarithmic above the decade of the smallest number, and linear from there down to 0."""
    if _is_empty(axes):
        axes.set_yticks([])
        return
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    positive = values[values > 0]  # false for NaN
    low = math.floor(math.log10(positive.min())) if positive.size else -16
    high = max(low + 1, math.ceil(math.log10(positive.max()))) if positive.size else -15
    strip = (high - low) / 8  # decades, and so a like part of the height: above 0, below it, and for the legend
    axes.set_yscale("symlog", linthresh=10.0**low, linscale=strip)
    axes.set_ylim(-(10.0**low), 10.0 ** (high + 1.3 * strip))
    ticks = [0, *(10.0**exponent for exponent in range(low, high + 1, math.ceil((high - low) / 8)))]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.axhline(0, color="#606060", linewidth=1.5, zorder=0)
    if (values == 0).any():
        axes.text(0.99, 0.01, "0: equal to the last bit", transform=axes.transAxes, ha="right", va="bottom")
    axes.legend(loc="upper right", ncols=2, handlelength=3.5)
