"""One writer for a folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ssd_common.errors import InputError
from ssd_common.output.atomic import naming

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a folder: a file in it that names the process, and that is taken away again.

    Gives a function that raises InputError if the folder, or the lock in it, is not there any more: it was removed or
    renamed, and another process may be the writer of a new one in its place. To be called before each write.

    The system lets go of the lock when the process ends, however it ends; the file that is left then stops nobody.

    Raises:
        InputError: another process holds it; the message names the process.
    """
    path = folder / NAME
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 500).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise InputError(f"{folder}: {holder} is writing to this folder; wait for its end, or stop it") from None
        except OSError as error:  # of a network, often
            os.close(descriptor)
            problem = f"cannot be locked ({error.strerror}): its file system has no locks; use a folder on another disk"
            raise InputError(f"{path}: {problem}") from None
        if _is_at(path, descriptor):
            break
        os.close(descriptor)  # the holder before took this file away between our two steps

    def check() -> None:
        if not _is_at(path, descriptor):
            raise InputError(
                f"{folder}: the folder, or {NAME} in it, was removed or renamed while this process was writing to it: "
                "nothing more is written; a renamed folder has everything up to the last save"
            )

    try:
        with naming(path):
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} ({' '.join(sys.argv)[:300]})\n".encode(errors="replace"))
        yield check
    finally:
        if _is_at(path, descriptor):
            path.unlink()
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
