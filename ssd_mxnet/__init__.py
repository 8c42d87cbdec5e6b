"""The single shot multibox detector in MXNet Gluon; `ssd_torch` is the same, file by file, in PyTorch."""

import os
from pathlib import Path

from ssd_common.machine import keep_freed_memory


def _use_every_core():
    """Tell MXNet the number of cores: it takes half of the processors for hyper-threads, for PyTorch as well."""
    try:
        processors = os.sched_getaffinity(0)
        topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        cores = {Path(topology.format(i)).read_text() for i in processors}
    except (OSError, AttributeError):  # not Linux: leave it to MXNet
        return
    os.environ.setdefault("MXNET_OMP_MAX_THREADS", str(len(cores)))


keep_freed_memory()
_use_every_core()  # before MXNet is imported

from . import compat  # noqa: E402, F401 - imports MXNet, with what numpy and Python have removed since its release
