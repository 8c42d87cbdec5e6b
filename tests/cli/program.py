"""The program, run in this process."""

import pytest

from ssd_common.cli import main


def tinyssd(arguments):
    """Return the exit code of a command line; words are separated by spaces."""
    with pytest.raises(SystemExit) as done:
        main(arguments.split())
    return done.value.code
