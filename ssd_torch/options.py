"""What one framework can do and the other cannot: to train in fewer bits than float32, to compile the network."""

from functools import partial

import torch

from ssd_common.errors import InputError


def check_precision(precision, device):
    """Raise InputError if the device cannot train in a precision at a useful speed.

    A CPU without bfloat16 instructions can, but far slower than in float32. PyTorch has no public way to ask for the
    instructions of the CPU; `torch.cuda.is_bf16_supported` says yes where a GPU only emulates them.

    Args:
        precision: "fp32" or "bf16".
        device: as returned by `get_device`.
    """
    if precision != "bf16":
        return
    if device.type == "cuda":
        kind, native = "GPU", torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        kind, native = "CPU", torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert isinstance(native, bool)
    if not native:
        raise InputError(f"precision bf16: this {kind} has no bfloat16 instructions; leave --precision out")


def set_precision(net, precision):
    """Let a network compute in a precision while it trains; weights, gradients and what it returns stay as they are.

    Args:
        net: the network.
        precision: "fp32" or "bf16".
    """
    vars(net).pop("forward", None)  # what an earlier call has set
    if precision == "bf16":
        net.forward = partial(_in_bfloat16, net, net.forward)


def _in_bfloat16(net, forward, X):
    """Return what `forward` does, computed in bfloat16 while the network trains."""
    with torch.autocast(X.device.type, torch.bfloat16, enabled=net.training):
        anchors, cls_preds, bbox_preds = forward(X)
    return anchors, cls_preds.to(anchors.dtype), bbox_preds.to(anchors.dtype)


def compile_net(net, compile=None):
    """Let the framework compile a network, or its layers, at the first batch.

    PyTorch has no public way to ask for a C++ compiler, and without one its first batch fails with a page of text.

    Args:
        net: the network.
        compile: True for `torch.compile`, which takes a minute at the first batch; it pays on a GPU. Not by default.

    Raises:
        InputError: there is no compiler.
    """
    if compile:
        from torch._inductor import cpp_builder, exc  # slow to import

        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler:
            raise InputError("torch.compile needs a C++ compiler, and there is none: install g++") from None
        net.compile()
