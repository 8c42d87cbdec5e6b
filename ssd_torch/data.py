"""Between numpy and the device."""

import torch

from ssd_common.backends import gpu_number


def get_device(name="auto"):
    """Return the device called `name`.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "gpu", or "gpu:1".

    Raises:
        InputError: there is no such device.
    """
    number = gpu_number(name, torch.cuda.device_count(), "PyTorch")
    return torch.device("cpu") if number is None else torch.device("cuda", number)


def to_device(array, device=None, dtype=None):
    """Return a numpy array as a tensor on the device.

    Args:
        array: numpy, any shape, no negative strides; a batch of images keeps its channels-last strides.
        device: as returned by `get_device`; the CPU by default.
        dtype: "float32", "float64", …; that of the array by default.
    """
    return torch.as_tensor(array, dtype=getattr(torch, dtype or str(array.dtype)), device=device or "cpu")


def to_numpy(tensor):
    """Return a tensor as a numpy array on the host, detached from the graph."""
    return tensor.detach().cpu().numpy()
