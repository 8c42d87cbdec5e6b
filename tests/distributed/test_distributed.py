"""Several processes train as one does, on loopback, with each framework's own engine."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ssd_common.checkpoints import load_checkpoint
from ssd_common.cli import main
from ssd_common.data.sampling import epoch_order
from ssd_common.errors import InputError
from ssd_common.group import Group
from ssd_common.runs.launch import free_port, job, run_job
from tests.distributed import worker

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def alone():
    """What one process leaves, by backend, computed when it is first asked for."""
    known = {}

    def left(backend):
        if backend.name not in known:
            known[backend.name] = worker.train(backend)
        return known[backend.name]

    return left


@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes_leave_what_one_does(backend, workers, alone, tmp_path):
    processes = job(backend.name, workers, 2, free_port())
    code = "import runpy; runpy.run_module('tests.distributed.worker', run_name='__main__', alter_sys=True)"
    assert run_job(processes, code, [backend.name, str(tmp_path / "left")], 120) == 0
    expected = alone(backend)
    for rank in range(workers):
        with np.load(tmp_path / f"left.{rank}.npz") as found:
            assert set(found) == set(expected)
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=0, atol=TOLERANCE, err_msg=f"{rank} {name}")
            largest = max(float(np.abs(found[name] - value).max()) for name, value in expected.items())
            print(f"{backend.name}, process {rank} of {workers}: largest difference {largest:.1e}")


def tinyssd(*arguments, environment=None):
    """Start the program with these arguments, its output in pipes."""
    command = [sys.executable, "-m", "ssd_common", *map(str, arguments)]
    environment = os.environ | {"MPLBACKEND": "agg"} | (environment or {})
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


FLAGS = ["--limit", 4, "--batch-size", 4, "--image-size", 64]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
def test_a_killed_worker_ends_the_job_and_its_run_goes_on_in_one_process(backend, tmp_path):
    out = tmp_path / "run"
    launched = tinyssd(
        "launch",
        "--backend",
        backend.name,
        "--",
        "train",
        *FLAGS,
        "--epochs",
        1000,
        "--save-every",
        0.0001,
        "--out",
        out,
    )
    try:
        last, end = out / "weights/last.safetensors", time.monotonic() + 120
        while not (last.exists() and load_checkpoint(last).step >= 1):
            assert launched.poll() is None, launched.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.05)
        processes = children(launched.pid)
        assert len(processes) == {"torch": 2, "mxnet": 4}[backend.name]
        (second,) = (pid for pid, environment in processes.items() if re.search("LOCAL_RANK=1", environment))
        os.kill(second, signal.SIGKILL)
        killed = time.monotonic()
        _, said = launched.communicate(timeout=30)
    finally:
        launched.kill()
    assert launched.returncode == 2
    assert said.count("\n") == 1, said
    assert "worker 1 was killed by SIGKILL" in said
    assert time.monotonic() - killed < 30
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    trained = load_checkpoint(last).epoch
    resumed = tinyssd("train", "--resume", out, "--epochs", trained + 1, "--backend", backend.name)
    _, said = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, said
    assert load_checkpoint(last).epoch == trained + 1


MISTAKES = [
    (["launch", "--workers", "0", "--", "train"], {}, "--workers must be at least 1, got 0"),
    (["launch", "--servers", "0", "--", "train"], {}, "--servers must be at least 1, got 0"),
    (
        ["launch", "--timeout", "-1", "--", "train"],
        {},
        "--timeout must be a number of seconds, or 0 for none, got -1.0",
    ),
    (["launch", "--", "eval"], {}, "launch starts train only: tinyssd launch --workers 2 -- train --data ..."),
    (["launch", "--port", "70000", "--", "train"], {}, "--port must be from 1 to 65535, got 70000"),
    (
        ["train", "--distributed"],
        {},
        "--distributed: no launcher has started this process; use tinyssd launch, or torchrun",
    ),
    (
        ["train"],
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
        "several processes were started, and each would train by itself; add --distributed",
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


def test_the_shares_of_a_batch_are_the_batch():
    order = epoch_order(27, 8, 0, 0)
    shares = [Group(rank, 4).shard(order) for rank in range(4)]
    for step, indices in enumerate(order[:-1]):
        assert sorted(np.concatenate([share[step] for share in shares])) == sorted(indices)
    assert [share[-1].tolist() for share in shares] == [[i] for i in [*order[-1].tolist(), order[-1][0]]]
