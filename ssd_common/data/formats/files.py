"""The files of a dataset: which of a folder's count, how they are called, and their content within bounds."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

MAX_BYTES = 1 << 26
"""Of a file of text that is read whole; no annotation, list or table of names has 64 MiB."""


def normal(name: str) -> str:
    """Return a name in the one form (NFC) in which names are compared: macOS and some archives write another (NFD)."""
    return unicodedata.normalize("NFC", name)


def stem(path: Path, folder: Path) -> str:
    """Return what a file is called in a folder, without its extension: "a", "camera 2/a"."""
    return normal(path.relative_to(folder).with_suffix("").as_posix())


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without what macOS leaves there and other hidden files; [] if it is none."""
    names = os.listdir(folder) if folder.is_dir() else ()
    return [folder / name for name in sorted(names) if not _is_hidden(name)]


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files in a folder, sorted, as `listed`, with these suffixes in any case; it asks no file for more."""
    with os.scandir(folder) as entries:
        named = (entry for entry in entries if os.path.splitext(entry.name)[1].lower() in suffixes)
        names = sorted(entry.name for entry in named if not _is_hidden(entry.name) and not _is_folder(entry))
    return [folder / name for name in names]


def files_below(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files in a folder and those below it, sorted, as `listed`; with these suffixes in any case, if any."""
    return sorted(path for path in _walk(folder) if not suffixes or path.suffix.lower() in suffixes)


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (Path(root, name) for name in names if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()  # isdir bears a link to itself


def lies_outside(name: str) -> bool:
    """Return whether a name in a file leads out of the folder that it is meant for."""
    path = os.path.normpath(name)
    return os.path.isabs(path) or PurePosixPath(path).parts[:1] == ("..",)


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file; raise OSError if it is too long, or a pipe, which would be waited for."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is a folder, a pipe or a device, not a file")
    if path.stat().st_size > max_bytes:
        raise OSError(f"more than {max_bytes:,} bytes")
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; raise UnicodeDecodeError, or OSError as `read_bytes`."""
    return read_bytes(path).decode("utf-8-sig")
