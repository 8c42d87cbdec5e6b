"""An evaluation that several processes share: each measures some of the batches, and the results are those of one."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ssd_common.data.ground_truth import GroundTruth
from ssd_common.errors import InputError
from ssd_common.group import Group
from ssd_common.metrics import SUMS, EpochMeter

T = TypeVar("T")


class GroupMeter(EpochMeter):
    """Adds up what the batches of an evaluation measured, in the order of the dataset, whichever process measured them.

    Args:
        group: the processes; batch i is that of process i % size.
    """

    def __init__(self, group: Group) -> None:
        super().__init__()
        self._group = group
        self._batches: list[dict[str, float]] = []
        self._error: InputError | None = None

    def time_data(self, batches: Iterable[T]) -> Iterator[T]:
        """See `EpochMeter`; where an image cannot be read, the batches end, and `gather` raises InputError."""
        try:
            yield from super().time_data(batches)
        except InputError as error:
            self._error = error

    def _read(self) -> None:
        batches = [{name: float(metrics[name]) for name in SUMS} for metrics in self._unread]
        self._batches += batches
        self._unread = [*batches]
        super()._read()

    def gather(
        self, detections: list[NDArray[Any]], truths: list[GroundTruth]
    ) -> tuple[dict[str, float], list[NDArray[Any]], list[GroundTruth]]:
        """Return what `evaluate` of a backend returns, from what each process has measured."""
        with self._group.together():
            if self._error is not None:
                raise self._error
        if self._group.size > 1:
            detections, truths = self._exchange(detections, truths)
        return self.summary(), detections, truths

    def _exchange(
        self, detections: list[NDArray[Any]], truths: list[GroundTruth]
    ) -> tuple[list[NDArray[Any]], list[GroundTruth]]:
        rows = np.array([list(batch.values()) for batch in self._batches]).reshape(-1, len(SUMS))
        images = zip(detections, truths, strict=True)
        arrays = [array for found, true in images for array in (found, true.labels, true.size, true.ignored)]
        parts = [_unpacked(payload) for payload in self._group.gather(_packed([rows, *arrays]))]
        of_each = [next(part) for part in parts]
        self.sums, self.steps, detections, truths = {}, sum(map(len, of_each)), [], []
        for i in range(self.steps):
            part, row = parts[i % len(parts)], of_each[i % len(parts)][i // len(parts)]
            batch = dict(zip(SUMS, row.tolist(), strict=True))
            self._unread.append(batch)
            for _ in range(int(batch["examples"])):
                found, labels, size, ignored = (next(part) for _ in range(4))
                detections.append(found)
                truths.append(GroundTruth(labels, (int(size[0]), int(size[1])), ignored))
        return detections, truths


def _packed(arrays: Iterable[Any]) -> bytes:
    """Return arrays as bytes, dtype and shape with each."""
    file = io.BytesIO()
    for array in arrays:
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _unpacked(payload: bytes) -> Iterator[NDArray[Any]]:
    file = io.BytesIO(payload)
    while file.tell() < len(payload):
        yield np.load(file, allow_pickle=False)
