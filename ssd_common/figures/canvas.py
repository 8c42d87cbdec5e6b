"""How figures look, and how they are written."""

from __future__ import annotations

import io
import os
from typing import Any

from matplotlib.figure import Figure

from ssd_common.output.atomic import write_atomically

STYLE: list[str | dict[str, Any]] = [
    "default",
    {"font.size": 13, "axes.titlesize": 15, "legend.fontsize": 12, "text.parse_math": False},
]


def write_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, 100 pixels an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})  # matplotlib's version is not the input
    write_atomically(path, buffer.getvalue())


LARGE_TEXT: list[str | dict[str, Any]] = [
    *STYLE,
    {"font.size": 18, "axes.titlesize": 18, "legend.fontsize": 15, "lines.markersize": 12},
]
