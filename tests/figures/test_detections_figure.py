"""Boxes on axes and anchors lie where they should; figures can be read, and are the same every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ssd_common.figures import curves
from ssd_common.figures.detections import save_anchor_plot, save_detection_grid, show_bboxes
from tests.figures.pixels import GREY, ORANGE, grey, is_color, pixels_of


def epoch(number: int, **values: float | None) -> dict[str, float | None]:
    return {"epoch": float(number), "loss": 1 / number, "class_error": 0.01 / number, "val_ap": 0.1, **values}


# --- show_bboxes ---


def rendered(bboxes: object, **options: object) -> np.ndarray:
    """A figure whose pixels are those of a grey 200×200 image, with boxes."""
    figure = Figure(figsize=(2, 2), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(grey(200, 200), extent=(0, 200, 200, 0))
    axes.axis("off")
    show_bboxes(axes, bboxes, **options)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 200), (200, 0)), "boxes do not move the image"
    return pixels_of(figure)


def test_show_bboxes_draws_at_the_coordinates_of_the_picture() -> None:
    pixels = rendered([[40, 60, 140, 160]])
    on_line = is_color(pixels, ORANGE)
    assert on_line[60, 41:139].all()
    assert on_line[159, 41:139].all()
    assert on_line[61:159, 40].all()
    assert on_line[61:159, 139].all()
    np.testing.assert_array_equal(pixels[65:155, 45:135], GREY)
    np.testing.assert_array_equal(pixels[:55], GREY)


def test_a_box_beyond_the_picture_does_not_move_the_picture() -> None:
    pixels = rendered([[-50, 60, 400, 300]], labels="far")
    assert is_color(pixels[60], ORANGE).all()
    np.testing.assert_array_equal(pixels[65:], GREY)


def test_show_bboxes_takes_the_label_and_the_colour_of_the_chapter() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.imshow(grey())
    show_bboxes(axes, [np.array([10, 20, 90, 80])], "0.92", "w")
    (text,) = axes.texts
    assert (text.get_text(), text.get_color()) == ("0.92", "black")
    np.testing.assert_array_equal(axes.collections[0].get_edgecolor(), [[1, 1, 1, 1]])


def test_colours_repeat_and_labels_may_run_out() -> None:
    axes = Figure().subplots()
    axes.imshow(grey())
    show_bboxes(axes, np.ones((5, 4)) * [0, 0, 9, 9], ["a", "b", "c"], ["r", "b"])
    assert [text.get_bbox_patch().get_facecolor()[0] for text in axes.texts] == [1, 0, 1]


@pytest.mark.backend("torch")
def test_show_bboxes_takes_a_torch_tensor() -> None:
    import torch

    boxes = [[40.0, 60.0, 140.0, 160.0]]
    np.testing.assert_array_equal(rendered(torch.tensor(boxes)), rendered(boxes))


@pytest.mark.backend("mxnet")
def test_show_bboxes_takes_an_mxnet_array() -> None:
    import mxnet as mx

    boxes = [[40.0, 60.0, 140.0, 160.0]]
    np.testing.assert_array_equal(rendered(mx.np.array(boxes)), rendered(boxes))


# --- save_anchor_plot ---


def test_anchors_beyond_the_picture_are_in_the_plot(tmp_path: Path, figures: list[Figure]) -> None:
    save_anchor_plot(tmp_path / "anchors.png", grey(100, 200), [[-0.1, 0.2, 0.5, 1.3], [0, 0, 1, 1]], "two")
    axes = figures[0].axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left <= -20
    assert right >= 200
    assert bottom >= 130
    assert top <= 0
    corners = [path.get_extents().extents for path in axes.collections[0].get_paths()]
    np.testing.assert_allclose(corners, [[-20, 20, 100, 130], [0, 0, 200, 100]])


@pytest.mark.parametrize("count", [0, 5444])
def test_any_number_of_anchors_can_be_plotted(tmp_path: Path, count: int) -> None:
    corners = np.random.default_rng(0).uniform(size=(count, 2))
    save_anchor_plot(tmp_path / "anchors.png", grey(), np.hstack([corners, corners + 0.1]), "all")
    with Image.open(tmp_path / "anchors.png") as picture:
        picture.load()
        assert (picture.format, picture.size[0]) == ("PNG", 800)


# --- all figures ---


def test_no_text_of_a_figure_is_smaller_than_a_lecture_hall_can_read(tmp_path: Path, figures: list[Figure]) -> None:
    curves.save_training_curves(tmp_path / "a.png", {"torch": [epoch(1)]}, {"class_error": 0.1}, title="t")
    save_detection_grid(
        tmp_path / "b.png", [grey()], [[[0, 0.9, 0.1, 0.1, 0.5, 0.5]]], ["cat"], truths=[[]], titles=["t"]
    )
    save_anchor_plot(tmp_path / "c.png", grey(), [[0.1, 0.1, 0.5, 0.5]], "t")
    texts = [text for figure in figures for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert len(texts) > 15
    assert min(text.get_fontsize() for text in texts) >= 12


def test_a_figure_is_the_same_bytes_whatever_the_callers_settings(tmp_path: Path) -> None:
    arguments = {"torch": [epoch(1), epoch(2)]}, {"class_error": 0.1}
    curves.save_training_curves(tmp_path / "one.png", *arguments)
    with matplotlib.rc_context({"lines.linewidth": 9, "figure.facecolor": "red", "font.size": 30, "savefig.dpi": 30}):
        curves.save_training_curves(tmp_path / "two.png", *arguments)
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert "Software" not in picture.info


def test_plotting_never_imports_pyplot() -> None:
    code = "import sys, ssd_common.figures.detections; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
