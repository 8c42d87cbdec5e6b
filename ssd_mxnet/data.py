"""Between numpy and the device."""

from mxnet import cpu, gpu, np, npx

from ssd_common.backends import gpu_number

npx.set_np()  # numpy semantics, as in the book


def get_device(name="auto"):
    """Return the device called `name`.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "gpu", or "gpu:1".

    Raises:
        InputError: there is no such device.
    """
    number = gpu_number(name, npx.num_gpus(), "MXNet")
    return cpu() if number is None else gpu(number)


def to_device(array, device=None, dtype=None):
    """Return a numpy array as an array on the device.

    Args:
        array: numpy, any shape, no negative strides.
        device: as returned by `get_device`; the CPU by default.
        dtype: "float32", "float64", …; that of the array by default.
    """
    return np.array(array, dtype=dtype or array.dtype, ctx=device or cpu())


def to_numpy(tensor):
    """Return an array as a numpy array on the host, detached from the graph."""
    return tensor.asnumpy()
