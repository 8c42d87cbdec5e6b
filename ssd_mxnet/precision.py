"""Training in fewer bits than float32: whether a device can, and how a network is told."""

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
