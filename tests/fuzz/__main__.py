"""Damage files and read them, in a process of its own: `python -m tests.fuzz "config.toml" --files 500 --seed 0`.

Prints a line for every file on which the parser did anything but read it or refuse it in one line, within bounds;
`--only N` damages file N alone, and `--keep DIR` leaves it there.
"""

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from ssd_common.errors import InputError

from .mutations import damage
from .parsers import PARSERS

SECONDS = 2
"""Most time of the processor for a file."""
BYTES = 500 << 20
"""Most memory for a file."""
LARGEST = 1 << 20
"""The bounds hold for files up to this size; weights of the network itself are larger."""
LONGEST = 1500
"""Most characters of a message, behind the name of the folder."""
GIVE_UP = 10
"""Findings after which no more are looked for."""


class TooSlowError(BaseException):
    """Raised in the middle of a parser that is still at it."""


def stop(signal_number, frame):
    raise TooSlowError


def memory(field):
    """Return memory of this process in bytes: VmRSS now, VmHWM at its peak since `forget_peak`."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) << 10


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def damaged_files(good, folder, parser, seed, number):
    """Copy the good files and damage one of them; return its name."""
    rng = np.random.default_rng([seed, number])
    shutil.copytree(good, folder)
    pattern = parser.damaged[rng.integers(len(parser.damaged))]
    files = sorted(folder.glob(pattern))
    path = files[rng.integers(len(files))]
    path.write_bytes(damage(path.read_bytes(), rng, parser.kind))
    name = str(path.relative_to(folder))
    if (folder / "damaged").exists():
        (folder / "damaged").write_text(name)
    return name


def finding(folder, parser, expected):
    """Read the files; return what is wrong with how the parser took them, or None."""
    forget_peak()
    before, begin, wrong = memory("VmRSS"), time.process_time(), None
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    try:
        found = parser.read(folder)
        if parser.checksum and found != expected:
            wrong = "silently changed"
    except InputError as error:
        message = str(error).replace(str(folder), "")
        if "\n" in message or len(message) > LONGEST:
            wrong = f"message of {len(message)} characters, {message.count(chr(10)) + 1} lines: {message[:100]!r}"
    except TooSlowError:
        wrong = f"more than {2 * SECONDS} s"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        wrong = f"{type(error).__name__}: {str(error)[:100]!r} at {place.filename}:{place.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds, peak = time.process_time() - begin, memory("VmHWM") - before
    if wrong is None and seconds > SECONDS:
        wrong = f"{seconds:.1f} s"
    if wrong is None and peak > BYTES:
        wrong = f"{peak >> 20} MB"
    return wrong


def run(name, numbers, seed, keep=None):
    """Damage one file after the other and return a line for each finding."""
    parser, lines = PARSERS[name], []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as parent:
        good = Path(parent) / "good"
        good.mkdir()
        parser.make(good)
        expected = parser.read(good)  # before the bound of memory is set: what it imports stays
        bound = memory("VmSize") + 4 * BYTES
        resource.setrlimit(resource.RLIMIT_AS, (bound, resource.RLIM_INFINITY))
        signal.signal(signal.SIGPROF, stop)
        for number in numbers:
            folder = Path(parent) / "files"
            damaged = damaged_files(good, folder, parser, seed, number)
            if parser.seal:
                parser.seal(folder)
            bounded = parser.checksum or (folder / damaged).stat().st_size <= LARGEST
            if bounded and (wrong := finding(folder, parser, expected)):
                lines.append(f"{name}, seed {seed}, file {number} ({damaged}): {wrong}")
            if keep:
                shutil.copytree(folder, keep, dirs_exist_ok=True)
            shutil.rmtree(folder)
            if len(lines) >= GIVE_UP:
                break
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parser", choices=PARSERS)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path)
    flags = parser.parse_args()
    numbers = range(flags.files) if flags.only is None else [flags.only]
    lines = run(flags.parser, numbers, flags.seed, flags.keep)
    print("\n".join(lines), end="\n" if lines else "")
    sys.stdout.flush()
    os._exit(bool(lines))  # at once, whatever a parser left behind


if __name__ == "__main__":
    main()
