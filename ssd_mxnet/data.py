"""Between numpy and the device."""

from mxnet import cpu, gpu, np, npx

from ssd_common.errors import InputError


def get_device(name="auto"):
    """Return the device called `name`.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "gpu", or "gpu:1".

    Raises:
        InputError: there is no such device.
    """
    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "gpu") or (index and not index.isdigit()) or (index and kind != "gpu"):
        raise InputError(f"unknown device '{name}'; use auto, cpu, gpu, or gpu:1")
    available = npx.num_gpus()
    if kind == "gpu" and int(index or 0) >= available:
        raise InputError(f"device '{name}' is not there: MXNet sees {available} GPUs; use --device cpu")
    return cpu() if kind == "cpu" or not available else gpu(int(index or 0))


def to_device(array, device=None, dtype=None):
    """Return a numpy array as an array on the device.

    Args:
        array: numpy, any shape and strides.
        device: as returned by `get_device`; the CPU by default.
        dtype: "float32", "float64", …; that of the array by default.
    """
    return np.array(array, dtype=dtype or array.dtype, ctx=device or cpu())


def to_numpy(tensor):
    """Return an array as a numpy array on the host, detached from the graph."""
    return tensor.asnumpy()
