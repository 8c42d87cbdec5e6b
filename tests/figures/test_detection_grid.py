"""Contact sheets: detections, true boxes, and what the other backend does not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ssd_common.errors import InputError
from ssd_common.figures.detections import CROWDED, DIFFERS, TILE, save_detection_grid
from tests.figures.pixels import GREY, ORANGE, grey, is_color, pixels_of


def test_a_contact_sheet_holds_pictures_of_any_sizes(tmp_path: Path) -> None:
    path = tmp_path / "sheets" / "grid.png"
    images = [grey(100, 100), grey(50, 100), grey(480, 640), grey(), grey(300, 200)]
    detections = [np.empty((0, 6)), *([[[1, 0.9, 0.1, 0.1, 0.5, 0.5]]] * 4)]
    save_detection_grid(path, images, detections, ["cat", "dog"], titles=["$x", "", "a" * 80, "b", "c"], columns=2)
    with Image.open(path) as sheet:
        sheet.load()
        assert (sheet.format, sheet.size[0]) == ("PNG", 640)
        assert sheet.size[1] > 320 * (1 + 0.75 + 1.5)
    assert list(path.parent.iterdir()) == [path]


def test_predictions_are_solid_and_the_ground_truth_is_dashed(tmp_path: Path, figures: list[Figure]) -> None:
    box = [0.1, 0.3, 0.4, 0.8]
    nothing = np.empty((0, 6))
    save_detection_grid(tmp_path / "grid.png", [grey(100, 100)], [[[0, 0.9, *box]]], ["cat"])
    save_detection_grid(tmp_path / "grid.png", [grey(100, 100)], [nothing], ["cat"], truths=[[[0, *box]]])
    lower_edges = []
    for figure in figures:
        pixels = pixels_of(figure)
        (left, y), (right, _) = figure.axes[0].transData.transform([(12, 80), (38, 80)]).round().astype(int)
        row = len(pixels) - y  # matplotlib counts from below
        lower_edges.append(pixels[row - 1 : row + 2, left:right].astype(int))
    predicted, true = lower_edges
    assert is_color(predicted[1], ORANGE).all()
    assert not is_color(true, ORANGE).any()
    brightness = true.mean(axis=-1)
    white, black = brightness.max(axis=0) > 240, brightness.min(axis=0) < 15
    assert white.sum() > 20
    assert black.sum() > 20
    assert np.diff(white.astype(int)).clip(0).sum() > 3, "several dashes"


def test_padding_rows_of_the_ground_truth_are_not_drawn(tmp_path: Path) -> None:
    truth = np.array([[0, 0.1, 0.3, 0.4, 0.8], [-1, -1, -1, -1, -1], [-1, 0.5, 0.5, 0.9, 0.9]])
    for name, rows in (("padded", truth), ("plain", truth[:1])):
        save_detection_grid(tmp_path / name, [grey()], [np.empty((0, 6))], ["cat"], truths=[rows])
    assert (tmp_path / "padded").read_bytes() == (tmp_path / "plain").read_bytes()


def test_only_a_picture_with_few_boxes_carries_labels(tmp_path: Path, figures: list[Figure]) -> None:
    rows = np.array([[0, 0.9, 0.1, 0.1, 0.5, 0.5]] * (CROWDED + 1))
    save_detection_grid(tmp_path / "grid.png", [grey(), grey()], [rows, rows[:3]], ["cat"])
    crowded, sparse = figures[0].axes
    assert [text.get_text() for text in crowded.texts] == []
    assert [text.get_text() for text in sparse.texts] == ["cat 0.90"] * 3


def test_the_legend_names_the_classes_that_are_shown_and_the_threshold(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [[2, 0.9, 0.1, 0.1, 0.5, 0.5], [0, 0.2, 0.1, 0.1, 0.5, 0.5]]
    truths = [[[1, 0, 0, 1, 1]]]
    names = ["cat", "dog", "fox"]
    save_detection_grid(tmp_path / "grid.png", [grey()], [rows], names, truths=truths, threshold=0.3)
    legend = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert legend == ["fox (score ≥ 0.3)", "ground truth"]
    save_detection_grid(tmp_path / "all.png", [grey()], [rows], names, threshold=0)
    assert [text.get_text() for text in figures[1].legends[0].get_texts()] == ["cat", "fox"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "2 images but 1 detections"), ({"titles": ["a"]}, "2 images but 1"), ({"truths": []}, "2 images but")],
)
def test_a_contact_sheet_wants_one_of_everything_for_each_picture(tmp_path: Path, options: dict, message: str) -> None:
    detections = [np.empty((0, 6))] * (2 if options else 1)
    with pytest.raises(InputError, match=message):
        save_detection_grid(tmp_path / "grid.png", [grey(), grey()], detections, ["cat"], **options)


TWO = np.array([[0, 0.9, 0.4, 0.3, 0.6, 0.5], [1, 0.8, 0.2, 0.7, 0.4, 0.9]])


def test_what_the_other_backend_lacks_is_told_in_its_label_its_title_and_the_legend(
    tmp_path: Path, figures: list[Figure]
) -> None:
    marks = [[False, True], np.array([False, False])]
    save_detection_grid(
        tmp_path / "grid.png", [grey(), grey()], [TWO, TWO], ["cat", "dog"], titles=["torch", "mxnet"], differs=marks
    )
    (differs, same), legend = figures[0].axes, figures[0].legends[0]
    assert [text.get_text() for text in differs.texts] == ["cat 0.90", "≠ dog 0.80"]
    assert [text.get_text() for text in same.texts] == ["cat 0.90", "dog 0.80"]
    assert (differs.get_title(), same.get_title()) == ("≠ torch", "mxnet")
    assert legend.get_texts()[-1].get_text() == "≠ no counterpart in the other backend"


def test_a_mark_stays_with_its_detection_whatever_the_order_and_the_threshold(
    tmp_path: Path, figures: list[Figure]
) -> None:
    rows = np.array([[0, 0.2, 0.1, 0.1, 0.2, 0.2], *TWO[::-1], [-1, 0.9, 0, 0, 1, 1]])
    marks = [[True, False, True, True]]  # of a low score, of dog, of cat, of background
    save_detection_grid(tmp_path / "grid.png", [grey()], [rows], ["cat", "dog"], differs=marks)
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["dog 0.80", "≠ cat 0.90"]


def striped(pixels: np.ndarray) -> np.ndarray:
    magenta = tuple(round(255 * channel) for channel in to_rgb(DIFFERS))
    return is_color(pixels, magenta)


def test_a_marked_box_lies_in_a_band_of_magenta_and_white_stripes_edged_with_black(
    tmp_path: Path, figures: list[Figure]
) -> None:
    for marks in ([[True]], [[False]]):
        save_detection_grid(tmp_path / "grid.png", [grey(320, 320)], [TWO[:1]], ["cat"], differs=marks)
    marked, plain = (pixels_of(figure) for figure in figures)
    axes = figures[0].axes[0]
    (left, below), (right, _) = axes.transData.transform([(128, 160), (192, 160)]).round().astype(int)
    under_the_box = slice(len(marked) - below + 4, len(marked) - below + 15), slice(left, right)
    band = marked[under_the_box]
    assert striped(band).any(axis=0).sum() > 20
    assert is_color(band, (255, 255, 255)).any(axis=0).sum() > 20
    assert is_color(band, (0, 0, 0)).any(axis=0).all()
    np.testing.assert_array_equal(plain[under_the_box], GREY)


def test_a_picture_is_framed_if_a_detection_in_it_is_marked_and_shown(tmp_path: Path, figures: list[Figure]) -> None:
    images, marks = [grey(320, 320)] * 3, [[True], [False], [True]]
    detections = [TWO[:1], TWO[:1], TWO[:1] * [1, 0.1, 1, 1, 1, 1]]  # the last below the threshold
    save_detection_grid(tmp_path / "grid.png", images, detections, ["cat"], columns=3, differs=marks)
    pixels = pixels_of(figures[0])
    framed = []
    for axes in figures[0].axes:
        x, y = axes.transAxes.transform((0, 0.5)).round().astype(int)
        framed.append(striped(pixels[len(pixels) - y - 100 : len(pixels) - y + 100, x + 1]).all())
    assert framed == [True, False, False]


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [0.9, 0, 1, 0.1], [0, 0.5, 0.01, 0.51]])
def test_the_band_of_a_box_at_the_border_stays_in_the_picture(
    tmp_path: Path, figures: list[Figure], box: list[float]
) -> None:
    save_detection_grid(tmp_path / "grid.png", [grey(200, 300)], [[[0, 0.9, *box]]], ["cat"], differs=[[True]])
    bands = [c for c in figures[0].axes[0].collections if tuple(c.get_linewidth()) == (8,)]
    extents = bands[0].get_paths()[0].get_extents()
    half = 4 * 300 / (72 * TILE)
    assert extents.x0 >= half
    assert extents.y0 >= half
    assert extents.x1 <= 300 - half
    assert extents.y1 <= 200 - half


def test_of_many_detections_only_the_few_marked_ones_are_labelled(tmp_path: Path, figures: list[Figure]) -> None:
    rows = np.array([[0, 0.9, 0.1, 0.1, 0.5, 0.5]] * (CROWDED + 1))
    marks = [[True, True, *[False] * (len(rows) - 2)], [True] * len(rows)]
    save_detection_grid(tmp_path / "grid.png", [grey(), grey()], [rows, rows], ["cat"], differs=marks)
    few, all_of_them = figures[0].axes
    assert [text.get_text() for text in few.texts] == ["≠ cat 0.90"] * 2
    assert [text.get_text() for text in all_of_them.texts] == []


def test_a_sheet_without_a_difference_says_so_and_looks_the_same_otherwise(
    tmp_path: Path, figures: list[Figure]
) -> None:
    for options in ({}, {"differs": [[False, False]]}):
        save_detection_grid(tmp_path / "grid.png", [grey()], [TWO], ["cat", "dog"], **options)
    plain, compared = figures
    assert compared.legends[0].get_texts()[-1].get_text() == "≠ no counterpart in the other backend: none"
    assert len(compared.legends[0].get_texts()) == len(plain.legends[0].get_texts()) + 1
    for figure in figures:
        figure.legends.clear()
    np.testing.assert_array_equal(pixels_of(compared)[:300], pixels_of(plain)[:300])


def test_marks_are_given_for_every_picture_and_every_detection(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 images but 1 rows of marks"):
        save_detection_grid(tmp_path / "a.png", [grey()] * 2, [TWO, TWO], ["a", "b"], differs=[[True, True]])
    with pytest.raises(InputError, match="image 1: 2 detections but 1 marks"):
        save_detection_grid(tmp_path / "a.png", [grey()] * 2, [TWO, TWO], ["a", "b"], differs=[[True, True], [True]])


def test_a_picture_a_thousand_times_as_high_as_wide_has_its_place(tmp_path: Path) -> None:
    save_detection_grid(tmp_path / "grid.png", [grey(4000, 2), grey(2, 4000)], [[], []], ["cat"], columns=1)
    with Image.open(tmp_path / "grid.png") as picture:
        assert max(picture.size) < 3000


def test_a_contact_sheet_of_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one image"):
        save_detection_grid(tmp_path / "grid.png", [], [], ["cat"])
