"""Curves are those of the rows; the differences are the right ones, and zero is shown as zero."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ssd_common.errors import InputError
from ssd_common.figures import curves

QUANTITIES = ("loss", "class_error", "val_class_error", "bbox_mae", "val_bbox_mae", "val_ap50", "val_ap")
PANELS = [1, 2, 2, 2]  # of the quantities above, how many each panel shows


def training(*shifts: float) -> list[dict[str, float | None]]:
    """Epoch rows: the n-th quantity is n, moved by the shift of its epoch."""
    return [
        {"epoch": float(epoch), **{key: n + shift for n, key in enumerate(QUANTITIES, 1)}}
        for epoch, shift in enumerate(shifts, 1)
    ]


def epoch(number: int, **values: float | None) -> dict[str, float | None]:
    return {"epoch": float(number), "loss": 1 / number, "class_error": 0.01 / number, "val_ap": 0.1, **values}


def data_lines(axes: Axes) -> list[matplotlib.lines.Line2D]:
    """The lines that have markers: those of measurements."""
    return [line for line in axes.lines if line.get_marker() != "None"]


def ticks(axes: Axes) -> list[str]:
    FigureCanvasAgg(axes.figure).draw()
    return [label.get_text() for label in axes.get_yticklabels()]


# --- save_training_curves ---


def test_training_curves_are_a_picture_of_the_promised_size(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "results.png"
    curves.save_training_curves(path, {"torch": [epoch(1)]}, title="$ of a title")
    with Image.open(path) as picture:
        picture.load()
        assert (picture.format, picture.size) == ("PNG", (1400, 1000))


def test_training_curves_of_both_backends_differ_in_more_than_colour(tmp_path: Path, figures: list[Figure]) -> None:
    results = {backend: [epoch(number) for number in range(1, 6)] for backend in ("torch", "mxnet")}
    curves.save_training_curves(tmp_path / "results.png", results)
    torch, mxnet = figures[0].axes[0].lines
    assert (torch.get_label(), mxnet.get_label()) == ("torch, training", "mxnet, training")
    assert torch.get_linestyle() != mxnet.get_linestyle()
    assert torch.get_marker() != mxnet.get_marker()
    np.testing.assert_array_equal(torch.get_xydata(), [[n, 1 / n] for n in range(1, 6)])


@pytest.mark.parametrize("epochs", [1, 2, 7, 200])
def test_epochs_are_counted_in_whole_numbers(tmp_path: Path, figures: list[Figure], epochs: int) -> None:
    results = {"torch": [epoch(number + 1) for number in range(epochs)]}
    curves.save_training_curves(tmp_path / "results.png", results)
    for axes in figures[0].axes:
        ticks = axes.get_xticks()
        assert len(ticks) >= 1
        np.testing.assert_array_equal(ticks, np.round(ticks))


def test_a_missing_or_infinite_value_is_a_gap(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [epoch(1, loss=2.0), epoch(2, loss=None), epoch(3, loss=float("inf")), epoch(4, loss=1.0), {"epoch": 5.0}]
    curves.save_training_curves(tmp_path / "results.png", {"torch": rows})
    np.testing.assert_array_equal(figures[0].axes[0].lines[0].get_ydata(), [2, np.nan, np.nan, 1, np.nan])


def test_a_first_epoch_far_above_the_others_does_not_press_them_flat(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [epoch(1, class_error=0.26), epoch(2, class_error=0.05), epoch(3, class_error=0.04)]
    baselines = {"class_error": 0.06}
    curves.save_training_curves(tmp_path / "all.png", {"torch": rows}, baselines)
    curves.save_training_curves(tmp_path / "first.png", {"torch": rows[:1]}, baselines)
    cut, whole = (figure.axes[1] for figure in figures)
    assert cut.get_ylim() == pytest.approx((0, 0.075))
    assert [text.get_text().strip() for text in cut.texts] == ["↑ 0.26"]
    assert whole.get_ylim()[1] > 0.26
    assert not whole.texts


@pytest.mark.parametrize("results", [{}, {"torch": []}, {"torch": [{"epoch": 1.0}]}])
def test_a_training_that_was_not_measured_is_said(tmp_path: Path, figures: list[Figure], results: dict) -> None:
    curves.save_training_curves(tmp_path / "results.png", results)
    assert [axes.texts[0].get_text() for axes in figures[0].axes] == ["not measured"] * 4


def test_the_trivial_baselines_are_dotted_lines_in_the_panel_of_their_quantity(
    tmp_path: Path, figures: list[Figure]
) -> None:
    baselines = {"class_error": 0.0048, "bbox_mae": 0.0052}
    curves.save_training_curves(tmp_path / "results.png", {"torch": [epoch(1), epoch(2)]}, baselines)
    dotted = {
        axes.get_title(): (line.get_label(), line.get_ydata()[0])
        for axes in figures[0].axes
        for line in axes.lines
        if line.get_linestyle() == ":"
    }
    assert dotted == {
        "Class error": ("trivial: all background, training", 0.0048),
        "Box mean absolute error": ("trivial: zero offsets, training", 0.0052),
    }


# --- save_curve_differences ---


def test_every_quantity_of_the_training_curves_has_its_difference(tmp_path: Path, figures: list[Figure]) -> None:
    results = {"torch": training(0, 0, 0), "mxnet": training(0.25, -0.5, 2)}
    curves.save_curve_differences(tmp_path / "differences.png", results)
    assert [axes.get_title() for axes in figures[0].axes] == [panel for panel, _ in curves.CURVE_PANELS]
    assert [len(data_lines(axes)) for axes in figures[0].axes] == PANELS
    for line in (line for axes in figures[0].axes for line in data_lines(axes)):
        np.testing.assert_array_equal(line.get_xydata(), [[1, 0.25], [2, 0.5], [3, 2]])
    assert {axes.get_ylabel() for axes in figures[0].axes} == {"|torch – mxnet|"}


def test_a_difference_of_zero_is_drawn_at_a_zero_inside_the_axes(tmp_path: Path, figures: list[Figure]) -> None:
    results = {"torch": training(0, 0, 0), "mxnet": training(0, 2.0**-20, 0.25)}
    curves.save_curve_differences(tmp_path / "differences.png", results)
    for axes in figures[0].axes:
        bottom, top = axes.get_ylim()
        assert bottom < 0 < 2.0**-20 < 0.25 < top
        heights = axes.transAxes.inverted().transform(axes.transData.transform([[1, 0], [1, 2.0**-20], [1, 0.25]]))[
            :, 1
        ]
        assert heights[0] > 0.05, "a marker on zero is seen whole"
        assert np.diff(heights).min() > 0.05
        assert ticks(axes)[:3] == ["0", "1e-7", "1e-6"]
        assert "0: equal to the last bit" in [text.get_text() for text in axes.texts]


def test_above_its_smallest_decade_the_axis_is_logarithmic(tmp_path: Path, figures: list[Figure]) -> None:
    results = {"torch": training(0, 0), "mxnet": training(2.0**-20, 0.25)}
    curves.save_curve_differences(tmp_path / "differences.png", results)
    for axes in figures[0].axes:
        decades = axes.transData.transform([[1, 10.0**exponent] for exponent in range(-7, 1)])[:, 1]
        np.testing.assert_allclose(np.diff(decades), np.diff(decades)[0])
        assert list(axes.texts) == [], "nothing is equal here"


def test_two_trainings_that_are_equal_everywhere_lie_on_zero(tmp_path: Path, figures: list[Figure]) -> None:
    curves.save_curve_differences(tmp_path / "d.png", {"torch": training(0, 0), "mxnet": training(0, 0)})
    for axes in figures[0].axes:
        assert [set(line.get_ydata()) for line in data_lines(axes)] == [{0.0}] * len(data_lines(axes))
        assert ticks(axes)[0] == "0"


def test_one_epoch_is_a_marker_in_the_middle(tmp_path: Path, figures: list[Figure]) -> None:
    curves.save_curve_differences(tmp_path / "d.png", {"torch": training(0), "mxnet": training(0.5)})
    for axes in figures[0].axes:
        assert axes.get_xlim() == (0.5, 1.5)
        assert 1 in axes.get_xticks()
        assert len(data_lines(axes)) in (1, 2)


def test_the_two_curves_of_a_panel_differ_in_more_than_colour(tmp_path: Path, figures: list[Figure]) -> None:
    curves.save_curve_differences(tmp_path / "d.png", {"torch": training(0), "mxnet": training(0.5)})
    first, second = data_lines(figures[0].axes[1])
    assert (first.get_label(), second.get_label()) == ("training", "validation")
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    brightness = [np.mean(to_rgb(line.get_color())) for line in (first, second)]
    assert brightness[0] - brightness[1] > 0.3, "in grey too"


def test_what_one_backend_has_not_measured_is_a_gap(tmp_path: Path, figures: list[Figure]) -> None:
    torch, mxnet = training(0, 0, 0, 0), training(0.5, 0.5, 0.5)
    torch[0]["loss"], mxnet[1]["loss"] = None, "Infinity"
    del torch[2]["val_ap"]
    curves.save_curve_differences(tmp_path / "d.png", {"torch": torch, "mxnet": mxnet})
    loss, val_ap = data_lines(figures[0].axes[0])[0], data_lines(figures[0].axes[3])[1]
    np.testing.assert_array_equal(loss.get_xydata(), [[1, np.nan], [2, np.nan], [3, 0.5], [4, np.nan]])
    np.testing.assert_array_equal(val_ap.get_ydata(), [0.5, 0.5, np.nan, np.nan])


@pytest.mark.parametrize("rows", [[], [{"epoch": 1.0}], [{"epoch": 1.0, "loss": float("nan")}]])
def test_what_was_not_measured_is_said(tmp_path: Path, figures: list[Figure], rows: list) -> None:
    curves.save_curve_differences(tmp_path / "d.png", {"torch": rows, "mxnet": training(0)})
    assert [axes.texts[0].get_text() for axes in figures[0].axes] == ["not measured"] * 4
    assert [list(axes.get_yticks()) for axes in figures[0].axes] == [[]] * 4


def test_a_difference_needs_two_backends(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"two backends, not of 1 \(torch\)"):
        curves.save_curve_differences(tmp_path / "d.png", {"torch": training(0)})
    with pytest.raises(InputError, match=r"two backends, not of 0 \(none\)"):
        curves.save_step_losses(tmp_path / "d.png", {}, 1e-9)


# --- save_step_losses ---


def test_step_losses_are_above_their_differences_and_the_tolerance(tmp_path: Path, figures: list[Figure]) -> None:
    losses = {"torch": [2.0, 1.0, "NaN", 0.5], "mxnet": [2.0, 1.25, 1.0, 0.25]}
    curves.save_step_losses(tmp_path / "steps.png", losses, 1e-3)
    upper, lower = figures[0].axes
    assert {line.get_label(): line.get_ydata().tolist() for line in upper.lines}["mxnet"] == losses["mxnet"]
    np.testing.assert_array_equal(upper.lines[0].get_xydata(), [[1, 2], [2, 1], [3, np.nan], [4, 0.5]])
    (difference,) = data_lines(lower)
    np.testing.assert_array_equal(difference.get_xydata(), [[1, 0], [2, 0.25], [3, np.nan], [4, 0.25]])
    (tolerance,) = [line for line in lower.lines if line.get_linestyle() == ":"]
    assert set(tolerance.get_ydata()) == {1e-3}
    assert tolerance.get_label() == "tolerance 1e-3"


@pytest.mark.parametrize(("tolerance", "label"), [(1e-9, "1e-9"), (2.5e-2, "2.5e-2"), (0.0, "0"), (20.0, "20")])
@pytest.mark.parametrize("shift", [0.0, 2.0**-20, 0.5])
def test_the_tolerance_is_in_view_wherever_it_lies(
    tmp_path: Path, figures: list[Figure], tolerance: float, label: str, shift: float
) -> None:
    curves.save_step_losses(tmp_path / "steps.png", {"torch": [2.0], "mxnet": [2.0 + shift]}, tolerance)
    lower = figures[0].axes[1]
    bottom, top = lower.get_ylim()
    for value in (tolerance, shift):
        assert bottom < value < top
    assert f"tolerance {label}" in [text.get_text() for text in lower.get_legend().get_texts()]


@pytest.mark.parametrize("steps", [1, 20, 400])
def test_steps_are_counted_in_whole_numbers_from_one(tmp_path: Path, figures: list[Figure], steps: int) -> None:
    losses = {"torch": [1.0] * steps, "mxnet": [1.5] * steps}
    curves.save_step_losses(tmp_path / "steps.png", losses, 1e-9)
    for axes in figures[0].axes:
        assert axes.get_xlim() == (0.5, steps + 0.5)
        np.testing.assert_array_equal(axes.get_xticks(), np.round(axes.get_xticks()))


@pytest.mark.parametrize("losses", [{"torch": [], "mxnet": []}, {"torch": [1.0, 2.0], "mxnet": [1.0]}])
def test_losses_of_other_steps_are_refused(tmp_path: Path, losses: dict[str, list[float]]) -> None:
    with pytest.raises(InputError, match="compare the same steps"):
        curves.save_step_losses(tmp_path / "steps.png", losses, 1e-9)
    assert list(tmp_path.iterdir()) == []


# --- both ---


def test_no_text_is_smaller_than_a_lecture_hall_can_read(tmp_path: Path, figures: list[Figure]) -> None:
    curves.save_curve_differences(tmp_path / "a.png", {"torch": training(0), "mxnet": training(0)}, "title")
    curves.save_step_losses(tmp_path / "b.png", {"torch": [1.0], "mxnet": [1.5]}, 1e-9, "title")
    texts = [text for figure in figures for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert len(texts) > 15
    assert min(text.get_fontsize() for text in texts) >= 12


def test_a_figure_is_the_same_bytes_whatever_the_callers_settings(tmp_path: Path) -> None:
    def draw(name: str) -> bytes:
        curves.save_curve_differences(tmp_path / name, {"torch": training(0, 0), "mxnet": training(0, 0.25)}, "$ title")
        curves.save_step_losses(tmp_path / f"steps {name}", {"torch": [1.0], "mxnet": [1.5]}, 1e-9, "title")
        return (tmp_path / name).read_bytes() + (tmp_path / f"steps {name}").read_bytes()

    first = draw("one.png")
    with matplotlib.rc_context({"lines.linewidth": 9, "figure.facecolor": "red", "font.size": 30, "savefig.dpi": 30}):
        assert draw("two.png") == first
    for name in ("one.png", "steps one.png"):
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.size) == ("PNG", (1400, 1000))


# --- save_curves_by_start


def test_a_start_has_a_colour_and_a_backend_a_line(tmp_path: Path, figures: list[Figure]) -> None:
    both = {"torch": [3.0, 2.0], "mxnet": [3.0, 2.1]}
    curves.save_curves_by_start(tmp_path / "a.png", {"Xavier": both, "default": both}, "bbox MAE", baseline=1.0)
    (axes,) = figures[0].axes
    first, second, third, _, trivial = axes.lines
    assert [line.get_label() for line in axes.lines][:3] == ["Xavier, torch", "Xavier, mxnet", "default, torch"]
    assert first.get_color() == second.get_color() != third.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_linewidth() > 2 * second.get_linewidth(), "it shows around the other"
    np.testing.assert_array_equal(second.get_xydata(), [[1, 3], [2, 2.1]])
    np.testing.assert_array_equal(trivial.get_ydata(), [1, 1])
    with pytest.raises(InputError, match="two backends"):
        curves.save_curves_by_start(tmp_path / "b.png", {"Xavier": {"torch": [1.0]}}, "bbox MAE")
