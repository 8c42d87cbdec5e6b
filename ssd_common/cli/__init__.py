"""The command line: `tinyssd train | launch | eval | predict | compare | convert | export | data | info`."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from contextlib import suppress
from itertools import pairwise

import tyro

from ssd_common.cli import data
from ssd_common.cli.anchors import anchors
from ssd_common.cli.comparison import compare
from ssd_common.cli.export import export
from ssd_common.cli.flags import PROGRAM
from ssd_common.cli.inference import evaluate, predict
from ssd_common.cli.launching import launch
from ssd_common.cli.tools import convert, info
from ssd_common.cli.training import train
from ssd_common.errors import InputError
from ssd_common.output.console import printable

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate", "larger than 2^31 elements")
"""What PyTorch and MXNet say, each as a `RuntimeError`, in lower case; the last is MXNet's limit of one array."""
DESCRIPTION = "One object detector, the single shot multibox detector (SSD), written in PyTorch and in MXNet."


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a check failed, 2 bad usage or bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with an image, this program says itself
    os.environ["MPLBACKEND"] = "agg"  # figures are files here, whatever a notebook has asked matplotlib for
    try:
        _check_current_folder()
        _check_none_is_empty(arguments)
        code = _commands().cli(prog=PROGRAM, description=DESCRIPTION, args=[a for a in arguments if a != "--debug"])
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        message = _message(error)
        if message is None:
            raise
        if debug:
            traceback.print_exc()
        else:
            _say(message)
        code = 2
    except KeyboardInterrupt as interrupt:  # or `Stopped`
        _say(str(interrupt) or "interrupted")
        code = getattr(interrupt, "code", 130)
    sys.exit(code)


def _check_current_folder() -> None:
    """Raise InputError if the current folder was removed: the frameworks cannot be loaded then, and do not say why."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(f"the current folder cannot be used ({error.strerror}): cd to another one") from None


def _check_none_is_empty(arguments: list[str]) -> None:
    """Raise InputError for an empty argument: as a path it would be the current folder, as a dataset the default."""
    for before, argument in pairwise(["", *arguments]):
        flag, equals, value = argument.partition("=")
        if not argument or (argument.startswith("--") and equals and not value):
            where = f"{flag} is empty" if flag else f"the argument after {before or PROGRAM} is empty"
            raise InputError(f"{where}; is a variable of the shell not set?")


def _say(message: str) -> None:
    """Print the line of an error."""
    if sys.stderr is not None:  # None is one that was closed when the program began
        with suppress(OSError):  # a terminal that is gone
            print(f"{PROGRAM}: {printable(message, sys.stderr.encoding)}", file=sys.stderr)


def _commands() -> tyro.extras.SubcommandApp:
    """Return the verbs of the command line."""
    command = tyro.extras.SubcommandApp()
    for name, verb in (
        ("train", train),
        ("launch", launch),
        ("eval", evaluate),
        ("predict", predict),
        ("compare", compare),
        ("convert", convert),
        ("export", export),
        ("info", info),
    ):
        command.command(name=name)(verb)
    data_command = tyro.extras.SubcommandApp()
    data_command.command(name="list", is_default=True)(data.list_data)
    data_command.command(name="check")(data.check)
    data_command.command(name="show")(data.show)
    data_command.command(name="convert")(data.convert)
    data_command.command(name="anchors")(anchors)
    command.command(data_command, name="data", help="List, check, show and convert datasets, or fit anchors to one.")
    return command


def _message(error: Exception) -> str | None:
    """Return the line that tells a user what to fix, or None for a defect of the program."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        hint = "; make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return (f"{error.filename}: {error.strerror}" if error.filename else str(error)) + hint
    if isinstance(error, MemoryError) or any(text in str(error).lower() for text in OUT_OF_MEMORY):
        return "out of memory; a smaller --batch-size or --image-size, where the command has it, needs less"
    return None
