"""The single shot multibox detector in MXNet Gluon; `ssd_torch` is the same, file by file, in PyTorch."""

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

from mxnet import npx  # noqa: E402

npx.set_np()  # numpy semantics for every array and every Gluon block, as in the book

from . import (  # noqa: E402
    anchors,
    boxes,
    data,
    detection,
    evaluate,
    greedy,
    losses,
    model,
    precision,
    predict,
    targets,
    train,
    weights,
)

name = "mxnet"

__all__ = [
    "anchors",
    "boxes",
    "data",
    "detection",
    "evaluate",
    "greedy",
    "losses",
    "model",
    "name",
    "precision",
    "predict",
    "targets",
    "train",
    "weights",
]
