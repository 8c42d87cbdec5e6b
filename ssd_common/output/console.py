"""Lines, numbers and progress bars on the console."""

from __future__ import annotations

import re
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


def new_console() -> Console:
    """Return the console that results are printed to; a file or a pipe is as wide as the widest table."""
    from rich.console import Console

    # Without emoji=False, the middle of voc:v:train is a hand.
    return Console(emoji=False, width=None if sys.stdout and sys.stdout.isatty() else 110)


def visible(text: str) -> str:
    """Return a text with what cannot be shown as its escape: "\\x1b" for the character that begins a colour."""
    return HIDDEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    # A byte that is no UTF-8 came from the file system as U+DC00 + byte.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(match[0])[1:-1]


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
