"""The next batch is made while the network works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

AHEAD = 2
"""Batches that wait ready at most; with the one at work and the one being made there are four in memory."""


class _End(NamedTuple):
    """There are no more items, because of an error if there was one."""

    error: BaseException | None


class Prefetched(Generic[T]):
    """The items of an iterable in their order, each made by a background thread before it is asked for.

    It can be iterated once, and has a length, so that a progress bar knows how far it is. An error that making an item
    raises is raised where that item would have come. However the iteration ends, the thread has ended by then.
    """

    def __init__(self, items: Iterable[T], length: int) -> None:
        """Take `length` items, not yet made; nothing happens before the first is asked for."""
        self._items, self._length = items, length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        ready: queue.Queue[T | _End] = queue.Queue(AHEAD)
        stopped = threading.Event()
        thread = threading.Thread(target=_make, args=(self._items, ready, stopped), name="prefetch", daemon=True)
        thread.start()
        try:
            while not isinstance(item := ready.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            # Also when the consumer stops early, or Ctrl-C is pressed: room lets a thread go on that waits to put.
            stopped.set()
            while not ready.empty():
                ready.get_nowait()
            thread.join()


def _make(items: Iterable[T], ready: queue.Queue[T | _End], stopped: threading.Event) -> None:
    """Put the items, and then the end, where the consumer gets them, until told to stop."""
    error = None
    try:
        for item in items:
            ready.put(item)
            if stopped.is_set():
                return
    except BaseException as raised:  # else the consumer would wait for ever
        error = raised
    ready.put(_End(error))
