"""What the notebooks show: source code, and figures with captions. Needs IPython, which Jupyter brings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from IPython.display import Code, Image, Markdown, display


def show_source(*objects: Any) -> None:
    """Show the source of functions and classes as it stands in their files, highlighted, its place above it."""
    for thing in objects:
        lines, first = inspect.getsourcelines(thing)
        module = inspect.getmodule(thing)
        name = module.__name__.replace(".", "/") if module else "?"
        display(Markdown(f"`{name}.py`, lines {first}–{first + len(lines) - 1}"))
        display(Code("".join(lines), language="python"))


def show_figure(save: Callable[..., None], *args: Any, caption: str, **kwargs: Any) -> None:
    """Show the picture that a function of `ssd_common.plotting` writes, with a caption under it.

    Args:
        save: such a function; its first parameter is the path of the PNG.
        *args: its other arguments.
        caption: what is to be seen, in a sentence; it is the alternative text, too.
        **kwargs: its keyword arguments.
    """
    display(Image(_png(save, *args, **kwargs), alt=caption))
    display(Markdown(f"*{caption}*"))


def _png(save: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:
    """Return the bytes of the PNG that a function writes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        save(path, *args, **kwargs)
        return path.read_bytes()
