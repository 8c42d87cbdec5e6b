"""Jobs of several processes: how they stop, what they leave, and what they say."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_common.checkpoints import load_checkpoint
from ssd_common.cli import main
from ssd_common.data import load_dataset
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.errors import InputError
from ssd_common.evaluation import mean_average_precision
from ssd_common.machine import threads
from ssd_common.runs.folder import read_rows
from ssd_common.runs.launch import run_job

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")


def tinyssd(*arguments, environment=None):
    """Start the program with these arguments, its output in pipes."""
    command = [sys.executable, "-m", "ssd_common", *map(str, arguments)]
    environment = os.environ | (environment or {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, text=True, **pipes)


def children(pid):
    """Return the command line of each child of a process, by its number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(path.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(path.name)] = path.joinpath("environ").read_text()
        except OSError:  # it has ended in between
            continue
    return found


@contextmanager
def training_job(backend, out):
    """Start a job of two workers that saves every few steps, and yield it when it has trained; leave no process."""
    flags = ["--limit", 4, "--batch-size", 4, "--image-size", 64, "--epochs", 1000, "--save-every", 0.0001]
    as_here = {"OMP_NUM_THREADS": str(2 * threads())}  # each of two workers has half of them
    launched = tinyssd("launch", "--backend", backend.name, "--", "train", *flags, "--out", out, environment=as_here)
    try:
        end = time.monotonic() + 120
        while trained_steps(out) < 1:
            assert launched.poll() is None, launched.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.05)
        processes = children(launched.pid)
        assert len(processes) == {"torch": 2, "mxnet": 4}[backend.name]
        yield launched, processes
        assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    finally:
        launched.kill()


def trained_steps(out):
    last = out / "weights/last.safetensors"
    return load_checkpoint(last).step if last.exists() else 0


@NEEDS_PROC
def test_a_killed_worker_ends_the_job_and_its_run_goes_on_in_one_process(backend, tmp_path):
    out = tmp_path / "run"
    with training_job(backend, out) as (launched, processes):
        (second,) = (pid for pid, environment in processes.items() if "LOCAL_RANK=1" in environment)
        launched.send_signal(signal.SIGSTOP)  # it looks late: the first worker knows before it
        os.kill(second, signal.SIGKILL)
        time.sleep(0.8)
        launched.send_signal(signal.SIGCONT)
        _, said = launched.communicate(timeout=30)
    assert launched.returncode == 2
    assert said.count("\n") == 1, said
    assert "worker 1 was killed by SIGKILL" in said
    epoch = trained_steps(out) + 1  # each of one step
    resumed = tinyssd("train", "--resume", out, "--epochs", epoch, "--backend", backend.name)
    _, said = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, said
    assert trained_steps(out) == epoch


@NEEDS_PROC
@pytest.mark.usefixtures("hangup_counts")
def test_a_job_that_is_told_to_stop_saves_first_and_has_measured_as_one_process_does(backend, tmp_path):
    out = tmp_path / "run"
    with training_job(backend, out) as (launched, _):
        end, rows = time.monotonic() + 120, []
        while not rows:  # `best` is saved before its row
            assert time.monotonic() < end
            time.sleep(0.05)
            best = load_checkpoint(out / "weights/best.safetensors")
            rows = [row for row in read_rows(out / "results.csv") if row["epoch"] == best.epoch]
        before = trained_steps(out)
        launched.send_signal(signal.SIGHUP)
        said, told = launched.communicate(timeout=30)
    assert launched.returncode == 128 + signal.SIGHUP
    assert "stopped by SIGHUP; saved: " in said
    assert told.count("stopping after this step") <= 1, told  # not once for each process
    assert trained_steps(out) >= before
    val, config = load_dataset("synthetic:val"), best.config
    net = backend.weights.make_net(config.model, best.weights)
    measured = backend.evaluate.evaluate(net, val, config.model, config.predict, config.train.loss, 4)
    metrics = measured[0] | mean_average_precision(*measured[1:], config.model.num_classes)
    written = {name: value for name, value in rows[0].items() if name.startswith("val_")}
    np.testing.assert_equal(written, {name: metrics[name.removeprefix("val_")] for name in written})
    assert len(written) == 4


@NEEDS_PROC
def test_a_job_with_nothing_to_save_stops_at_once(backend):
    launched = tinyssd("launch", "--backend", backend.name, "--", "eval")
    while not (processes := children(launched.pid)):
        assert launched.poll() is None, launched.stderr.read()
        time.sleep(0.05)
    launched.terminate()
    _, said = launched.communicate(timeout=5)
    assert (launched.returncode, said) == (128 + signal.SIGTERM, "tinyssd: stopped by SIGTERM\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def test_an_image_that_a_follower_cannot_read_is_one_line(backend, tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder / "val").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("names: [banana]\n")
    scenes = SyntheticDataset(num_images=34, image_size=64)
    for i in range(34):
        Image.fromarray(scenes[i].image).save(tmp_path / f"images/val/{i:02}.png")
        (tmp_path / f"labels/val/{i:02}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    damaged = tmp_path / "images/val/33.png"  # in the second batch
    damaged.write_bytes(damaged.read_bytes()[:1000])
    launched = tinyssd("launch", "--backend", backend.name, "--", "eval", "--data", f"yolo:{tmp_path}")
    out, said = launched.communicate(timeout=120)
    assert (launched.returncode, out) == (2, "")
    assert said.startswith(f"tinyssd: {damaged}: cannot read the image")
    assert said.count("\n") == 1, said


MISTAKES = [
    (["launch", "--workers", "0", "--", "train"], {}, "--workers must be at least 1, got 0"),
    (["launch", "--servers", "0", "--", "train"], {}, "--servers must be at least 1, got 0"),
    (
        ["launch", "--timeout", "-1", "--", "train"],
        {},
        "--timeout must be a number of seconds, or 0 for none, got -1.0",
    ),
    (
        ["launch", "--", "compare"],
        {},
        "launch starts train, eval or predict: tinyssd launch --workers 2 -- train --data ...",
    ),
    (["launch", "--port", "70000", "--", "train"], {}, "--port must be from 1 to 65535, got 70000"),
    (
        ["train", "--distributed"],
        {},
        "--distributed: no launcher has started this process; use tinyssd launch, or torchrun",
    ),
    (
        ["train"],
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
        "several processes were started, and each would work by itself; add --distributed",
    ),
    (
        ["launch", "--", "train", "--backend", "mxnet"],
        {},
        "--backend mxnet: the processes have torch; name it before the --, once",
    ),
    (
        ["train", "--distributed", "--backend", "torch"],
        {"DMLC_ROLE": "worker"},
        "--backend torch: the launcher is that of mxnet; leave --backend out",
    ),
]


@pytest.mark.parametrize(("arguments", "environment", "line"), MISTAKES)
def test_a_mistake_is_one_line(arguments, environment, line, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2
    assert capsys.readouterr().err == f"tinyssd: {line}\n"


def test_a_port_in_use_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit):
            main(["launch", "--port", str(port), "--", "train"])
    line = f"tinyssd: --port {port}: Address already in use; name another, or leave it out\n"
    assert capsys.readouterr().err == line


def test_a_job_ends_after_its_time_and_leaves_no_process():
    processes = {f"worker {i}": {} for i in range(2)}
    with pytest.raises(InputError, match="the job was not done after --timeout 0.5 seconds"):
        run_job(processes, "import time; time.sleep(600)", [], 0.5)
    assert not children(os.getpid())
