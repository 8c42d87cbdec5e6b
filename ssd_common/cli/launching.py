"""The verb `launch`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from ssd_common.cli.flags import BackendName
from ssd_common.errors import InputError


def launch(
    command: Annotated[Positional[tuple[str, ...]], arg(metavar="-- train ...")],
    backend: BackendName = "torch",
    workers: int = 2,
    servers: int = 1,
    port: int = 0,
    timeout: Annotated[float, arg(metavar="SECONDS")] = 0.0,
) -> int:
    """Train in several processes on this machine, which end together: tinyssd launch --workers 2 -- train ...

    The batch size is that of all processes together. With several machines, see docs/scale.md.

    Args:
        command: The verb train with its flags.
        backend: Framework: torch (all-reduce, without servers) or mxnet (parameter server).
        workers: Processes that train.
        servers: Processes that add up gradients (MXNet only).
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
    if not command or command[0] != "train":
        raise InputError("launch starts train only: tinyssd launch --workers 2 -- train --data ...")
    code = "from ssd_common.cli import main; main()"
    return run_job(job(backend, workers, servers, free_port(port)), code, [*command, "--distributed"], timeout)
