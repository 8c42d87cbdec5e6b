"""The first bytes of a weights file, which say of which kind it is."""

from __future__ import annotations

from pathlib import Path

from ssd_common.errors import InputError, stand_in

LENGTH = 100
"""As many as `stand_in` needs."""


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a weights file.

    Raises:
        InputError: the file is missing, empty, cannot be read, is a folder, a pipe or a device, or is something else
            that often stands in the place of one.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder; name a file, in the folder of a training run weights/best.safetensors")
    if not path.is_file():
        raise InputError(f"{path}: {'a pipe or a device, not a file' if path.exists() else 'no such weights file'}")
    try:
        with path.open("rb") as file:
            start = file.read(LENGTH)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    is_zip = start.startswith(b"PK")  # as torch.save writes one
    other = "" if is_zip else "empty: take another copy" if not start else stand_in(start)
    if other:
        raise InputError(f"{path}: not a weights file, but {other}")
    return start
