"""Class names as a figure can show them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
LONGEST = 20  # letters of a name


def shown_names(class_names: Sequence[str]) -> list[str]:
    """Return names for the classes that a figure can show and that tell one from the other.

    A name with a letter that the font lacks is "class 3", as where classes have no names. One that is too long is
    shortened, and has its class id where another one begins alike.
    """
    shown: list[str] = []
    for class_id, name in enumerate(class_names):
        name = " ".join(name.split())
        if any(ord(letter) not in _letters() for letter in name):
            name = f"class {class_id}"
        if len(name) > LONGEST:
            name = f"{name[: LONGEST - 1]}…"
        if name in shown:
            name = f"{name[: LONGEST - 8]}… ({class_id})"
        shown.append(name)
    return shown


def in_legend(name: str) -> str:
    """Return a name for a legend, from which matplotlib leaves out what begins with "_"."""
    return f" {name}" if name.startswith("_") else name


def legend_columns(names: Sequence[str], width: float, points: float) -> int:
    """Return how many columns of a legend fit in a width in inches; at least one."""
    column = max(map(len, names), default=0) * 0.6 * points / 72 + 4.5 * points / 72
    return max(1, int(width / column))


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    return frozenset(FT2Font(str(FONT)).get_charmap())
