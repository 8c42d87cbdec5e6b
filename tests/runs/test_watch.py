"""From step to step: what is saved, what is told, and when a training run stops."""

import dataclasses
import errno
import io
import math
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ssd_common.cli import main
from ssd_common.config import AUGMENTATIONS, Config, RunConfig, TrainConfig
from ssd_common.data import load_dataset
from ssd_common.data.annotated import image_names
from ssd_common.data.dataset import counted
from ssd_common.errors import InputError
from ssd_common.machine import threads
from ssd_common.output.atomic import write_atomically
from ssd_common.output.console import quoted
from ssd_common.runs import watch
from ssd_common.runs.folder import COLUMNS, RunFolder, read_rows
from ssd_common.runs.start import resumed_checkpoint
from ssd_common.runs.stop import Stop, Stopped, stoppable
from ssd_common.runs.train import train_run
from ssd_common.weights import initial_weights
from tests.data.data_cases import voc_object, voc_xml, write_voc
from tests.runs.run_cases import MODEL, SUMS, play

UNTIMED = [name for name in COLUMNS if name not in ("examples_per_second", "data_seconds")]


@pytest.fixture(scope="module")
def weights():
    return initial_weights(MODEL, TrainConfig())


@pytest.fixture
def run(tmp_path):
    with RunFolder(tmp_path / "run", Console(file=io.StringIO(), width=999)) as folder:
        yield folder


def printed(run):
    return run.console.file.getvalue()


def saved_step(run):
    return load_checkpoint(run.path / "weights" / "last.safetensors").step


# Stopped and gone on, in each framework.


def ways(backend, config, tmp_path):
    """Return a function that trains in a folder, from a checkpoint and its rows, up to a step if one is given."""
    data, val = load_dataset("synthetic", limit=5), load_dataset("synthetic:val", limit=2)

    def train(name, start, rows=(), stop_after=0):
        stop, steps = Stop(), 0
        step = backend.train.train_step

        def train_step(*args):
            nonlocal steps
            steps += 1
            if steps == stop_after:
                stop.signal = signal.SIGTERM
            return step(*args)

        with RunFolder(tmp_path / name, Console(quiet=True), rows) as run, pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend.train, "train_step", train_step)
            train_run(backend, run, data, val, start, backend.data.get_device("cpu"), stop=stop)

    return train


def test_a_run_that_is_stopped_inside_an_epoch_goes_on_to_the_same_bits(backend, tmp_path):
    """Three steps an epoch; stopped after the first step, after the first epoch, and inside the second epoch."""
    config = TrainConfig(
        epochs=2, batch_size=2, lr=0.03, momentum=0.9, schedule="one-cycle", augment=AUGMENTATIONS["ssd"]
    )
    begin = Checkpoint(initial_weights(MODEL, config), RunConfig(Config(MODEL, config), data="synthetic"))
    train = ways(backend, config, tmp_path)
    train("whole", begin)
    for stop_after in (1, 2, 2):
        start, rows = resumed_checkpoint(tmp_path / "cut", None) if (tmp_path / "cut").exists() else (begin, [])
        with pytest.raises(Stopped):
            train("cut", start, rows, stop_after)
    start, rows = resumed_checkpoint(tmp_path / "cut", None)
    assert (start.epoch, start.step, len(rows)) == (1, 5, 1)
    train("cut", start, rows)
    for file in ("last", "best"):
        ours, theirs = (load_checkpoint(tmp_path / n / "weights" / f"{file}.safetensors") for n in ("cut", "whole"))
        assert (ours.epoch, ours.step, ours.sums, ours.run) == (theirs.epoch, theirs.step, theirs.sums, theirs.run)
        for kind in ("weights", "velocity"):
            assert getattr(theirs, kind).keys() == getattr(ours, kind).keys()
            for name, value in getattr(theirs, kind).items():
                np.testing.assert_array_equal(getattr(ours, kind)[name], value, err_msg=f"{kind} {name}")
    tables = [read_rows(tmp_path / name / "results.csv") for name in ("cut", "whole")]
    ours, theirs = ([[row[name] for name in UNTIMED] for row in table] for table in tables)
    assert ours == theirs
    assert len(ours) == 2


