"""Several processes of one job on this machine: started together, and ended together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress

from ssd_common.errors import InputError
from ssd_common.machine import threads
from ssd_common.runs.stop import SIGNALS, Stopped

GRACE = 10.0
"""Seconds that a process has to end by itself before it is killed."""
AGAIN = {
    "train": "; to go on from the last weights that were saved, launch train --resume RUN_FOLDER",
    "predict": "; to go on after the last finished images, launch the same command again",
}
"""What to do after a killed job, by its verb."""
_WITH_LAUNCHER = (
    "import os, sys, threading; threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start(); "
)
"""Ends a process when its launcher does, however that was ended: then the pipe to its standard input closes."""


def free_port(port: int = 0) -> int:
    """Return a port that nobody listens to: `port`, or any if it is 0.

    Raises:
        InputError: somebody does.
    """
    if not 0 <= port < 65536:
        raise InputError(f"--port must be from 1 to 65535, got {port}")
    with closing(socket.socket()) as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}; name another, or leave it out") from None
        return int(trial.getsockname()[1])


def job(backend: str, workers: int, servers: int, port: int) -> dict[str, dict[str, str]]:
    """Return the environment of each process of a job on this machine, by its name.

    Args:
        backend: "torch" or "mxnet".
        workers: how many processes share the work.
        servers: how many processes of MXNet add up what the workers send.
        port: where the processes meet.
    """
    each = str(max(1, threads() // workers))
    numbered = [{"OMP_NUM_THREADS": each, "LOCAL_RANK": str(i)} for i in range(workers)]
    if backend == "torch":
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(workers)}
        # Otherwise it warns where this machine's name cannot be looked up, without a network.
        meet["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
        return {f"worker {i}": meet | worker | {"RANK": str(i)} for i, worker in enumerate(numbered)}
    meet = {"DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": str(port), "DMLC_NODE_HOST": "127.0.0.1"}
    meet |= {"DMLC_NUM_WORKER": str(workers), "DMLC_NUM_SERVER": str(servers), "DMLC_INTERFACE": "lo"}
    meet["MXNET_KVSTORE_BIGARRAY_BOUND"] = "100000"  # so that each server adds up its part of the gradients
    roles = {"scheduler": meet | {"DMLC_ROLE": "scheduler"}}
    roles |= {f"server {i}": meet | {"DMLC_ROLE": "server"} for i in range(servers)}
    return roles | {f"worker {i}": meet | worker | {"DMLC_ROLE": "worker"} for i, worker in enumerate(numbered)}


def run_job(processes: Mapping[str, Mapping[str, str]], code: str, arguments: Sequence[str], timeout: float) -> int:
    """Run a job and return its exit code; whatever ends it, no process of it is left.

    Args:
        processes: see `job`.
        code: what a worker runs, Python.
        arguments: of the code.
        timeout: seconds for all, 0 for no limit.

    Raises:
        InputError: a process was killed, or the time is over.
        Stopped: it was told to, by a signal, and nothing has to be saved.
    """
    running: dict[str, subprocess.Popen] = {}
    asked: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda n, _: asked.append(n))
    again = AGAIN.get(arguments[0], "") if arguments else ""
    end = time.monotonic() + timeout if timeout else float("inf")
    try:
        for name, environment in processes.items():
            program = code if name.startswith("worker") else "import ssd_mxnet"
            command = [sys.executable, "-c", _WITH_LAUNCHER + program, *arguments]
            running[name] = subprocess.Popen(
                command, env=os.environ | dict(environment), stdin=subprocess.PIPE, start_new_session=True
            )
        workers = [running[name] for name in running if name.startswith("worker")]
        while any(process.poll() is None for process in workers):
            codes = {name: process.poll() for name, process in running.items()}
            if any(codes.values()):
                _say_killed(running, codes, again)
                return max(code for code in codes.values() if code)
            if asked and arguments[:1] == ["train"]:  # it saves
                _end(running, asked[0])
                return 128 + asked[0]
            if asked:
                for process in running.values():
                    process.kill()
                raise Stopped(asked[0], f"stopped by {signal.Signals(asked[0]).name}{again}")
            if time.monotonic() > end:
                raise InputError(f"the job was not done after --timeout {timeout:g} seconds; its processes were ended")
            time.sleep(0.05)
        _say_killed(running, {name: process.poll() for name, process in running.items()}, again)
        return max(process.returncode for process in workers)
    finally:
        _end(running, signal.SIGTERM)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _say_killed(running: Mapping[str, subprocess.Popen], codes: Mapping[str, int | None], again: str) -> None:
    """End the job and raise InputError if a process was killed; one that failed by itself has said why."""
    for name, code in codes.items():
        if code is not None and code < 0:
            for process in running.values():  # they wait for it
                process.kill()
            raise InputError(f"{name} was killed by {signal.Signals(-code).name}, and the job with it{again}")


def _end(running: Mapping[str, subprocess.Popen], number: int) -> None:
    """Ask the workers to end, and kill what does not; without its servers, a worker could not end its step and save."""
    workers = [process for name, process in running.items() if name.startswith("worker")]
    for process in workers:
        if process.poll() is None:
            process.send_signal(number)
    until = time.monotonic() + GRACE
    for process in workers:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
    for process in running.values():
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()
