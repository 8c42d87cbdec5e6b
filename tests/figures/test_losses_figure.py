"""Curves of losses: the values that were given, told apart by more than colour, in letters that can be read."""

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ssd_common.figures.losses import save_loss_curves

X = np.linspace(-2, 2, 9)
LOSSES = {"L1": np.abs(X), "square": X**2, "cube": X**3, "one": X**0}
GRADIENTS = {"L1": np.sign(X), "square": 2 * X, "cube": 3 * X**2, "one": 0 * X}


@pytest.fixture
def figure(figures):
    """The figure that would have been saved, to be looked into."""
    save_loss_curves("nowhere.png", X, LOSSES, GRADIENTS, "error")
    return figures[0]


def test_each_panel_has_the_curves_that_were_given(figure):
    for axes, title, given in zip(figure.axes, ("loss", "gradient"), (LOSSES, GRADIENTS), strict=True):
        assert (axes.get_title(), axes.get_xlabel()) == (title, "error")
        assert [line.get_label() for line in axes.lines] == list(given)
        for line, values in zip(axes.lines, given.values(), strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.stack((X, values), axis=1))


def test_a_loss_looks_the_same_in_both_panels_and_unlike_the_others_even_in_grey(figure):
    looks = [[(line.get_color(), line._dash_pattern) for line in axes.lines] for axes in figure.axes]
    assert looks[0] == looks[1]
    assert len({str(dashes) for _, dashes in looks[0]}) == len(LOSSES)


def test_its_letters_can_be_read_in_a_lecture_hall(figure):
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert {"L1", "loss", "gradient", "error"} <= {text.get_text() for text in texts}
    assert min(text.get_fontsize() for text in texts) >= 12


def test_it_is_written_as_png(tmp_path):
    save_loss_curves(tmp_path / "losses.png", X, LOSSES, GRADIENTS, "error")
    with Image.open(tmp_path / "losses.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1400, 600))
