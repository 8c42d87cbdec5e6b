"""Pictures: boxes lie where they should, labels can be read, files are whole and the same every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ssd_common.errors import InputError
from ssd_common.figures import curves, drawing
from ssd_common.figures import detections as plotting

GREY = 128
ORANGE = (230, 159, 0)  # the colour of class 0


def grey(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def is_color(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (pixels == np.array(color, dtype=np.uint8)).all(axis=-1)


def epoch(number: int, **values: float | None) -> dict[str, float | None]:
    return {"epoch": float(number), "loss": 1 / number, "class_error": 0.01 / number, "val_ap": 0.1, **values}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would have been saved, to be looked into; nothing is rendered or written."""
    made: list[Figure] = []
    for module in (plotting, curves):
        monkeypatch.setattr(module, "write_figure", lambda figure, path: made.append(figure))
    return made


def pixels_of(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


# --- draw_detections ---


def test_a_detection_is_outlined_at_its_own_pixels_and_nowhere_else() -> None:
    drawn = drawing.draw_detections(grey(), [[0, 0.9, 0.25, 0.5, 0.75, 1.0]], ["banana"])
    outline = np.zeros((200, 300), dtype=bool)
    outline[100:200, 75:225] = True
    outline[102:198, 77:223] = False
    below_the_label = slice(100, None)
    np.testing.assert_array_equal(is_color(drawn, ORANGE)[below_the_label], outline[below_the_label])
    np.testing.assert_array_equal(drawn[below_the_label][~outline[below_the_label]], GREY)
    assert is_color(drawn[:100], ORANGE).any(), "the label stands on the box"


def test_drawing_returns_a_new_picture_of_the_same_size() -> None:
    image = grey()
    drawn = drawing.draw_detections(image, [[0, 0.9, 0.1, 0.1, 0.9, 0.9]], ["banana"])
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, grey())


@pytest.mark.parametrize(
    "row",
    [
        pytest.param([-1, 0.9, 0.2, 0.2, 0.8, 0.8], id="background or suppressed"),
        pytest.param([0, 0.49, 0.2, 0.2, 0.8, 0.8], id="below the threshold"),
        pytest.param([0, np.nan, 0.2, 0.2, 0.8, 0.8], id="no score"),
        pytest.param([0, 0.9, np.nan, 0.2, 0.8, 0.8], id="no corner"),
        pytest.param([0, 0.9, 0.8, 0.2, 0.2, 0.8], id="inverted"),
        pytest.param([0, 0.9, 1.2, 0.2, 1.8, 0.8], id="outside the picture"),
    ],
)
def test_a_row_that_is_no_box_in_the_picture_is_not_drawn(row: list[float]) -> None:
    np.testing.assert_array_equal(drawing.draw_detections(grey(), [row], ["banana"]), grey())


def test_no_detections_leave_the_picture_as_it_is() -> None:
    np.testing.assert_array_equal(drawing.draw_detections(grey(), np.empty((0, 6)), ["banana"]), grey())


def test_a_box_that_leaves_the_picture_is_cut_off_at_its_border() -> None:
    outside = drawing.draw_detections(grey(), [[0, 0.9, -5.0, 0.5, np.inf, 7.0]], ["banana"])
    inside = drawing.draw_detections(grey(), [[0, 0.9, 0.0, 0.5, 1.0, 1.0]], ["banana"])
    np.testing.assert_array_equal(outside, inside)


def test_a_label_in_any_corner_of_the_picture_is_as_complete_as_one_in_the_middle() -> None:
    def black_pixels(xmin: float, ymin: float) -> int:
        drawn = drawing.draw_detections(grey(), [[0, 0.93, xmin, ymin, xmin + 0.04, ymin + 0.04]], ["banana"])
        return int(is_color(drawn, (0, 0, 0)).sum())

    corners = [black_pixels(x, y) for x in (0.0, 0.96) for y in (0.0, 0.96)]
    assert black_pixels(0.4, 0.5) > 10
    assert corners == [black_pixels(0.4, 0.5)] * 4


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    rows = np.array([[0, 0.93, 0.3, 0.5, 0.4, 0.7], [0, 0.93, 0.35, 0.5, 0.45, 0.7]])
    one = is_color(drawing.draw_detections(grey(), rows[:1], ["banana"]), (0, 0, 0)).sum()
    both = is_color(drawing.draw_detections(grey(), rows, ["banana"]), (0, 0, 0)).sum()
    assert both == 2 * one