def test_what_an_unread_validation_image_kept_from_being_measured_is_made_up(run, weights):
    with pytest.raises(InputError, match=r"bad\.jpg"):
        play(run, weights, [([1, 2], 0.5), ([3, 4], InputError("bad.jpg: not an image"))])
    assert saved_step(run) == 4
    assert [row["epoch"] for row in read_rows(run.path / "results.csv")] == [1]
    start, run.rows = resumed_checkpoint(run.path, None)
    play(run, weights, [([5, 6], 0.1)], begin=start)
    losses = [(row["epoch"], row["loss"], row["val_ap"]) for row in read_rows(run.path / "results.csv")]
    assert losses == [(1, 1.5, 0.5), (2, 3.5, 0.0), (3, 5.5, 0.1)]
    assert math.isnan(read_rows(run.path / "results.csv")[1]["examples_per_second"])


def test_a_validation_image_that_cannot_be_read_is_found_before_the_first_step(run, weights, tmp_path):
    names = {stem: voc_xml(voc_object("cat", 1, 1, 9, 9)) for stem in ("one", "two")}
    root = write_voc(tmp_path / "voc", names, {})
    good = load_dataset(f"voc:{root}")
    image = next(root.rglob("two.*g"))
    image.write_bytes(image.read_bytes()[:200])
    steps = []
    with pytest.raises(InputError, match=f"two{image.suffix}"):
        train_run(
            SimpleNamespace(weights=SimpleNamespace(make_net=lambda *_, **__: steps.append("net"))),
            run,
            good,
            load_dataset(f"voc:{root}"),
            Checkpoint(weights, RunConfig(Config(MODEL, TrainConfig(epochs=1)))),
            "cpu",
        )
    assert not steps
    assert image_names(good, [1]) == [good.image_name(1)]


def test_steps_of_another_dataset_are_not_gone_on_with(run, weights):
    begin = Checkpoint(weights, RunConfig(Config(MODEL, TrainConfig(epochs=9, batch_size=1))), epoch=1, step=5)
    with pytest.raises(
        InputError, match="has 2 images now, and so 2 steps an epoch, but 1 epoch and 5 steps are trained"
    ):
        play(run, weights, [([1, 2], 0.5)], begin=begin)


# When it is saved.


def test_another_number_of_images_is_noticed_though_an_epoch_has_as_many_steps(run, weights):
    config = Config(MODEL, TrainConfig(epochs=9, batch_size=4))
    begin = Checkpoint(weights, RunConfig(config), epoch=2, step=2, sums=SUMS | {"examples": 3})
    with pytest.raises(InputError, match=r"has 4 images now, but 3 in the last epoch that was trained: put the images"):
        play(run, weights, [([1] * 4, 0.5)], begin=begin)


def test_a_run_is_saved_every_few_minutes(run, weights, monkeypatch):
    now, saved = [0.0], []
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def step():
        now[0] += 61
        saved.append(saved_step(run))

    play(run, weights, [([1, 1, 1, 1, 1], 0.5)], save_every=2, on_step=step)
    assert saved == [0, 0, 2, 2, 4]  # before each step; two of them take more than two minutes
    saved.clear()
    with RunFolder(run.path.with_name("never"), run.console) as never:
        run = never
        play(never, weights, [([1, 1, 1], 0.5)], save_every=0, on_step=step)
    assert saved == [0, 0, 0]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_waits_for_the_step_and_then_saves_and_says_how_to_go_on(name, code, run, weights, capfd):
    steps = []

    def step():
        if len(steps) == 1:
            signal.raise_signal(getattr(signal, name))
            signal.raise_signal(signal.SIGHUP)  # as `timeout`, a closed terminal and systemd do: two within a moment
        steps.append(1)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]  # a suite in the background ignores SIGINT
    try:
        with pytest.raises(Stopped) as stopped, stoppable(run, ["--device", "cpu"]) as stop:
            play(run, weights, [([1, 1, 1], 0.5)], on_step=step, stop=stop)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert (len(steps), saved_step(run), stopped.value.code) == (2, 2, code)
    told = "tinyssd: stopping after this step; a second signal ends the program at once"
    assert capfd.readouterr().err.splitlines() == ["", told]
    assert str(stopped.value) == f"stopped by {name}; to go on: tinyssd train --resume {run.path} --device cpu"
    assert printed(run).splitlines()[-1] == f"stopped by {name}; saved: 2 steps"


@pytest.mark.parametrize(
    "name", ["a b", "it's", "-dash", "$HOME `x`", "new\nline", "esc\x1b[1m\\ it's", os.fsdecode(b"no\xffutf8"), "grün"]
)
def test_a_path_in_a_command_is_the_path_that_the_shell_passes_on(name):
    command = f"printf %s {quoted(name)}"
    assert command.isprintable()
    passed = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout
    assert Path(os.fsdecode(passed)) == Path(name)


def test_the_log_keeps_a_name_that_is_not_utf_8(run):
    run.log("wrote " + os.fsdecode(b"no\xff"))
    assert (run.path / "log.txt").read_text() == "wrote no\\udcff\n"


