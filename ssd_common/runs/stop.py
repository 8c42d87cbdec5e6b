"""A training run that is told to stop: by Ctrl-C, by the system, by a terminal that is closed."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ssd_common.output.console import quoted
from ssd_common.runs.folder import RunFolder

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
AGAIN = 0.5
"""Seconds within which two signals are one wish: `timeout` and a closed terminal send two. Two Ctrl-C are two."""


class Stopped(KeyboardInterrupt):
    """The training run has stopped, as it was told to; `code` is the exit code that is usual for the signal."""

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.name, self.code = signal.Signals(number).name, 128 + number


class Stop:
    """Whether a signal has come, and whether there is a step at work whose end it waits for."""

    def __init__(self) -> None:
        self.signal = 0
        self.waits = False
        self.is_silent = False
        self._asked_at = 0.0

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.signal:
            raise Stopped(self.signal)

    def ask(self, number: int, _: object = None) -> None:
        """Take a signal: stop at the end of the step at work, or else at once. A later signal ends the process."""
        if self.signal:
            if number == self.signal == signal.SIGINT or time.monotonic() - self._asked_at > AGAIN:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self.signal, self._asked_at = number, time.monotonic()
        if not self.waits:
            self.check()
        if self.is_silent:
            return
        with suppress(OSError):  # not print: the signal may have come in the middle of it
            os.write(2, b"\ntinyssd: stopping after this step; a second signal ends the program at once\n")


@contextmanager
def stoppable(run: RunFolder, flags: Sequence[str] = ()) -> Iterator[Stop]:
    """Give the `Stop` for `train_run`: SIGINT, SIGTERM and SIGHUP save the run and say how it goes on.

    A signal that the process ignores (`nohup`) stays ignored. To be called in the main thread.

    Args:
        run: the folder that is written.
        flags: of the command that resumes, besides the folder.

    Raises:
        Stopped: a signal came, and the weights are saved.
    """
    with stop_signals() as stop:
        try:
            yield stop
        except Stopped as stopped:
            with suppress(OSError):  # a terminal that is gone takes no line
                run.log(f"stopped by {stopped.name}; saved: {run.saved or 'nothing'}")
            command = " ".join(["tinyssd train --resume", quoted(str(run.path)), *map(shlex.quote, flags)])
            told = f"stopped by {stopped.name}" + (f"; to go on: {command}" if run.saved else "")
            raise Stopped(stop.signal, told) from None


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Give the `Stop` that SIGINT, SIGTERM and SIGHUP ask; one that the process ignores stays ignored."""
    stop = Stop()
    before = {name: signal.getsignal(name) for name in SIGNALS}
    for name, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(name, stop.ask)
    try:
        yield stop
    finally:
        if not stop.signal:  # otherwise the next signal still ends the process at once
            for name, handler in before.items():
                signal.signal(name, handler)
