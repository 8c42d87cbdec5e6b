"""What a rung is, what is measured with, and the distances that are measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_common.config import Config
from ssd_common.weights import Weights

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Rung:
    """One comparison: what is measured, and the largest value that passes in each dtype."""

    number: int
    name: str
    quantity: str
    float64: float
    float32: float
    stands_on: tuple[int, ...] = ()
    """The rungs whose failure makes this one fail."""
    note: str = ""
    """Why the tolerance of float32 is as wide as it is."""

    def tolerance(self, dtype: str) -> float:
        """The largest value that passes."""
        return self.float64 if dtype == "float64" else self.float32


@dataclass(frozen=True)
class Row:
    """What one rung measured."""

    rung: int
    name: str
    quantity: str
    dtype: str
    errors: dict[str, float | None]
    """Against the reference, by "numpy", "torch", "mxnet"; None for the reference itself, or where none applies."""
    difference: float | None
    """Torch against mxnet, if both were there."""
    reference: str
    tolerance: float
    passed: bool
    note: str
    caused_by: tuple[int, ...] = ()
    """Of a rung that failed: the failed rungs at the bottom of what it stands on; empty if it is the first to fail."""
    series: dict[str, list[float]] = field(default_factory=dict)
    """By backend, where the rung follows a quantity over time: the loss of every step."""


@dataclass(frozen=True)
class Subject:
    """What the ladder is climbed with."""

    config: Config
    weights: Weights
    batches: list[tuple[Array, Array]]
    """Pictures `(batch, 3, height, width)` and labels `(batch, max_objects, 5)` of each step."""
    dtype: str = "float64"
    seed: int = 0
    trained: Weights | None = None
    """Trained weights, for the last rung."""
    pictures: Sequence[tuple[Array, Array]] = ()
    """Batches like those above, of other pictures, in which the trained weights detect."""


@dataclass(frozen=True)
class Measured:
    """The numbers of a row, before they are judged."""

    errors: dict[str, float | None]
    difference: float | None
    reference: str
    series: dict[str, list[float]] = field(default_factory=dict)


def worst(values: Iterable[float]) -> float:
    """Return the largest of some distances, 0 if there is none; NaN if one is NaN, which `max` may swallow."""
    return float(np.max([*values], initial=0.0))


def max_difference(first: Any, second: Any) -> float:
    """Return the largest absolute difference of two arrays, or of two lists of arrays; infinite if shapes differ."""
    if isinstance(first, (list, tuple)):
        return worst(max_difference(a, b) for a, b in zip(first, second, strict=True))
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        return float("inf")
    return float(np.abs(first.astype(np.float64) - second.astype(np.float64)).max(initial=0.0))


def count_mismatches(first: Any, second: Any) -> float:
    """Return the number of elements that differ between two integer arrays, or lists of them."""
    if isinstance(first, (list, tuple)):
        return sum(count_mismatches(a, b) for a, b in zip(first, second, strict=True))
    if len(first) != len(second):
        return float(max(len(first), len(second)))
    return float((np.asarray(first) != np.asarray(second)).sum())
