"""One writer for a folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssd_common.errors import InputError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: a file in it that names the process, and that is taken away again.

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
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the holder before took this file away between our two steps
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} ({' '.join(sys.argv)[:300]})\n".encode(errors="replace"))
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
