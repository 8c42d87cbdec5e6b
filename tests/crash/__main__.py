"""Kill training runs and let them go on: `python -m tests.crash torch --kills 200 --seed 0`.

Each run is a fork of this process, which has imported the framework but not computed. A third of the kills comes at a
random moment, a third when a file is written (half of it, all of it, renamed), a third is a signal that asks to stop.
Half of the runs that go on are killed again. Prints a table, and a line for each run that is not as it should be.
"""

import argparse
import itertools
import mmap
import os
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ssd_common import cli
from ssd_common.backends import load_backend
from ssd_common.checkpoints.checkpoint import load_checkpoint
from ssd_common.config import read_run_config
from ssd_common.data.synthetic import scenes
from ssd_common.errors import InputError
from ssd_common.figures import canvas, detections
from ssd_common.output.atomic import write_atomically
from ssd_common.runs import folder as run_folder

CONFIG = """
[model]
image_size = 64
[train]
batch_size = 2
epochs = 3
lr = 0.02
momentum = 0.9
schedule = "one-cycle"
"""
FLAGS = ["--limit", "5", "--augment", "ssd", "--device", "cpu"]  # three steps an epoch
EPOCH = 3
UNTIMED = [name for name in run_folder.COLUMNS if name not in ("examples_per_second", "data_seconds")]
ASKED = {128 + number: number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
KINDS = ("random", "aimed", "asked")
FAULTS = ("unreadable", "lost more", "left over", "different", "exit code")


class Killer:
    """Ends this process at one of the steps in which files are written, counted from 0; counts them on the way."""

    def __init__(self, shared, aim, moment):
        self.shared, self.aim, self.moment, self.count = shared, aim, moment, 0
        self.fsync, self.replace = os.fsync, os.replace
        os.fsync, os.replace = self.on_fsync, self.on_replace

    def on_fsync(self, descriptor):
        if self.count == self.aim and self.moment == "half":
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        self.step(lambda: self.fsync(descriptor))

    def on_replace(self, *paths):
        self.step(lambda: self.replace(*paths))

    def step(self, do):
        is_aim = self.count == self.aim
        self.count += 1
        write(self.shared, 1, self.count)
        if is_aim and self.moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        do()
        if is_aim:
            os.kill(os.getpid(), signal.SIGKILL)


def write(shared, place, number):
    struct.pack_into("q", shared, 8 * place, number)


def read(shared, place):
    return struct.unpack_from("q", shared, 8 * place)[0]


def make_light(name):
    """Import and make once what each fork would import and make anew, and render no figure: it is only written."""
    scenes.SPLITS["val"], detections.PICTURES_SHOWN = 2, 1
    canvas.write_figure = lambda figure, path: write_atomically(path, b"a figure")
    if name == "torch":
        import torch

        torch.optim.SGD([torch.zeros(1)], 0.1)  # the first imports the compiler


class Lab:
    """Runs the program in forks."""

    def __init__(self, name, base, seed):
        self.backend, self.base, self.rng = load_backend(name), base, np.random.default_rng(seed)
        make_light(name)
        self.shared = mmap.mmap(-1, 16)  # the steps that are trained, and those of writing files
        (base / "tiny.toml").write_text(CONFIG)
        start = time.monotonic()
        self.run(["--config", base / "tiny.toml", *FLAGS, "--out", base / "whole", "--save-every", "1e-9"])
        self.seconds, self.writes = time.monotonic() - start, read(self.shared, 1)
        self.expected = self.state(base / "whole")

    def run(self, arguments, kind=None):
        """Run the program until its end, or until it is killed; return its exit code, below 0 if it was killed."""
        aim, moment = int(self.rng.integers(1, self.writes)) if kind == "aimed" else -1, None
        moment = str(self.rng.choice(["half", "before", "after"]))
        delay = float(self.rng.uniform(0, self.seconds)) if kind in ("random", "asked") else None
        number = signal.SIGKILL if kind == "random" else ASKED[int(self.rng.choice(list(ASKED)))]
        write(self.shared, 0, 0)
        pid = os.fork()
        if not pid:
            self.child([str(argument) for argument in arguments], aim, moment)
        if delay is not None:
            time.sleep(delay)
            os.kill(pid, number)  # not waited for yet, so it is still there
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def child(self, arguments, aim, moment):
        code = 128 + signal.SIGINT  # of a Ctrl-C before `main`: Python itself ends by the signal
        try:
            for number in ASKED.values():  # whatever a shell has set for what it runs in the background
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            output = os.open(self.base / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            Killer(self.shared, aim, moment)
            step = self.backend.train.train_step

            def train_step(*args):
                metrics = step(*args)
                float(metrics["cls_loss"])  # MXNet has only begun
                write(self.shared, 0, read(self.shared, 0) + 1)
                return metrics

            self.backend.train.train_step = train_step
            code = 1  # of an error that `main` lets through, a Ctrl-C too
            cli.main(["train", "--backend", self.backend.name, *arguments])
        except SystemExit as done:
            code = done.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def state(self, path):
        """Return all that a finished run must have the same, and the names of its files."""
        last = load_checkpoint(path / run_folder.LAST)
        rows = [[row[name] for name in UNTIMED] for row in run_folder.read_rows(path / "results.csv")]
        files = sorted(str(file.relative_to(path)) for file in path.rglob("*"))
        best = load_checkpoint(path / "weights" / "best.safetensors")
        arrays = {f"{kind} {n}": v for kind in ("weights", "velocity") for n, v in getattr(last, kind).items()}
        arrays |= {f"best {name}": value for name, value in best.weights.items()}
        arrays["rows"] = np.array(rows)
        return arrays, files

    def killed(self, path, arguments, kind, begun, interval):
        """Kill a run once; return what is wrong with what it left, if anything, and how many steps its weights have."""
        code = self.run(arguments, kind)
        trained, faults, saved = begun + read(self.shared, 0), [], 0
        try:
            if (path / run_folder.CONFIG).exists():
                read_run_config(path / run_folder.CONFIG)
            if (path / "results.csv").exists():
                run_folder.read_rows(path / "results.csv")
            for file in path.glob("weights/*.safetensors"):
                step = load_checkpoint(file).step
                saved = step if file.stem == "last" else saved
        except InputError as error:
            faults.append(f"unreadable: {error}")
        if kind == "asked" and code not in (0, *ASKED) and -code not in ASKED.values():
            faults.append(f"exit code: {code}")
        if kind != "asked" and code not in (0, -signal.SIGKILL):
            faults.append(f"exit code: {code}")
        allowed = 0 if code in ASKED else interval
        if trained - saved > allowed:
            faults.append(f"lost more: {trained} steps were trained, {saved} are saved, {allowed} may be lost")
        return faults, saved

    def trial(self, number, kind):
        """Kill a run, and maybe once more when it goes on; return its kinds of death and what was wrong."""
        path = self.base / f"run-{number}"
        every, interval = (("0", EPOCH), ("1e-9", 1))[self.rng.integers(2)]
        fresh = ["--config", self.base / "tiny.toml", *FLAGS, "--out", path, "--save-every", every]
        again = ["--resume", path, "--device", "cpu", "--save-every", every]

        def command():
            return again if (path / run_folder.CONFIG).exists() else fresh

        kinds = [kind]
        faults, saved = self.killed(path, fresh, kind, 0, interval)
        if self.rng.random() < 0.5 and not all((path / name).exists() for name in run_folder.IMAGES):
            kinds.append(str(self.rng.choice(KINDS)))
            more, _ = self.killed(path, command(), kinds[-1], saved, interval)
            faults += more
        is_finished = all((path / name).exists() for name in run_folder.IMAGES)
        code = self.run(command())
        if code != (2 if is_finished else 0):
            faults.append(f"exit code: {code} of the run that went on")
        try:
            arrays, files = self.state(path)
        except InputError as error:
            return kinds, [*faults, f"unreadable: {error}"]
        if files != self.expected[1]:
            faults.append(f"left over: {set(files) ^ set(self.expected[1])}")
        wrong = [n for n, value in self.expected[0].items() if not np.array_equal(arrays.get(n), value)]
        return kinds, faults + ([f"different: {wrong[:3]}"] if wrong else [])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("backend", choices=("torch", "mxnet"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    died, count = dict.fromkeys(KINDS, 0), dict.fromkeys(FAULTS, 0)
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        lab = Lab(flags.backend, Path(folder), flags.seed)
        for number in itertools.count():
            kinds, faults = lab.trial(number, KINDS[number % len(KINDS)])
            for kind in kinds:
                died[kind] += 1
            for fault in faults:
                count[fault.partition(":")[0]] += 1
                print(f"{flags.backend}, seed {flags.seed}, run {number} ({', '.join(kinds)}): {fault}", flush=True)
            if sum(died.values()) >= flags.kills:
                break
    kills = ", ".join(f"{number} {kind}" for kind, number in died.items())
    print(f"{flags.backend}: {sum(died.values())} kills ({kills}); " + ", ".join(f"{n} {f}" for f, n in count.items()))
    sys.exit(bool(sum(count.values())))


if __name__ == "__main__":
    main()
