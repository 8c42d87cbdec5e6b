"""Metrics of an epoch that mean something: training metrics beside trivial baselines, and throughput."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import SupportsFloat, TypeVar

T = TypeVar("T")

DIVISORS = ("examples", "anchors", "offsets")
SUMS = (*DIVISORS, "cls_loss", "bbox_loss", "correct", "positives", "abs_error", "abs_offsets")
"""What `batch_metrics` of a backend measures, and `EpochMeter` adds up."""
READ_EVERY = 8
"""Steps whose sums stay on the device before they are read: to read is to wait until the device is done."""


class EpochMeter:
    """Adds up what the batches of one epoch measured, and the seconds that data and steps took.

    Args:
        sums: those of the batches that were trained before, where an epoch goes on that was stopped.
        steps: how many batches these were.
    """

    def __init__(self, sums: Mapping[str, float] | None = None, steps: int = 0) -> None:
        self.sums, self.steps = dict(sums or {}), steps
        self._earlier = self.sums.get("examples", 0.0)  # their seconds are not known
        self._unread: list[Mapping[str, SupportsFloat]] = []
        self.data_seconds = 0.0
        self.step_seconds = 0.0

    def time_data(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches; waiting for them counts as data time, everything until the next as step time."""
        source = iter(batches)
        while True:
            start = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                start = time.perf_counter()
                self._read()
                self.step_seconds += time.perf_counter() - start
                return
            ready = time.perf_counter()
            yield batch
            self.data_seconds += ready - start
            self.step_seconds += time.perf_counter() - ready

    def add(self, metrics: Mapping[str, SupportsFloat]) -> None:
        """Add the sums of one batch, as `batch_metrics` of a backend returns them: numbers, or arrays of one number."""
        self._unread.append(metrics)
        self.steps += 1
        if len(self._unread) == READ_EVERY:
            self._read()

    def _read(self) -> None:
        """Add each batch by itself: the sums do not depend on when they are read."""
        for metrics in self._unread:
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self._unread = []

    def summary(self) -> dict[str, float]:
        """Return the epoch's metrics.

        `loss`, `cls_loss` and `bbox_loss` are means over images. `class_error` is the share of anchors classified
        wrongly, `bbox_mae` the mean absolute error over all offsets, masked ones included as in the book. Their
        `baseline_…` is what predicting background everywhere, and zero offsets, scores on the same batches.
        `examples_per_second` divides by the sum of the step times (the book divides by the last step alone). Of an
        epoch that goes on, the seconds of the batches before are not known: they count neither here nor there.
        """
        self._read()
        sums, measured = self.sums, self.sums["examples"] - self._earlier
        return {
            "loss": (sums["cls_loss"] + sums["bbox_loss"]) / sums["examples"],
            "cls_loss": sums["cls_loss"] / sums["examples"],
            "bbox_loss": sums["bbox_loss"] / sums["examples"],
            "class_error": 1 - sums["correct"] / sums["anchors"],
            "bbox_mae": sums["abs_error"] / sums["offsets"],
            "baseline_class_error": sums["positives"] / sums["anchors"],
            "baseline_bbox_mae": sums["abs_offsets"] / sums["offsets"],
            "examples_per_second": measured / self.step_seconds if self.step_seconds else float("nan"),
            "data_seconds": self.data_seconds,
        }