def test_lines_and_labels_grow_with_the_picture() -> None:
    rows = [[0, 0.93, 0.25, 0.5, 0.75, 1.0]]
    small = is_color(drawing.draw_detections(grey(400, 400), rows, ["banana"]), ORANGE)
    large = is_color(drawing.draw_detections(grey(1600, 1600), rows, ["banana"]), ORANGE)
    assert large[1500:, :800].any(axis=0).sum() == 4 * small[375:, :200].any(axis=0).sum()  # widths of the box
    assert large[1400, :800].sum() == 4 * small[350, :200].sum() == 8  # one vertical line
    assert large[:800].any(axis=1).sum() > 3 * small[:200].any(axis=1).sum()  # height of the label


def test_a_picture_too_small_for_a_label_still_gets_its_box() -> None:
    drawn = drawing.draw_detections(grey(9, 9), [[0, 0.9, 0.0, 0.0, 1.0, 1.0]], ["banana"])
    assert is_color(drawn, ORANGE).sum() == 81 - 25


@pytest.mark.parametrize("background", plotting.BOX_COLORS)
def test_a_label_has_the_contrast_that_wcag_asks_of_text(background: str) -> None:
    def luminance(color: str) -> float:
        channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]

    dark, light = sorted([luminance(background), luminance(drawing.text_color(background))])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_class_id_without_a_name_is_told_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"class id 3, but the class names are \['cat', 'dog'\]"):
        drawing.draw_detections(grey(), [[3, 0.9, 0.1, 0.1, 0.9, 0.9]], ["cat", "dog"])


@pytest.mark.parametrize("image", [grey()[..., 0], grey().astype(np.float32), grey()[:0], grey().transpose(2, 0, 1)])
def test_what_is_no_rgb_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="a picture is uint8"):
        drawing.draw_detections(image, [[0, 0.9, 0.1, 0.1, 0.9, 0.9]], ["banana"])


def test_detections_of_a_whole_batch_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(n, 6\), not \(1, 5, 6\)"):
        drawing.draw_detections(grey(), np.zeros((1, 5, 6)), ["banana"])


# --- show_bboxes ---


def rendered(bboxes: object, **options: object) -> np.ndarray:
    """A figure whose pixels are those of a grey 200×200 picture, with boxes."""
    figure = Figure(figsize=(2, 2), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(grey(200, 200), extent=(0, 200, 200, 0))
    axes.axis("off")
    plotting.show_bboxes(axes, bboxes, **options)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 200), (200, 0)), "boxes do not move the picture"
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
    plotting.show_bboxes(axes, [np.array([10, 20, 90, 80])], "0.92", "w")
    (text,) = axes.texts
    assert (text.get_text(), text.get_color()) == ("0.92", "black")
    np.testing.assert_array_equal(axes.collections[0].get_edgecolor(), [[1, 1, 1, 1]])


def test_colours_repeat_and_labels_may_run_out() -> None:
    axes = Figure().subplots()
    axes.imshow(grey())
    plotting.show_bboxes(axes, np.ones((5, 4)) * [0, 0, 9, 9], ["a", "b", "c"], ["r", "b"])
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


# --- save_detection_grid ---


def test_a_contact_sheet_holds_pictures_of_any_sizes(tmp_path: Path) -> None:
    path = tmp_path / "sheets" / "grid.png"
    images = [grey(100, 100), grey(50, 100), grey(480, 640), grey(), grey(300, 200)]
    detections = [np.empty((0, 6)), *([[[1, 0.9, 0.1, 0.1, 0.5, 0.5]]] * 4)]
    plotting.save_detection_grid(
        path, images, detections, ["cat", "dog"], titles=["$x", "", "a" * 80, "b", "c"], columns=2
    )
    with Image.open(path) as sheet:
        sheet.load()
        assert (sheet.format, sheet.size[0]) == ("PNG", 640)
        assert sheet.size[1] > 320 * (1 + 0.75 + 1.5)
    assert list(path.parent.iterdir()) == [path]


