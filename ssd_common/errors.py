"""The one exception that means "the user can fix this", and words for other errors and for files in another's place."""

from __future__ import annotations

STAND_INS = {
    b"version https://git-lfs": "a Git LFS pointer: run git lfs pull",
    b"<!doctype html": "a web page: download the file again",
    b"<html": "a web page: download the file again",
    b"pk\3\4": "a zip archive: unpack it",
    b"\x1f\x8b": "a gzip archive: unpack it",
}
"""What is often found where another file should be, by its first bytes, in lower case."""


class InputError(ValueError):
    """Bad usage or bad input, told in one line.

    The message names what is wrong (which file, which row, which value) and what to do. The command line prints it
    without a traceback and exits with 2; a caller in Python catches it as a `ValueError`.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines that a notebook prints: IPython asks the exception itself."""
        return [f"{type(self).__name__}: {self}"]


def one_line(error: Exception) -> str:
    """Return what an error says, in one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def stand_in(start: bytes) -> str:
    """Return what a file is, and what to do about it, if it is one of those that are often found in another's place.

    Args:
        start: its first bytes, 20 or more.

    Returns:
        "a web page: download the file again"; nothing for any other file.
    """
    start = start[:80].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return next((words for beginning, words in STAND_INS.items() if start.startswith(beginning)), "")
