"""Every class can be told in a figure, whatever letters its name has, however long it is."""

import numpy as np
import pytest

from ssd_common.drawing import LONGEST, draw_detections, shown_names
from ssd_common.evaluation.average_precision import PrecisionRecall
from ssd_common.figures.detections import save_detection_grid
from ssd_common.figures.evaluation import save_precision_recall

LONG = "Agaricus campestris var. campestris Linnaeus"
NAMES = ("翘头剪", "_background_", "ไทย", "$5 & $10 note", "café ☕", f"{LONG} 1753", f"{LONG} 1787")


def test_a_name_that_the_font_lacks_is_a_number_and_a_long_one_is_shortened():
    assert shown_names(NAMES[:5]) == ["class 0", "_background_", "class 2", "$5 & $10 note", "café ☕"]
    shown = shown_names(NAMES)
    assert len(set(shown)) == len(NAMES)
    assert max(map(len, shown)) <= LONGEST
    assert shown[5].startswith("Agaricus")
    assert shown[6].endswith("… (6)")


def test_every_class_is_in_the_legend_and_nothing_sticks_out(figures, tmp_path):
    """A letter that is missing, a name left out or a layout that gives up is a warning, which here is an error."""
    image = np.zeros((48, 64, 3), np.uint8)
    rows = np.array([[i, 0.9, 0.1, 0.1, 0.6, 0.6] for i in range(len(NAMES))])
    save_detection_grid(tmp_path / "a.png", [image] * 2, [rows] * 2, NAMES)
    save_detection_grid(tmp_path / "a.png", [image] * 5, [rows] * 5, NAMES, columns=5)
    curve = PrecisionRecall(np.array([0.9]), np.array([1]), 1)
    save_precision_recall(tmp_path / "a.png", [curve] * len(NAMES), NAMES)
    for figure in figures:
        figure.canvas.draw()
        (legend,) = figure.legends
        texts = [text.get_text() for text in legend.get_texts()]
        for name in shown_names(NAMES):
            assert any(name in text for text in texts)
        box, page = legend.get_window_extent(), figure.bbox
        assert box.x0 >= page.x0
        assert box.x1 <= page.x1
    grid = figures[0]
    assert min(axes.get_window_extent().width for axes in grid.axes) > 200  # of 320 pixels


@pytest.mark.parametrize("class_id", range(len(NAMES)))
def test_a_drawn_label_has_the_letters_of_the_name_that_is_shown(class_id):
    image = np.zeros((100, 400, 3), np.uint8)
    row = [[class_id, 0.9, 0.1, 0.4, 0.9, 0.9]]
    drawn = draw_detections(image, row, NAMES)
    np.testing.assert_array_equal(drawn, draw_detections(image, row, shown_names(NAMES)))
