"""Detections drawn on an image: boxes lie where they should, and their labels can be read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ssd_common import drawing
from ssd_common.drawing import BOX_COLORS
from ssd_common.errors import InputError
from tests.figures.pixels import GREY, ORANGE, grey, is_color


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
        pytest.param([0, 0.9, 1.2, 0.2, 1.8, 0.8], id="outside the image"),
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


@pytest.mark.parametrize("background", BOX_COLORS)
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
    with pytest.raises(InputError, match="an image is uint8"):
        drawing.draw_detections(image, [[0, 0.9, 0.1, 0.1, 0.9, 0.9]], ["banana"])


def test_detections_of_a_whole_batch_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(n, 6\), not \(1, 5, 6\)"):
        drawing.draw_detections(grey(), np.zeros((1, 5, 6)), ["banana"])
