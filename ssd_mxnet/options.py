"""What one framework can do and the other cannot: to train in fewer bits than float32, to compile the network."""

from ssd_common.errors import InputError


def check_precision(precision, device):
    """Raise InputError if the device cannot train in a precision at a useful speed.

    MXNet 1.9.1 trains in float32 only: its automatic mixed precision leaves the operators of `npx` as they are.

    Args:
        precision: "fp32" or "bf16".
        device: as returned by `get_device`.
    """
    if precision != "fp32":
        raise InputError(f"precision {precision}: MXNet trains in fp32 only; leave --precision out or use PyTorch")


def set_precision(net, precision):
    """Let a network compute in a precision while it trains; weights, gradients and what it returns stay as they are.

    Args:
        net: the network.
        precision: "fp32"; see `check_precision`.
    """
    check_precision(precision, None)


def compile_net(net, compile=None):
    """Let the framework compile a network, or its layers, at the first batch.

    Args:
        net: the network.
        compile: whether to hybridize the layers. By default it is done.
    """
    if compile is not False:
        net.hybridize(static_alloc=True, static_shape=True)