@pytest.mark.parametrize(
    ("second", "seconds", "code"), [("TERM", 0.0, 0), ("TERM", 1.0, -signal.SIGTERM), ("INT", 0.0, -signal.SIGINT)]
)
def test_a_second_signal_ends_the_program_at_once_unless_it_is_the_same_wish(second, seconds, code):
    program = f"""
import signal, time
from ssd_common.runs.stop import stop_signals

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it runs in the background
with stop_signals() as stop:
    stop.waits = True
    signal.raise_signal(signal.SIGINT)
    time.sleep({seconds})
    signal.raise_signal(signal.SIG{second})
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == code


IN_A_TERMINAL = r"""
import os, pty, re, sys

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "ssd_common", *sys.argv[1:]])
shown = b""
while not re.search(rb"torch epoch.* [1-9][0-9]*/500", shown, re.DOTALL):  # the bar has counted a step
    shown += os.read(terminal, 10_000)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.backend("torch")
@pytest.mark.usefixtures("hangup_counts")
def test_a_run_whose_terminal_is_closed_saves_its_steps(tmp_path):
    out, flags = tmp_path / "run", ["--image-size", "64", "--batch-size", "2", "--save-every", "0"]
    command = [sys.executable, "-c", IN_A_TERMINAL, "train", *flags, "--out", str(out)]
    assert subprocess.run(command, capture_output=True, check=True, timeout=120).stdout == b"129\n"
    step = load_checkpoint(out / "weights" / "last.safetensors").step
    assert step > 0
    assert (out / "log.txt").read_text().splitlines()[-1] == f"stopped by SIGHUP; saved: {counted(step, 'step')}"


@pytest.mark.parametrize("output", ["closed", "full", "pipe"])
def test_a_run_goes_on_when_nobody_reads_what_it_prints(output, tmp_path):
    program = f"""
from pathlib import Path
from ssd_common.output.console import new_console
from ssd_common.runs.folder import RunFolder

with RunFolder(Path({str(tmp_path)!r}), new_console(lasting=True)) as run:
    for i in range(3):
        run.log(f"line {{i}}")
"""
    command = [sys.executable, "-c", program]
    if output == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        os.close(writer)
    else:
        shell = f'exec "$@" {">&-" if output == "closed" else "> /dev/full"}'
        done = subprocess.run(
            ["bash", "-c", shell, "bash", *command], stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "log.txt").read_text() == "line 0\nline 1\nline 2\n"


def test_a_signal_that_the_process_ignores_stays_ignored_and_handlers_come_back(run):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with stoppable(run):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not before[1]
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGHUP, before[0])


# When it diverges.


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_at_once_and_keeps_the_batch(loss, run, weights):
    with pytest.raises(
        InputError, match=rf"the loss is {loss} in epoch 2, step 2 of 3 \(images synthetic:train\["
    ) as told:
        play(run, weights, [([1, 1, 1], 0.5), ([1, loss, 1], 0.5)], save_every=1e-9)
    assert f"lower --lr; tinyssd train --resume {run.path} --lr 0.02 starts a new run" in str(told.value)
    assert saved_step(run) == 4
    with np.load(run.path / "diverged.npz") as batch:
        assert batch["images"].shape == (1, 3, 64, 64)
        assert batch["labels"].shape == (1, 1, 5)
        (name,) = batch["names"]
        assert name == f"synthetic:train[{batch['indices'][0]}]"
    assert printed(run).splitlines()[-1] == f"the loss is {loss} in epoch 2, step 2 of 3; the images: {name}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e16])
def test_a_weight_that_is_not_finite_or_too_large_stops_the_run_at_once(value, run, weights):
    broken = {name: array.copy() for name, array in weights.items()}
    steps = []

    def step():
        if len(steps) == 1:
            broken["cls_0.bias"][0] = value
        steps.append(1)

    with pytest.raises(InputError, match=r"the largest weight is (nan|inf|1\.0e\+16) in epoch 1, step 2 of 3"):
        play(run, broken, [([1, 1, 1], 0.5)], save_every=1e-9, on_step=step)
    assert (len(steps), saved_step(run)) == (2, 1)


def test_a_loss_beyond_reason_is_told_once_and_nothing_is_saved_until_it_comes_back(run, weights):
    saved = []
    losses = [2, 201, 202, 3, 4]
    play(run, weights, [(losses, 0.5)], save_every=1e-9, on_step=lambda: saved.append(saved_step(run)))
    assert saved == [0, 1, 1, 1, 4]
    (line,) = [line for line in printed(run).splitlines() if line.startswith("warning")]
    assert "the loss is 2.0e+02 in epoch 1, step 2 of 5, in the beginning it was 2.0e+00: --lr may be too high" in line


