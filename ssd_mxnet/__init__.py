"""The single shot multibox detector in MXNet Gluon; `ssd_torch` is the same, file by file, in PyTorch."""

import importlib
import os
from pathlib import Path


def _use_every_core():
    """Tell MXNet the number of cores: it takes half of the processors for hyper-threads, for PyTorch as well."""
    try:
        processors = os.sched_getaffinity(0)
        topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        cores = {Path(topology.format(i)).read_text() for i in processors}
    except (OSError, AttributeError):  # not Linux: leave it to MXNet
        return
    os.environ.setdefault("MXNET_OMP_MAX_THREADS", str(len(cores)))


_use_every_core()  # before MXNet is imported

from . import compat  # noqa: E402, F401 - imports MXNet, with what numpy and Python have removed since its release

name = "mxnet"

__all__ = [
    "anchors", "boxes", "data", "detection", "distributed", "evaluate", "export", "greedy", "losses", "model",
    "options", "predict", "targets", "train", "weights",
]  # fmt: skip


def __getattr__(module):
    """Return a module of this package, importing it when it is first asked for."""
    if module not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {module!r}")
    return importlib.import_module(f".{module}", __name__)
