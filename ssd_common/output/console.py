"""Lines, numbers and progress bars on the console."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

MISSING = "–"
HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
"""Control characters (a terminal obeys them), marks that turn the writing direction, letters that nobody sees, and
bytes that are no UTF-8."""


def format_number(value: float | str | None, spec: str = ".1e") -> str:
    """Return a number as the tables print it: "2.3e-13", 0 as "0", None as "–", otherwise "nan", "inf" or "-inf".

    With the default `spec` a whole number below 10,000 is printed whole: it is a count, or exactly zero. A string is
    read as a number, because `write_json` writes one for what is not finite.
    """
    if value is None:
        return MISSING
    number = float(value)
    if spec == ".1e" and number.is_integer() and abs(number) < 10_000:
        return str(int(number))
    return format(number, spec)


def progress_bar(console: Console, label: str) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Return a function that passes items on, with a bar on a terminal and without one elsewhere.

    The items have a length; they are asked for one by one.
    """

    def show(items: Iterable[Any]) -> Iterator[Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            yield from progress.track(items, description=label)

    return show


def new_console(lasting: bool = False) -> Console:
    """Return the console that results are printed to; a file or a pipe is as wide as the widest table.

    Args:
        lasting: do not fail when standard output does: its terminal or pipe is closed, its disk is full.
    """
    # Without emoji=False, the middle of voc:v:train is a hand. A closed standard output is None.
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    file = _Lasting(sys.stdout) if lasting and sys.stdout else None
    return Console(file=file, emoji=False, width=None if is_terminal else 110)  # type: ignore[arg-type]


class _Lasting:
    """A stream, and nothing instead of it from its first error on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        return self._try(lambda: self._stream.write(text))

    def flush(self) -> None:
        """Write what is not written yet."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError:  # of this and of everything that is written later, by Python at its end, too
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())


def visible(text: str) -> str:
    """Return a text with what cannot be shown as its escape: "\\x1b" for the character that begins a colour."""
    return HIDDEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    # A byte that is no UTF-8 came from the file system as U+DC00 + byte.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(match[0])[1:-1]


def quoted(path: str) -> str:
    """Return a path as a shell takes it on a command line: a name that begins like a flag, or cannot be shown, too."""
    path = f"./{path}" if path.startswith("-") else path
    if visible(path) == path:
        return shlex.quote(path)
    return "$'" + visible(path.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def printable(text: str, encoding: str | None) -> str:
    """Return a text as a console of an encoding can show it: `visible`, and an escape where there is no such letter."""
    encoding = encoding or "utf-8"
    return visible(text).encode(encoding, "backslashreplace").decode(encoding)


def print_lines(lines: Iterable[str], console: Console | None = None) -> None:
    """Print lines as they are: no markup, no colours, not broken at the console's width, but `printable`."""
    console, lines = console or new_console(), iter(lines)
    while part := list(islice(lines, 1000)):  # one by one, 100,000 take 4 s
        text = "\n".join(printable(line, console.encoding) for line in part)
        console.print(text, highlight=False, markup=False, soft_wrap=True)
