"""Whether a path can be written to, before any work is done."""

from __future__ import annotations

from pathlib import Path

from ssd_common.errors import InputError


def check_output_folder(path: Path) -> None:
    """Raise InputError if `path`, or a folder above it, is a file."""
    for part in (path, *path.parents):
        if part.is_symlink() and not part.exists():
            raise InputError(f"--out {path}: {part} is a link to {part.readlink()}, which is not there; name a folder")
        if part.exists() and not part.is_dir():
            raise InputError(f"--out {path}: {part} is a file; name a folder")


def check_file(flag: str, path: Path | None) -> None:
    """Raise InputError, before any work is done, if the file to be written is a folder, or inside of a file."""
    if path is not None and path.is_dir():
        raise InputError(f"{flag} {path}: a folder; name a file")
    for part in path.parents if path is not None else ():
        if part.exists() and not part.is_dir():
            raise InputError(f"{flag} {path}: {part} is a file, not a folder")
