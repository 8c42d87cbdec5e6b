"""The measuring instrument of the benchmark: two ways to do the same work, timed in turn in one process."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ssd_common.errors import InputError
from ssd_common.machine import keep_freed_memory

PAIRS = 7
"""Measured pairs of a case, unless asked for otherwise."""


@dataclass(frozen=True)
class Case:
    """The same work done in two ways.

    Both return only when the work is done: a framework that computes in the background must be made to finish, by
    reading a number. What they return is compared once, before anything is timed.
    """

    name: str
    backend: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    compare: Callable[[Any, Any], None] | None = None
    """Called with what the first run of each returned; raises AssertionError if it is not the same."""
    note: str = ""
    """What a reader of the result must know."""
    settle: bool = False
    """Run each side once, untimed, before each timed run: work that is done repeatedly finds its memory at hand."""
    peer_thread: Callable[[], object] | None = None
    """Given, the peer has a thread and memory of its own, see `_apart`; this is called first in the thread."""


class DifferentWorkError(Exception):
    """The two sides of a case do not compute the same thing: their times would mean nothing."""


@dataclass(frozen=True)
class Result:
    """What a case took."""

    name: str
    backend: str
    ours_s: float
    """Median seconds of ours."""
    peer_s: float
    """Median seconds of the peer."""
    ratio: float
    """Median over the pairs of the peer's seconds divided by ours: above 1, ours is faster."""
    spread: float
    """Interquartile range of those ratios, divided by their median."""


def measure(case: Case, pairs: int = PAIRS, warmup: int = 1, clock: Callable[[], float] = time.perf_counter) -> Result:
    """Return the medians of a case, ours and the peer timed in turn: what else the machine does then falls on both.

    Args:
        case: what to time.
        pairs: how often each side is timed.
        warmup: how often each side runs before. The first of these runs is where the results are compared.
        clock: returns seconds.

    Raises:
        DifferentWorkError: the two sides do not compute the same thing.
        InputError: `pairs` is below 1, or there is no run in which to compare the results.
    """
    if pairs < 1:
        raise InputError(f"pairs must be at least 1, got {pairs}")
    if case.compare is not None and warmup < 1:
        raise InputError(f"{case.name}: results are compared in the warm-up, which must be at least 1, got {warmup}")
    for run in range(warmup):
        ours, peer = case.ours(), _run_peer(case, case.peer)
        if run == 0 and case.compare is not None:
            _compare(case, ours, peer)
        del ours, peer
    seconds = np.array([_pair(case, clock) for _ in range(pairs)])
    ratios = seconds[:, 1] / seconds[:, 0]
    lower, ratio, upper = np.percentile(ratios, (25, 50, 75))
    ours_s, peer_s = np.median(seconds, axis=0)
    return Result(case.name, case.backend, float(ours_s), float(peer_s), float(ratio), float((upper - lower) / ratio))


def _pair(case: Case, clock: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds of ours and of the peer."""
    peer = partial(_seconds, case.peer, clock, case.settle)
    return _seconds(case.ours, clock, case.settle), _run_peer(case, peer)


def _compare(case: Case, ours: Any, peer: Any) -> None:
    assert case.compare is not None
    try:
        case.compare(ours, peer)
    except AssertionError as error:
        reason = " ".join(str(error).split())
        raise DifferentWorkError(f"{case.name}, {case.backend}: the two sides differ: {reason}") from error


def _run_peer(case: Case, work: Callable[[], Any]) -> Any:
    return work() if case.peer_thread is None else _apart(work, case.peer_thread)


def _apart(work: Callable[[], Any], start_thread: Callable[[], object]) -> Any:
    """Return what `work` returns, done in a new thread with the C library's own settings.

    A process without this package does not keep what it frees, and in this process our side does
    (`keep_freed_memory`). In our side's thread the peer would be given what ours has kept, for glibc has a heap for
    each thread. The thread ends with the work: while there are more threads than cores, OpenMP's go to sleep after
    each operation. Interrupting does not wait for it.
    """
    result: Future[Any] = Future()

    def run() -> None:
        try:
            start_thread()
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    keep_freed_memory(False)
    try:
        thread.start()
        wait([result])
        thread.join()
        return result.result()
    finally:
        keep_freed_memory()


def _seconds(work: Callable[[], Any], clock: Callable[[], float], settle: bool) -> float:
    """Return how long `work` takes, without the garbage of what ran before it."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        if settle:
            work()
        start = clock()
        work()
        return clock() - start
    finally:
        if enabled:
            gc.enable()


def format_seconds(seconds: float) -> str:
    """Return a duration with three digits and the unit that suits it: "3.31 s", "28.4 ms", "310 µs"."""
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("µs", 1e-6)
    value = seconds / scale
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
