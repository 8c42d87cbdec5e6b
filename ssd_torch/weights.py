"""To and from the canonical weights of `ssd_common.weights`."""

import torch

from ssd_common.weights import check_weights

from .data import to_device, to_numpy
from .model import TinySSD


def make_net(config, weights, device=None, dtype="float32"):
    """Return the network of a model configuration, on the device, with the given weights.

    Args:
        config: a `ModelConfig`.
        weights: numpy arrays by canonical name.
        device: as returned by `get_device`; the CPU by default.
        dtype: "float32" or "float64".

    Raises:
        InputError: the weights are not those of the model; the message names the tensor.
    """
    check_weights(weights, config, "weights")
    net = TinySSD(config.num_classes, config.anchors).to(device or "cpu", getattr(torch, dtype))
    set_weights(net, weights)
    return net


def get_weights(net):
    """Return every parameter and running statistic as numpy arrays by canonical name."""
    return {name: to_numpy(value).copy() for name, value in _tensors(net).items()}


def set_weights(net, weights):
    """Overwrite every parameter and running statistic with numpy arrays by canonical name."""
    with torch.no_grad():
        for name, value in _tensors(net).items():
            value.copy_(to_device(weights[name]))


def get_gradients(net):
    """Return the gradient of every parameter as numpy arrays by canonical name."""
    return {name: to_numpy(parameter.grad).copy() for name, parameter in net.named_parameters()}


def get_momentum(net, trainer):
    """Return the optimiser's velocity of every parameter by canonical name; empty before the first step, or without.

    The convention is PyTorch's: `v = momentum * v + gradient`, and `lr * v` is subtracted from the parameter.
    """
    states = {name: trainer.state[parameter].get("momentum_buffer") for name, parameter in net.named_parameters()}
    return {name: to_numpy(value).copy() for name, value in states.items() if value is not None}


def set_momentum(net, trainer, momentum):
    """Give the optimiser the velocities that `get_momentum` returned, in either framework."""
    for name, parameter in net.named_parameters():
        if name in momentum:
            trainer.state[parameter]["momentum_buffer"] = torch.tensor(momentum[name]).to(parameter)  # a copy


def _tensors(net):
    """Return the tensors of the network by canonical name: PyTorch's names, without its count of batches."""
    return {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}