def test_predictions_are_solid_and_the_ground_truth_is_dashed(tmp_path: Path, figures: list[Figure]) -> None:
    box = [0.1, 0.3, 0.4, 0.8]
    nothing = np.empty((0, 6))
    plotting.save_detection_grid(tmp_path / "grid.png", [grey(100, 100)], [[[0, 0.9, *box]]], ["cat"])
    plotting.save_detection_grid(tmp_path / "grid.png", [grey(100, 100)], [nothing], ["cat"], truths=[[[0, *box]]])
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
        plotting.save_detection_grid(tmp_path / name, [grey()], [np.empty((0, 6))], ["cat"], truths=[rows])
    assert (tmp_path / "padded").read_bytes() == (tmp_path / "plain").read_bytes()


def test_only_a_picture_with_few_boxes_carries_labels(tmp_path: Path, figures: list[Figure]) -> None:
    rows = np.array([[0, 0.9, 0.1, 0.1, 0.5, 0.5]] * (plotting.CROWDED + 1))
    plotting.save_detection_grid(tmp_path / "grid.png", [grey(), grey()], [rows, rows[:3]], ["cat"])
    crowded, sparse = figures[0].axes
    assert [text.get_text() for text in crowded.texts] == []
    assert [text.get_text() for text in sparse.texts] == ["cat 0.90"] * 3


def test_the_legend_names_the_classes_that_are_shown_and_the_threshold(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [[2, 0.9, 0.1, 0.1, 0.5, 0.5], [0, 0.2, 0.1, 0.1, 0.5, 0.5]]
    truths = [[[1, 0, 0, 1, 1]]]
    names = ["cat", "dog", "fox"]
    plotting.save_detection_grid(tmp_path / "grid.png", [grey()], [rows], names, truths=truths, threshold=0.3)
    legend = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert legend == ["fox (score ≥ 0.3)", "ground truth"]
    plotting.save_detection_grid(tmp_path / "all.png", [grey()], [rows], names, threshold=0)
    assert [text.get_text() for text in figures[1].legends[0].get_texts()] == ["cat", "fox"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "2 pictures but 1 detections"), ({"titles": ["a"]}, "2 pictures but 1"), ({"truths": []}, "2 pictures but")],
)
def test_a_contact_sheet_wants_one_of_everything_for_each_picture(tmp_path: Path, options: dict, message: str) -> None:
    detections = [np.empty((0, 6))] * (2 if options else 1)
    with pytest.raises(InputError, match=message):
        plotting.save_detection_grid(tmp_path / "grid.png", [grey(), grey()], detections, ["cat"], **options)


TWO = np.array([[0, 0.9, 0.4, 0.3, 0.6, 0.5], [1, 0.8, 0.2, 0.7, 0.4, 0.9]])


