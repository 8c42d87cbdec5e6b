"""Lines, numbers and progress bars on the console."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

MISSING = "–"


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
    return Console(emoji=False, width=None if sys.stdout.isatty() else 110)


def print_lines(lines: Iterable[str], console: Console | None = None) -> None:
    """Print lines as they are: no markup, no colours, not broken at the console's width."""
    console = console or new_console()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
