"""Class names in a legend."""

from __future__ import annotations

from collections.abc import Sequence


def in_legend(name: str) -> str:
    """Return a name for a legend, from which matplotlib leaves out what begins with "_"."""
    return f" {name}" if name.startswith("_") else name


def legend_columns(names: Sequence[str], width: float, points: float) -> int:
    """Return how many columns of a legend fit in a width in inches; at least one."""
    column = max(map(len, names), default=0) * 0.6 * points / 72 + 4.5 * points / 72
    return max(1, int(width / column))
