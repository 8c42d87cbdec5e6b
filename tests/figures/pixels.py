"""Images to draw on, and what is on them then."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

GREY = 128
ORANGE = (230, 159, 0)  # the colour of class 0


def grey(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def is_color(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (pixels == np.array(color, dtype=np.uint8)).all(axis=-1)


def pixels_of(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
