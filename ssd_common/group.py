"""The processes that work together: what each of them does, and how their results become one.

In training, the batch size is that of all processes together. Each takes its share of every batch, and the mean
gradient of the whole batch is the same as in one process. So a run can go on with another number of processes.
Evaluation and prediction share out whole batches, so that each batch is computed as in one process.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from ssd_common.errors import InputError

Array = NDArray[Any]
PIECE = 1 << 18
"""Bytes that are exchanged at a time: an engine keeps memory for each size of array that it has seen."""


class LostError(InputError):
    """Another process of the group has ended."""


class SharedError(InputError):
    """What is wrong in one process of the group, raised in all of them; process 0 says it."""


class Group:
    """One of several processes, as a backend's `distributed.join` returns it; without arguments, one by itself.

    Args:
        rank: which of the processes this is, from 0; process 0 writes.
        size: how many there are.
        sum_array: takes an array, float32 or float64 `(n,)`, and returns its sum over all processes.
        get_gradients: see `weights.py` of a backend.
        set_gradients: likewise.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        sum_array: Callable[[Array], Array] = np.asarray,
        get_gradients: Callable[[Any], dict[str, Array]] | None = None,
        set_gradients: Callable[[Any, Mapping[str, Array]], None] | None = None,
    ) -> None:
        self.rank, self.size, self.sum_array = rank, size, sum_array
        self._get_gradients, self._set_gradients = get_gradients, set_gradients
        self._shares: Iterator[float] = iter(())
        self.told: Callable[[], int] = lambda: 0
        """Returns the number of the signal that this process was told to stop by."""
        self.signal = 0
        """That of any process, at the last step: all know it at the same step."""

    def shard(self, order: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """Return the image indices of this process of each batch; `average` is called for each of these batches next.

        A batch with fewer images than there are processes has none for some: they take its first image, with weight 0.
        """
        own = [indices[self.rank :: self.size] for indices in order]
        self._shares = iter([len(mine) / len(indices) for mine, indices in zip(own, order, strict=True)])
        return [mine if len(mine) else indices[:1] for mine, indices in zip(own, order, strict=True)]

    def average(self, net: Any, metrics: Mapping[str, SupportsFloat]) -> Mapping[str, SupportsFloat]:
        """Give the network the gradient of the whole batch, and return the metrics of the whole batch.

        Args:
            net: has the gradient of the mean loss over the images of this process.
            metrics: the sums over these images.
        """
        if self._get_gradients is None or self._set_gradients is None:
            return metrics
        share = next(self._shares)
        self._set_gradients(net, self.weighted_sum(self._get_gradients(net), share))
        own, told = [float(value) if share else 0.0 for value in metrics.values()], self.told()
        *sums, signals = self.sum_array(np.array([*own, told]))
        self.signal = told or (signal.SIGTERM if signals else 0)
        return dict(zip(metrics, sums, strict=True))

    def weighted_sum(self, arrays: Mapping[str, Array], weight: float) -> dict[str, Array]:
        """Return the sum over all processes of each array times the weight of its process, by name."""
        weighted = (value * value.dtype.type(weight) if weight else np.zeros_like(value) for value in arrays.values())
        flat = np.concatenate([value.ravel() for value in weighted])  # 0 times infinity would be nan
        parts = np.split(self.sum_array(flat), np.cumsum([value.size for value in arrays.values()])[:-1])
        return {name: part.reshape(arrays[name].shape) for name, part in zip(arrays, parts, strict=True)}

    def broadcast(self, payload: bytes = b"") -> bytes:
        """Return the bytes of process 0 in every process."""
        return self.gather(payload if self.rank == 0 else b"")[0]

    def gather(self, payload: bytes) -> list[bytes]:
        """Return the bytes of each process, in every process."""
        if self.size == 1:
            return [payload]
        lengths = np.zeros(self.size)
        lengths[self.rank] = len(payload)
        ends = np.cumsum(self.sum_array(lengths).astype(np.int64))
        content = np.zeros(-(-ends[-1] // PIECE) * PIECE, np.uint8)
        content[ends[self.rank] - len(payload) : ends[self.rank]] = np.frombuffer(payload, np.uint8)
        for piece in content.reshape(-1, PIECE):  # each byte a number: a sum is all that a group can do
            piece[:] = self.sum_array(piece.astype(np.float32))
        return [part.tobytes() for part in np.split(content, ends)[:-1]]

    def collect(self, items: list[Any]) -> list[Any]:
        """Return the items, plain values, of process 0, then those of process 1, and so on, in every process."""
        if self.size == 1:
            return items
        return [item for part in self.gather(json.dumps(items).encode()) for item in json.loads(part)]

    @contextmanager
    def together(self) -> Iterator[None]:
        """After the block, wait for the other processes: an InputError of one ends all, and process 0 raises it.

        Raises:
            SharedError: in all processes, where there are several.
        """
        wrong = ""
        try:
            yield
        except InputError as error:
            if self.size == 1 or isinstance(error, LostError):
                raise
            wrong = str(error)
        for text in filter(None, self.gather(wrong.encode(errors="surrogatepass"))):
            raise SharedError(text.decode(errors="surrogatepass"))

    def agree(self, value: Any, what: str) -> None:
        """Raise InputError in all processes unless each has the same plain value; `what` it is, is for the message."""
        first = self.collect([value])[0]
        with self.together():
            if value != first:
                raise InputError(f"process {self.rank} has other {what} than process 0")


ALONE = Group()
"""The group of a process by itself."""


def launched(environment: Mapping[str, str]) -> str:
    """Return the backend whose launcher has started this process, "" for none."""
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return "torch"
    return "mxnet" if "DMLC_ROLE" in environment else ""
