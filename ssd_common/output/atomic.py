"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | os.PathLike[str], payload: bytes) -> None:
    """Write a file so that a reader, or a crash, finds all of the old bytes or all of the new; make missing folders.

    Args:
        path: the file; of a link, the file that it leads to. A pipe or a device is written to.
        payload: its whole content.

    Raises:
        OSError: as the file system says; the old file is still there.
    """
    with open_atomically(path) as file:
        file.write(payload)


@contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write to that takes the place of `path` if the context ends well; see `write_atomically`."""
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as file:
            yield file
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # the same folder: a rename cannot cross disks
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
