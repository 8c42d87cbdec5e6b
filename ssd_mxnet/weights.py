"""To and from the canonical weights of `ssd_common.weights`."""

from mxnet import np

from ssd_common.weights import check_weights

from .data import to_device, to_numpy
from .model import TinySSD

_CANONICAL = {"gamma": "weight", "beta": "bias"}  # batch normalisation's names in Gluon


def make_net(model_config, weights, device=None, dtype="float32", compile=None):
    """Return the network of a model configuration, on the device, with the given weights.

    Args:
        model_config: a `ModelConfig`.
        weights: numpy arrays by canonical name.
        device: as returned by `get_device`; the CPU by default.
        dtype: "float32" or "float64".
        compile: whether to hybridize. By default wherever it can be done: in float32 (see `TinySSD`).

    Raises:
        InputError: the weights are not those of the model; the message names the tensor.
    """
    check_weights(weights, model_config, "weights")
    net = TinySSD(model_config.num_classes, model_config.anchors)
    net.cast(dtype)
    for name, parameter in _parameters(net).items():
        parameter.shape = weights[name].shape  # otherwise known only after the first batch
    net.initialize(init="zeros", ctx=device)  # the default draws no float64
    set_weights(net, weights)
    if compile is not False:
        net.hybridize(static_alloc=True, static_shape=True)
    return net


def get_weights(net):
    """Return every parameter and running statistic as numpy arrays by canonical name."""
    return {name: to_numpy(parameter.data()) for name, parameter in _parameters(net).items()}


def set_weights(net, weights):
    """Overwrite every parameter and running statistic with numpy arrays by canonical name."""
    for name, parameter in _parameters(net).items():
        parameter.set_data(to_device(weights[name], dtype=parameter.dtype))


def get_gradients(net):
    """Return the gradient of every parameter as numpy arrays by canonical name."""
    return {name: to_numpy(p.grad()) for name, p in _parameters(net).items() if p.grad_req != "null"}


def get_velocity(net, trainer):
    """Return the optimiser's velocity of every parameter by canonical name; empty before the first step, or without.

    The convention is PyTorch's: `v = momentum * v + gradient`, and `lr * v` is subtracted from the parameter. MXNet
    keeps `-lr * v`.
    """
    states = trainer._updaters[0].states  # no public way but a pickle
    velocity = {}
    for index, name in _trainer_order(net, trainer).items():
        if states.get(index) is not None:
            # In float64, so that `set_velocity` gets the same bits back.
            velocity[name] = to_numpy(states[index]).astype("float64") / -trainer.learning_rate
    return velocity


def set_velocity(net, trainer, velocity):
    """Give the optimiser the velocities that `get_velocity` returned, in either framework."""
    updater, parameters = trainer._updaters[0], _parameters(net)
    for index, name in _trainer_order(net, trainer).items():
        if name in velocity:
            data = parameters[name].data()
            state = np.array(velocity[name] * -trainer.learning_rate, dtype=data.dtype, ctx=data.ctx)
            updater.states[index] = state.as_nd_ndarray()  # the optimiser's operators take no other
            updater.states_synced[index] = True


def _parameters(net):
    """Return the parameters of the network by canonical name: Gluon's place names, with two words exchanged."""
    named = net._collect_params_with_prefix()  # what save_parameters uses; the public names are only counters
    return {_canonical(name): parameter for name, parameter in named.items()}


def _canonical(name):
    layer, part = name.rsplit(".", 1)
    return f"{layer}.{_CANONICAL.get(part, part)}"


def _trainer_order(net, trainer):
    """Return the canonical name of each trained parameter by its index in the trainer, which sorts them its own way."""
    names = {id(parameter): name for name, parameter in _parameters(net).items()}
    return {i: names[id(p)] for i, p in enumerate(trainer._params) if p.grad_req != "null"}
