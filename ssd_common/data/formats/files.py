"""The files of a dataset: which of a folder's count, how they are called, and their content within bounds."""

from __future__ import annotations

import codecs
import os
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ssd_common.data.transforms import SUFFIXES

MAX_BYTES = 1 << 26
"""Of a file of text that is read whole; no annotation, list or table of names has 64 MiB."""


def normal(name: str) -> str:
    """Return a name in the one form (NFC) in which names are compared: macOS and some archives write another (NFD)."""
    return unicodedata.normalize("NFC", name)


def rough(name: str) -> str:
    """Return a name without folders, image suffix, %20 and upper case: names alike have the same."""
    base = unquote(normal(name)).replace("\\", "/").rpartition("/")[2].strip().casefold()
    start, dot, end = base.rpartition(".")
    return start if dot + end in SUFFIXES else base


def stem(path: Path, folder: Path) -> str:
    """Return what a file is called in a folder, without its extension: "a", "camera 2/a"."""
    return normal(path.relative_to(folder).with_suffix("").as_posix())


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without what macOS leaves there and other hidden files; [] if it is none."""
    names = os.listdir(folder) if folder.is_dir() else ()
    return [folder / name for name in sorted(names) if not _is_hidden(name)]


def file_names(folder: Path, suffixes: Collection[str]) -> list[str]:
    """Return the names of the files in a folder, sorted, as `listed`, with these suffixes in any case; opens none."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        named = (entry for entry in entries if os.path.splitext(entry.name)[1].lower() in suffixes)
        return sorted(entry.name for entry in named if not _is_hidden(entry.name) and not _is_folder(entry))


def files_below(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files in a folder and those below it, sorted, as `listed`; with these suffixes in any case, if any."""
    return sorted(path for path in _walk(folder) if not suffixes or path.suffix.lower() in suffixes)


def _walk(folder: Path) -> Iterator[Path]:
    seen = {os.path.realpath(folder)}
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [n for n in sorted(folders) if not _is_hidden(n) and _leads_on(f"{root}/{n}", seen)]
        yield from (Path(root, name) for name in names if not _is_hidden(name))


def _leads_on(path: str, seen: set[str]) -> bool:
    """Return whether a folder is no link, or one that leads neither back nor where another one led before."""
    if not os.path.islink(path):
        return True
    target, inside = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
    known = target in seen or f"{inside}/".startswith(f"{target.rstrip('/')}/")
    seen.add(target)
    return not known


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
    """Return the text of a file in UTF-8, or in UTF-16 if it begins so; raise OSError for any other."""
    return decoded(read_bytes(path))


def decoded(content: bytes) -> str:
    """Return the text of a file's content, as `read_text`."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as Windows PowerShell writes
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(f"byte {error.start + 1} is not UTF-8: save the file as UTF-8") from error
