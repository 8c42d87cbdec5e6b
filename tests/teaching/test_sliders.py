"""A figure has sliders where somebody can move them, and is shown once elsewhere."""

import sys

import pytest

pytest.importorskip("IPython", reason="needs the extra: notebooks")

from ssd_common.teaching import sliders
from ssd_common.teaching.sliders import show_with_sliders


@pytest.fixture
def drawn():
    """The values of every figure."""
    return []


@pytest.mark.parametrize("missing", [True, False], ids=["no widgets", "nobody watches"])
def test_without_widgets_or_a_reader_the_figure_is_shown_once(missing, drawn, monkeypatch):
    monkeypatch.setattr(sliders, "is_watched", lambda: missing)
    if missing:
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
    show_with_sliders(lambda size, ratio: drawn.append((size, ratio)), size=(0, 1, 0.1, 0.5), ratio=(1, 4, 1, 2))
    assert drawn == [(0.5, 2)]


def test_a_moved_slider_draws_again(drawn, monkeypatch):
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.setattr(sliders, "is_watched", lambda: True)
    made = []
    real = ipywidgets.FloatSlider
    monkeypatch.setattr(ipywidgets, "FloatSlider", lambda **options: made.append(real(**options)) or made[-1])
    show_with_sliders(lambda nms_threshold: drawn.append(nms_threshold), nms_threshold=(0, 1, 0.1, 0.5))
    (slider,) = made
    assert (slider.min, slider.max, slider.description) == (0, 1, "nms threshold")
    slider.value = 0.7
    assert drawn == [0.5, 0.7]