def test_what_the_other_backend_lacks_is_told_in_its_label_its_title_and_the_legend(
    tmp_path: Path, figures: list[Figure]
) -> None:
    marks = [[False, True], np.array([False, False])]
    plotting.save_detection_grid(
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
    plotting.save_detection_grid(tmp_path / "grid.png", [grey()], [rows], ["cat", "dog"], differs=marks)
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["dog 0.80", "≠ cat 0.90"]


def striped(pixels: np.ndarray) -> np.ndarray:
    magenta = tuple(round(255 * channel) for channel in to_rgb(plotting.DIFFERS))
    return is_color(pixels, magenta)


def test_a_marked_box_lies_in_a_band_of_magenta_and_white_stripes_edged_with_black(
    tmp_path: Path, figures: list[Figure]
) -> None:
    for marks in ([[True]], [[False]]):
        plotting.save_detection_grid(tmp_path / "grid.png", [grey(320, 320)], [TWO[:1]], ["cat"], differs=marks)
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
    plotting.save_detection_grid(tmp_path / "grid.png", images, detections, ["cat"], columns=3, differs=marks)
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
    plotting.save_detection_grid(tmp_path / "grid.png", [grey(200, 300)], [[[0, 0.9, *box]]], ["cat"], differs=[[True]])
    bands = [c for c in figures[0].axes[0].collections if tuple(c.get_linewidth()) == (8,)]
    extents = bands[0].get_paths()[0].get_extents()
    half = 4 * 300 / (72 * plotting.TILE)
    assert extents.x0 >= half
    assert extents.y0 >= half
    assert extents.x1 <= 300 - half
    assert extents.y1 <= 200 - half


def test_of_many_detections_only_the_few_marked_ones_are_labelled(tmp_path: Path, figures: list[Figure]) -> None:
    rows = np.array([[0, 0.9, 0.1, 0.1, 0.5, 0.5]] * (plotting.CROWDED + 1))
    marks = [[True, True, *[False] * (len(rows) - 2)], [True] * len(rows)]
    plotting.save_detection_grid(tmp_path / "grid.png", [grey(), grey()], [rows, rows], ["cat"], differs=marks)
    few, all_of_them = figures[0].axes
    assert [text.get_text() for text in few.texts] == ["≠ cat 0.90"] * 2
    assert [text.get_text() for text in all_of_them.texts] == []


def test_a_sheet_without_a_difference_says_so_and_looks_the_same_otherwise(
    tmp_path: Path, figures: list[Figure]
) -> None:
    for options in ({}, {"differs": [[False, False]]}):
        plotting.save_detection_grid(tmp_path / "grid.png", [grey()], [TWO], ["cat", "dog"], **options)
    plain, compared = figures
    assert compared.legends[0].get_texts()[-1].get_text() == "≠ no counterpart in the other backend: none"
    assert len(compared.legends[0].get_texts()) == len(plain.legends[0].get_texts()) + 1
    for figure in figures:
        figure.legends.clear()
    np.testing.assert_array_equal(pixels_of(compared)[:300], pixels_of(plain)[:300])


def test_marks_are_given_for_every_picture_and_every_detection(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 pictures but 1 rows of marks"):
        plotting.save_detection_grid(tmp_path / "a.png", [grey()] * 2, [TWO, TWO], ["a", "b"], differs=[[True, True]])
    with pytest.raises(InputError, match="picture 1: 2 detections but 1 marks"):
        plotting.save_detection_grid(
            tmp_path / "a.png", [grey()] * 2, [TWO, TWO], ["a", "b"], differs=[[True, True], [True]]
        )


def test_a_picture_a_thousand_times_as_high_as_wide_has_its_place(tmp_path: Path) -> None:
    plotting.save_detection_grid(tmp_path / "grid.png", [grey(4000, 2), grey(2, 4000)], [[], []], ["cat"], columns=1)
    with Image.open(tmp_path / "grid.png") as picture:
        assert max(picture.size) < 3000


def test_a_contact_sheet_of_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one picture"):
        plotting.save_detection_grid(tmp_path / "grid.png", [], [], ["cat"])


# --- save_anchor_plot ---


def test_anchors_beyond_the_picture_are_in_the_plot(tmp_path: Path, figures: list[Figure]) -> None:
    plotting.save_anchor_plot(tmp_path / "anchors.png", grey(100, 200), [[-0.1, 0.2, 0.5, 1.3], [0, 0, 1, 1]], "two")
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
    plotting.save_anchor_plot(tmp_path / "anchors.png", grey(), np.hstack([corners, corners + 0.1]), "all")
    with Image.open(tmp_path / "anchors.png") as picture:
        picture.load()
        assert (picture.format, picture.size[0]) == ("PNG", 800)


# --- all figures ---


def test_no_text_of_a_figure_is_smaller_than_a_lecture_hall_can_read(tmp_path: Path, figures: list[Figure]) -> None:
    curves.save_training_curves(tmp_path / "a.png", {"torch": [epoch(1)]}, {"class_error": 0.1}, title="t")
    plotting.save_detection_grid(
        tmp_path / "b.png", [grey()], [[[0, 0.9, 0.1, 0.1, 0.5, 0.5]]], ["cat"], truths=[[]], titles=["t"]
    )
    plotting.save_anchor_plot(tmp_path / "c.png", grey(), [[0.1, 0.1, 0.5, 0.5]], "t")
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
