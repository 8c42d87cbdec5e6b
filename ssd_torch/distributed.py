"""Several processes that work together: the framework adds up their arrays."""

import atexit

import torch
import torch.distributed.nn  # before there is a group: its functions would keep the group, and its threads, to the end
from torch import distributed

from ssd_common.group import Group, LostError

from .data import to_device, to_numpy
from .weights import get_gradients, set_gradients


def join(device=None):
    """Return the `Group` of this process, when all the others have come; the launcher's environment says who they are.

    Args:
        device: as returned by `get_device`. Each process with a GPU of its own: NCCL; otherwise Gloo.
    """
    on_gpu = device is not None and device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo")

    def sum_array(array):
        try:
            tensor = to_device(array, device)
            distributed.all_reduce(tensor)
            return to_numpy(tensor)
        except RuntimeError as error:
            raise LostError(f"another process of the job has ended ({str(error).splitlines()[0]:.80})") from None

    group = Group(distributed.get_rank(), distributed.get_world_size(), sum_array, get_gradients, set_gradients)
    atexit.register(_abandon)
    group.gather(b"")  # all are connected before one of them can fail
    return group


def leave(group):
    """End the connection to the other processes, when all of them are done.

    Args:
        group: as returned by `join`.
    """
    atexit.unregister(_abandon)
    distributed.destroy_process_group()


def _abandon():
    """Leave the other processes at once, after a failure: the engine's own end would wait for them, or abort."""
    distributed.destroy_process_group()
