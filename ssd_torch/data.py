"""Between numpy and the device."""

import torch

from ssd_common.backends import gpu_number
from ssd_common.errors import InputError


def get_device(name="auto"):
    """Return the device called `name`.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "gpu", or "gpu:1".

    Raises:
        InputError: there is no such device.
    """
    number = gpu_number(name, torch.cuda.device_count(), "PyTorch")
    return torch.device("cpu") if number is None else torch.device("cuda", number)


def check_precision(precision, device):
    """Raise InputError if the device cannot train in a precision at a useful speed.

    A CPU without bfloat16 instructions can, but slower than in float32: a step of 32 pictures took 32 s, not 2.5.

    Args:
        precision: "fp32" or "bf16".
        device: as returned by `get_device`.
    """
    if precision != "bf16":
        return
    if device.type == "cuda":
        # `torch.cuda.is_bf16_supported` says yes where it is emulated, and asks the current GPU, not this one.
        kind, native = "GPU", torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        kind, native = "CPU", torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if not native:
        raise InputError(f"precision bf16: this {kind} has no bfloat16 instructions; leave --precision out")


def to_device(array, device=None, dtype=None):
    """Return a numpy array as a tensor on the device.

    Args:
        array: numpy, any shape, no negative strides; a batch of pictures keeps its channels-last strides.
        device: as returned by `get_device`; the CPU by default.
        dtype: "float32", "float64", …; that of the array by default.
    """
    tensor, device = torch.from_numpy(array), torch.device(device or "cpu")
    if device.type == "cuda":
        tensor = tensor.pin_memory().to(device, non_blocking=True)  # otherwise the copy waits for the step before
    return tensor.to(device, getattr(torch, dtype) if dtype else None)


def to_numpy(tensor):
    """Return a tensor as a numpy array on the host, detached from the graph."""
    return tensor.detach().cpu().numpy()
