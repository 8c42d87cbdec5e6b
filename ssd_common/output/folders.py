"""Whether a path can be written to, before any work is done."""

from __future__ import annotations

import os
from pathlib import Path

from ssd_common.errors import InputError


def check_output_folder(path: Path) -> None:
    """Raise InputError if `path`, or a folder above it, is a file, or is not to be written to."""
    for part in (path, *path.parents):
        if part.is_symlink() and not part.exists():
            raise InputError(f"--out {path}: {part} is a link to {part.readlink()}, which is not there; name a folder")
        if part.exists() and not part.is_dir():
            raise InputError(f"--out {path}: {part} is a file; name a folder")
    _check_permission(f"--out {path}", path)


def check_file(flag: str, path: Path | None) -> None:
    """Raise InputError, before any work is done, if the file to be written is a folder, or where none can be made."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{flag} {path}: a folder; name a file")
    for part in path.parents:
        if part.exists() and not part.is_dir():
            raise InputError(f"{flag} {path}: {part} is a file, not a folder")
    if path.is_file() or not path.exists():  # not a device, such as /dev/stdout
        _check_permission(f"{flag} {path}", path.parent)


def _check_permission(what: str, folder: Path) -> None:
    """Raise InputError if nothing can be made in a folder, or in the first one above it that is there."""
    there = next((part for part in (folder, *folder.parents) if part.exists()), folder)
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{what}: {there} cannot be written to (no permission); name another folder")
