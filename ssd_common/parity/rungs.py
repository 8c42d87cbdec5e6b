"""What a rung is, what is measured with, and the distances that are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_common.backends import Backend
from ssd_common.config import Config, ModelConfig
from ssd_common.data.dataset import Dataset
from ssd_common.data.sampling import batches
from ssd_common.machine import NATIVE
from ssd_common.weights import Weights

Array = NDArray[np.floating]
Distance = Callable[[Any, Any], float]


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


class LazyBatches(Sequence[tuple[Array, Array]]):
    """The batches of a dataset in a given order: each is decoded when it is first asked for, and kept."""

    def __init__(self, data: Dataset, order: Sequence[NDArray[np.integer]], model_config: ModelConfig) -> None:
        self._data, self._order, self._model_config = data, order, model_config
        self._decoded: dict[int, tuple[Array, Array]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, i: Any) -> Any:
        if i not in self._decoded:
            (self._decoded[i],) = batches(self._data, [self._order[i]], self._model_config)
        return self._decoded[i]


@dataclass(frozen=True)
class Subject:
    """What the ladder is climbed with."""

    config: Config
    weights: Weights
    batches: Sequence[tuple[Array, Array]]
    """Images `(batch, 3, height, width)` and labels `(batch, max_objects, 5)` of each step."""
    dtype: str = "float64"
    seed: int = 0
    trained: Weights | None = None
    """Trained weights, for the last rung."""
    pictures: Sequence[tuple[Array, Array]] = ()
    """Batches like those above, of other images, in which the trained weights detect."""
    isa: str = NATIVE
    """Which instructions the frameworks' convolutions use; see `ssd_common.machine.limit_instructions`."""


@dataclass(frozen=True)
class Results:
    """What every side computed, and what their results are held against."""

    sides: Mapping[str, Any]
    """By "numpy", "torch", "mxnet", "onnx". A side that is the reference itself is the same object as `reference`."""
    reference: Any
    source: str
    """Where the reference comes from: a side and its dtype, or other words."""
    series: Mapping[str, list[float]] = field(default_factory=dict)
    """By backend, where the rung follows a quantity over time."""


@dataclass(frozen=True)
class Rung:
    """One comparison: what is measured, and the largest value that passes."""

    number: int
    name: str
    quantity: str
    float64: float
    float32: float
    """For each side against the reference and for the frameworks against each other, on any processor."""
    measure: Callable[[Subject, Mapping[str, Backend]], Results]
    """Rungs of one number have the same one, and it runs once."""
    stands_on: tuple[int, ...] = ()
    """The rungs whose failure makes this one fail."""
    distance: Distance = max_difference
    in_float32: tuple[str, Distance] | None = None
    """Quantity and distance of float32, where they are not those of float64."""
    avx2: float | None = None
    """In float32 with both frameworks held to AVX2: for the two against each other, and that alone is judged."""
    note: str = ""
    """Why the tolerance of float32 is as wide as it is."""


@dataclass(frozen=True)
class Row:
    """What one rung measured."""

    rung: int
    name: str
    quantity: str
    dtype: str
    errors: dict[str, float | None]
    """Against the reference, by "numpy", "torch", "mxnet", and "onnx" where that is a side.

    None for the reference itself, or where none applies.
    """
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
