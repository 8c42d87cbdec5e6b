"""To and from the canonical weights of `ssd_common.weights`."""

import torch

from ssd_common.weights import check_weights

from .data import to_device, to_numpy
from .model import TinySSD
from .options import compile_net


def make_net(model_config, weights, device=None, dtype="float32", compile=None):
    """Return the network of a model configuration, on the device, with the given weights.

    Args:
        model_config: a `ModelConfig`.
        weights: numpy arrays by canonical name.
        device: as returned by `get_device`; the CPU by default.
        dtype: "float32" or "float64".
        compile: see `compile_net`; not by default.

    Raises:
        InputError: the weights are not those of the model; the message names the tensor. Or there is no compiler.
    """
    check_weights(weights, model_config, "weights")
    net = TinySSD(model_config.num_classes, model_config.anchors)
    net.to(device or "cpu", getattr(torch, dtype))
    set_weights(net, weights)
    compile_net(net, compile)
    return net


def get_weights(net):
    """Return every parameter and running statistic as numpy arrays by canonical name."""
    return {name: to_numpy(tensor).copy() for name, tensor in _tensors(net).items()}


def set_weights(net, weights):
    """Overwrite every parameter and running statistic with numpy arrays by canonical name."""
    for name, tensor in _tensors(net).items():
        tensor.copy_(to_device(weights[name]))


def get_gradients(net):
    """Return the gradient of every parameter as numpy arrays by canonical name."""
    return {name: to_numpy(parameter.grad).copy() for name, parameter in net.named_parameters()}


def set_gradients(net, gradients):
    """Overwrite the gradient of every parameter with numpy arrays by canonical name."""
    for name, parameter in net.named_parameters():
        parameter.grad.copy_(to_device(gradients[name]))


def get_velocity(net, trainer):
    """Return the optimiser's velocity of every parameter by canonical name; empty before the first step, or without.

    The convention is PyTorch's: `v = momentum * v + gradient`, and `lr * v` is subtracted from the parameter.
    """
    states = {name: trainer.state[parameter].get("momentum_buffer") for name, parameter in net.named_parameters()}
    return {name: to_numpy(state).copy() for name, state in states.items() if state is not None}


def set_velocity(net, trainer, velocity):
    """Give the optimiser the velocities that `get_velocity` returned, in either framework."""
    for name, parameter in net.named_parameters():
        if name in velocity:
            state = to_device(velocity[name].copy(), parameter.device)
            trainer.state[parameter]["momentum_buffer"] = state.to(parameter.dtype)


def _tensors(net):
    """Return every parameter and running statistic of the network by canonical name.

    The names are PyTorch's; only its count of batches is left out.
    """
    return {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
