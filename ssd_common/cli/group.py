"""The flag `--distributed` of the verbs `train`, `eval` and `predict`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ssd_common.errors import InputError

if TYPE_CHECKING:
    from ssd_common.group import Group

LAUNCHER_SAYS_IT = 2.0
"""Seconds in which a launcher that sees why another process has ended says so, and ends this one."""


@contextmanager
def joined(distributed: bool, backend: str | None, device: str) -> Iterator[tuple[Group, str | None]]:
    """Give the processes that work together, and their framework: `ALONE` and `backend`, unless they are distributed.

    What ends the work is said by process 0: the other processes end without a word. A process that fails by itself,
    in a way that process 0 cannot know, says so.

    Args:
        distributed: whether a launcher has started them.
        backend: that of the command line, if it names one.
        device: as on the command line.
    """
    from ssd_common.backends import load_backend
    from ssd_common.group import ALONE, LostError, SharedError, launched

    launcher = launched(os.environ)
    if distributed and not launcher:
        raise InputError("--distributed: no launcher has started this process; use tinyssd launch, or torchrun")
    if distributed and backend not in (None, launcher):
        raise InputError(f"--backend {backend}: the launcher is that of {launcher}; leave --backend out")
    if launcher and not distributed and os.environ.get("WORLD_SIZE") != "1":
        if os.environ.get("RANK", "0") != "0":
            raise SystemExit(2)  # the first process says it
        raise InputError("several processes were started, and each would work by itself; add --distributed")
    if not distributed:
        yield ALONE, backend
        return
    engine = load_backend(launcher)
    where, rank = engine.data.get_device(device), int(os.environ.get("RANK", "0"))
    try:
        group = engine.distributed.join(where)
        rank = group.rank
        yield group, launcher
    except (LostError, KeyboardInterrupt) as ended:
        if rank == 0:
            if isinstance(ended, LostError):
                time.sleep(LAUNCHER_SAYS_IT)
            raise
        raise SystemExit(getattr(ended, "code", 2)) from None
    except SharedError:
        engine.distributed.leave(group)  # the others leave, too
        if group.rank == 0:
            raise
        return  # and exit with 0: a launcher that saw a failure would end process 0 before it has said it
    engine.distributed.leave(group)
