"""The names of classes, where a format has no place for them: `classes.txt`, one name a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd_common.data.formats.files import normal, read_lines
from ssd_common.errors import InputError
from ssd_common.output.console import visible

FILE_NAME = "classes.txt"


def read_class_names(path: Path) -> tuple[str, ...] | None:
    """Return the names of class ids 0, 1, … in a file; None if there is no such file.

    Raises:
        InputError: the file cannot be read, has no name, or has one twice.
    """
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: not a readable text file ({error}): write one class name a line") from error
    return checked_class_names([clean_name(line) for line in lines if line.strip()], str(path))


def checked_class_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names; raise InputError if there is none, an empty one, or one twice."""
    if not names:
        raise InputError(f"{where}: no class names; name at least one class")
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            problem = "given twice" if name else "empty"
            raise InputError(f"{where}: class name '{name[:80]}' is {problem}; name each once")
        seen.add(name)
    return tuple(names)


def clean_name(name: str) -> str:
    """Return a class name on one line, in one Unicode form, with an escape for what cannot be shown."""
    return visible(normal(" ".join(name.split())))


def numbered_classes(count: int) -> tuple[str, ...]:
    """Return names for classes that have none: "class 0", "class 1", …"""
    return tuple(f"class {i}" for i in range(count))
