"""The files of a dataset: which of a folder's count, how they are called, and their content within bounds."""

from __future__ import annotations

import codecs
import io
import os
import unicodedata
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ssd_common.data.transforms import SUFFIXES
from ssd_common.errors import stand_in

MAX_BYTES = 1 << 26
"""Of a file of text that is read whole; no annotation, list or table of names has 64 MiB."""
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".rar", ".7z")


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
    """Return the content of a file; raise OSError if it is too long, a `stand_in`, or a pipe, which would wait."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is a folder, a pipe or a device, not a file")
    if path.stat().st_size > max_bytes:
        raise OSError(f"more than {max_bytes:,} bytes")
    content = path.read_bytes()
    if other := stand_in(content[:100]):
        raise OSError(f"it is {other}")
    return content


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 if it begins so; raise OSError for any other."""
    return decoded(read_bytes(path))


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file; unlike `splitlines`, a line may have a U+2028 or a form feed in it."""
    return [line.rstrip("\n") for line in io.StringIO(read_text(path), newline=None)]


def decoded(content: bytes) -> str:
    """Return the text of a file's content, as `read_text`."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as Windows PowerShell writes
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(f"byte {error.start + 1} is not UTF-8: save the file as UTF-8") from error
    if (place := text.find("\0")) >= 0:  # UTF-16 without its mark, or what a crash left
        raise OSError(f"character {place + 1} is a zero, which no text has: save the file as UTF-8")
    return text


def elsewhere(folder: Path, whole: Callable[[Path], bool] = lambda _: False) -> str:
    """Return the end of a message about a folder that is missing or lacks a part: where it seems to be.

    Args:
        folder: the folder.
        whole: whether another folder has all that this one should have.
    """
    if folder.is_dir():
        inside = next((path for path in listed(folder) if path.is_dir() and whole(path)), None)
        return f"; {inside} has them: name that folder" if inside else ""
    packed = (path for path in (folder, *listed(folder.parent)) if path.name.lower().endswith(PACKED))
    beside = next((path for path in packed if path.is_file() and path.name.startswith(folder.name)), None)
    return f"; unpack {beside}" if beside else ""
