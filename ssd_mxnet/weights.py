"""To and from the canonical weights of `ssd_common.weights`."""

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
        compile: see `compile_net`; by default it is done.

    Raises:
        InputError: the weights are not those of the model; the message names the tensor.
    """
    check_weights(weights, model_config, "weights")
    net = TinySSD(model_config.num_classes, model_config.anchors)
    net.cast(dtype)
    for name, tensor in _tensors(net).items():
        tensor.shape = weights[name].shape  # otherwise known only after the first batch
    net.initialize(init="zeros", ctx=device)  # the default draws no float64
    set_weights(net, weights)
    compile_net(net, compile)
    return net


def get_weights(net):
    """Return every parameter and running statistic as numpy arrays by canonical name."""
    return {name: to_numpy(tensor.data()) for name, tensor in _tensors(net).items()}


def set_weights(net, weights):
    """Overwrite every parameter and running statistic with numpy arrays by canonical name."""
    for name, tensor in _tensors(net).items():
        tensor.set_data(to_device(weights[name], dtype=tensor.dtype))


def get_gradients(net):
    """Return the gradient of every parameter as numpy arrays by canonical name."""
    return {name: to_numpy(tensor.grad()) for name, tensor in _tensors(net).items() if tensor.grad_req != "null"}


def set_gradients(net, gradients):
    """Overwrite the gradient of every parameter with numpy arrays by canonical name."""
    for name, tensor in _tensors(net).items():
        if tensor.grad_req != "null":
            tensor.grad()[:] = to_device(gradients[name], tensor.data().ctx)


def get_velocity(net, trainer):
    """Return the optimiser's velocity of every parameter by canonical name; empty before the first step, or without.

    The convention is PyTorch's: `v = momentum * v + gradient`, and `lr * v` is subtracted from the parameter. MXNet
    keeps `-lr * v`; it is divided in float64, so that `set_velocity` gets the same bits back.
    """
    updater, places = _updater(net, trainer)
    states = {name: updater.states.get(places[name]) for name in places}
    rate = -trainer.learning_rate
    return {name: to_numpy(state).astype("float64") / rate for name, state in states.items() if state is not None}


def set_velocity(net, trainer, velocity):
    """Give the optimiser the velocities that `get_velocity` returned, in either framework."""
    updater, places = _updater(net, trainer)
    for name, parameter in _tensors(net).items():
        if name in velocity:
            state = to_device(velocity[name] * -trainer.learning_rate, parameter.data().ctx, parameter.dtype)
            updater.states[places[name]] = state.as_nd_ndarray()  # the optimiser's operators take no other
            updater.states_synced[places[name]] = True


def _tensors(net):
    """Return every parameter and running statistic of the network by canonical name.

    `_collect_params_with_prefix` gives the names that `save_parameters` writes. No public function does: the public
    names count the layers that the process has made.
    """
    canonical, named = {"gamma": "weight", "beta": "bias"}, {}
    for name, parameter in net._collect_params_with_prefix().items():
        layer, part = name.rsplit(".", 1)
        named[f"{layer}.{canonical.get(part, part)}"] = parameter
    assert len(named) == len(net.collect_params().keys())
    return named


def _updater(net, trainer):
    """Return the part of a trainer that keeps the velocities, and the place in it of each parameter by canonical name.

    The trainer sorts parameters its own way; its public functions only write the velocities to a file, as a pickle.
    With several devices it would keep them elsewhere.
    """
    (updater,) = trainer._updaters
    names = {id(parameter): name for name, parameter in _tensors(net).items()}
    assert len(trainer._params) == len(names)
    return updater, {names[id(p)]: place for place, p in enumerate(trainer._params) if p.grad_req != "null"}
