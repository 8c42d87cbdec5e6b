"""The verb `launch`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg

from ssd_common.cli.flags import PROGRAM, BackendName, Int, Seconds
from ssd_common.cli.inference import evaluate, predict
from ssd_common.cli.training import train
from ssd_common.errors import InputError

VERBS: dict[str, Callable[..., int]] = {"train": train, "eval": evaluate, "predict": predict}


def launch(
    command: Annotated[Positional[tuple[str, ...]], arg(metavar="-- train|eval|predict ...")],
    backend: BackendName = "torch",
    workers: Int = 2,
    servers: Int = 1,
    port: Int = 0,
    timeout: Seconds = 0.0,
) -> int:
    """Train, eval or predict in several processes on this machine: tinyssd launch --workers 2 -- train ...

    The processes end together. In training, the batch size is that of all processes together. With several machines,
    see docs/scale.md.

    Args:
        command: The verb train, eval or predict with its flags.
        backend: Framework: torch (all-reduce, without servers) or mxnet (parameter server).
        workers: Processes that share the work.
        servers: Processes that add up what the workers send (MXNet only).
        port: Port on which the processes meet (default: a free one).
        timeout: End the job after so many seconds (default: never).
    """
    from ssd_common.backends import BACKENDS
    from ssd_common.runs.launch import free_port, job, run_job

    for name, number in (("workers", workers), ("servers", servers)):
        if number < 1:
            raise InputError(f"--{name} must be at least 1, got {number}")
    if backend not in BACKENDS:
        raise InputError(f"unknown backend '{backend}'; the backends are {', '.join(BACKENDS)}")
    if not 0 <= timeout < float("inf"):
        raise InputError(f"--timeout must be a number of seconds, or 0 for none, got {timeout}")
    if not command or command[0] not in VERBS:
        raise InputError("launch starts train, eval or predict: tinyssd launch --workers 2 -- train --data ...")
    verb: Callable[..., Any] = wraps(VERBS[command[0]])(lambda *_, **flags: flags)  # wrong flags are said here, once
    flags = tyro.cli(verb, prog=f"{PROGRAM} launch -- {command[0]}", args=command[1:])
    if flags["backend"] not in (None, backend):
        raise InputError(f"--backend {flags['backend']}: the processes have {backend}; name it before the --, once")
    code = "from ssd_common.cli import main; main()"
    return run_job(job(backend, workers, servers, free_port(port)), code, [*command, "--distributed"], timeout)
