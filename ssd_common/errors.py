"""The one exception that means "the user can fix this"."""

from __future__ import annotations


class InputError(ValueError):
    """Bad usage or bad input, told in one line.

    The message names what is wrong (which file, which row, which value) and what to do. The command line prints it
    without a traceback and exits with 2; a caller in Python catches it as a `ValueError`.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines that a notebook prints: IPython asks the exception itself."""
        return [f"{type(self).__name__}: {self}"]