def test_an_epoch_whose_mean_loss_is_beyond_reason_ends_the_run(run, weights):
    with pytest.raises(InputError, match=r"the mean loss is 5\.0e\+02, in the beginning it was 2\.0e\+00, in epoch 2"):
        play(run, weights, [([2, 2], 0.5), ([1, 999], 0.5), ([1, 1], 0.5)])
    assert saved_step(run) == 2
    assert [row["epoch"] for row in read_rows(run.path / "results.csv")] == [1]


def test_a_run_that_goes_on_compares_with_its_first_epoch(run, weights):
    play(run, weights, [([5, 7], 0.5)])
    start, run.rows = resumed_checkpoint(run.path, None)
    play(run, weights, [([599, 1], 0.5), ([601, 1], 0.5)], begin=start)
    (line,) = [line for line in printed(run).splitlines() if line.startswith("warning")]
    assert "in epoch 3, step 1 of 2" in line


@pytest.mark.backend("torch")
def test_a_rate_that_is_far_too_high_never_ends_well(tmp_path):
    """`--lr 5` of the improved preset stayed finite, and ended with weights of 1e24."""
    from ssd_common.backends import load_backend
    from ssd_common.config import IMPROVED

    backend, data = load_backend("torch"), load_dataset("synthetic", limit=8)
    config = dataclasses.replace(IMPROVED.train, epochs=12, batch_size=2, lr=50.0)
    model = dataclasses.replace(IMPROVED.model, image_size=64)
    begin = Checkpoint(initial_weights(model, config), RunConfig(Config(model, config), data="synthetic"))
    with RunFolder(tmp_path / "run", Console(quiet=True)) as run, pytest.raises(InputError, match="lower --lr"):
        train_run(backend, run, data, load_dataset("synthetic:val", limit=2), begin, backend.data.get_device("cpu"))
    last = load_checkpoint(tmp_path / "run" / "weights" / "last.safetensors")
    assert all(np.abs(value).max() < watch.LARGEST_WEIGHT for value in last.weights.values())


# A run that was killed when it began.


def test_a_run_that_was_killed_before_its_first_weights_begins_anew(run, weights):
    run.write_config(RunConfig(Config(MODEL, TrainConfig(epochs=9)), data="synthetic"))
    start, rows = resumed_checkpoint(run.path, None)
    assert (start.epoch, start.step, rows, start.run.data) == (0, 0, [], "synthetic")
    assert all((start.weights[name] == value).all() for name, value in weights.items())


def test_a_run_that_was_killed_before_its_configuration_goes_on_with_that_of_its_weights(run, weights):
    begin = Checkpoint(weights, RunConfig(Config(MODEL, TrainConfig(epochs=9)), data="synthetic"))
    run.save(begin, best=True)
    start, rows = resumed_checkpoint(run.path, None)
    assert (start.run, rows) == (begin.run, [])


def test_a_run_whose_weights_are_gone_does_not_begin_anew(run, weights):
    play(run, weights, [([1, 1], 0.5)])
    (run.path / "weights" / "last.safetensors").unlink()
    with pytest.raises(InputError, match=r"last\.safetensors: no such weights file"):
        resumed_checkpoint(run.path, None)


# Files.


def test_the_folder_is_written_to_the_disk_after_the_name_has_changed(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def on_fsync(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def on_replace(*paths):
        done.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", on_fsync)
    monkeypatch.setattr(os, "replace", on_replace)
    write_atomically(tmp_path / "file", b"new")
    assert done == ["file", "replace", "folder"]


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as told:
        write_atomically(tmp_path / "file", b"new")
    assert told.value.filename == str(tmp_path / "file")


@pytest.mark.backend("torch")
def test_training_on_a_full_disk_says_which_file_and_what_to_do(tmp_path, monkeypatch, capsys):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as done:
        main(["train", "--limit", "1", "--epochs", "0", "--device", "cpu", "--out", str(tmp_path / "run")])
    file = tmp_path / "run" / "weights" / "best.safetensors"
    assert (done.value.code, capsys.readouterr().err) == (2, f"tinyssd: {file}: No space left on device; make room\n")


@pytest.mark.parametrize(("told", "expected"), [("3", 3), ("4,2", 4), ("", None), ("many", None), ("0", None)])
def test_the_threads_are_those_of_the_environment_or_one_a_core(told, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert threads() == (expected or len(os.sched_getaffinity(0)))
