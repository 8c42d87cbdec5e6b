"""A figure with sliders, where Jupyter has widgets; the same figure without them elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ssd_common.teaching.notebook import is_watched


def show_with_sliders(draw: Callable[..., object], **sliders: tuple[float, float, float, float]) -> None:
    """Call a function that shows a figure: once, and again whenever somebody moves a slider.

    Sliders need the package ipywidgets and somebody who watches the notebook. Without them the figure is shown once.

    Args:
        draw: has a parameter for each slider.
        **sliders: lowest value, highest value, step and first value of each parameter.
    """
    try:
        ipywidgets: Any = import_module("ipywidgets")
    except ImportError:
        ipywidgets = None
    if ipywidgets is None or not is_watched():
        draw(**{name: first for name, (*_, first) in sliders.items()})
        return
    widgets = {
        name: ipywidgets.FloatSlider(
            value=first,
            min=low,
            max=high,
            step=step,
            description=name.replace("_", " "),
            style={"description_width": "initial"},  # the whole name
            continuous_update=False,
        )
        for name, (low, high, step, first) in sliders.items()
    }

    def redraw(**values: float) -> None:  # `interact` would show what `draw` returns
        draw(**values)

    ipywidgets.interact(redraw, **widgets)
