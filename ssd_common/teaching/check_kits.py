"""What `check_same` needs of each framework: tensors, layers with given weights, gradients. Imports neither of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssd_common.backends import load_backend

Arrays = dict[str, Any]


class Seen(NamedTuple):
    """What a function or a layer did, as numpy arrays by a name that a sentence can use."""

    called: str
    """Its arguments, for the sentence: "(8, 5, 10)"."""
    outputs: Arrays
    parameters: Arrays
    """Of a layer or a network."""
    gradients: Arrays
    """None where no gradient arrives."""


class Kit:
    """The numpy reference, and what both frameworks share: there are no gradients in numpy."""

    name = "numpy"

    def tensor(self, array: NDArray[Any], gradient: bool = False) -> Any:
        """Return an array as the framework's; with `gradient`, one that is asked for its gradient later."""
        return array

    def array(self, tensor: Any) -> Any:
        """Return a result as a numpy array; a number or an array of numpy as it is."""
        return np.asarray(tensor)

    def run(self, function: Callable[..., Any], arguments: Sequence[Any], training: bool = True) -> Any:
        """Return what a function returns, recording what is needed for gradients."""
        return function(*arguments)

    def backward(self, total: Callable[[], Any]) -> None:
        """Leave the gradients of a number where they can be read."""

    def gradient(self, tensor: Any) -> Any:
        """Return the gradient that `backward` left, or None."""
        return None


class TorchKit(Kit):
    """PyTorch."""

    name = "torch"

    def __init__(self) -> None:
        self.backend: Any = load_backend(self.name)

    def tensor(self, array: NDArray[Any], gradient: bool = False) -> Any:
        """Return an array as a tensor."""
        return self.backend.data.to_device(np.ascontiguousarray(array)).clone().requires_grad_(gradient)

    def array(self, tensor: Any) -> Any:
        """Return a tensor, or a number, as a numpy array."""
        return self.backend.data.to_numpy(tensor) if hasattr(tensor, "detach") else np.asarray(tensor)

    def backward(self, total: Callable[[], Any]) -> None:
        """Leave the gradients of a number in the tensors that it was computed from."""
        total().backward()

    def gradient(self, tensor: Any) -> Any:
        """Return the gradient of a tensor or of a parameter."""
        return None if tensor.grad is None else self.array(tensor.grad)

    def make_layer(self, layer: Any, X: Any) -> None:
        """Prepare a layer that was just made for float64."""
        layer.double()

    def parameters(self, layer: Any) -> dict[str, Any]:
        """Return the trained parameters and the running statistics of a layer by name."""
        return {k: v for k, v in layer.state_dict(keep_vars=True).items() if not k.endswith("num_batches_tracked")}

    def set_parameter(self, parameter: Any, value: NDArray[Any]) -> None:
        """Give a parameter a value."""
        parameter.data.copy_(self.tensor(value))

    def call_layer(self, layer: Any, X: Any, training: bool) -> Any:
        """Return what a layer makes of its input, as in training or as in prediction."""
        return layer.train(training)(X)


class MXNetKit(Kit):
    """MXNet."""

    name = "mxnet"

    def __init__(self) -> None:
        self.backend: Any = load_backend(self.name)
        self.autograd = vars(self.backend.train)["autograd"]

    def tensor(self, array: NDArray[Any], gradient: bool = False) -> Any:
        """Return an array as MXNet's."""
        made = self.backend.data.to_device(np.ascontiguousarray(array))
        if gradient:
            made.attach_grad()
        return made

    def array(self, tensor: Any) -> Any:
        """Return an array of MXNet, a parameter's value, or a number as a numpy array."""
        tensor = tensor.data() if hasattr(tensor, "grad_req") else tensor
        return self.backend.data.to_numpy(tensor) if hasattr(tensor, "asnumpy") else np.asarray(tensor)

    def run(self, function: Callable[..., Any], arguments: Sequence[Any], training: bool = True) -> Any:
        """Return what a function returns, recording what is needed for gradients."""
        with self.autograd.record(train_mode=training):
            return function(*arguments)

    def backward(self, total: Callable[[], Any]) -> None:
        """Leave the gradients of a number in the arrays that it was computed from."""
        with self.autograd.record():
            number = total()
        number.backward()

    def gradient(self, tensor: Any) -> Any:
        """Return the gradient of an array or of a parameter."""
        if hasattr(tensor, "grad_req"):
            return None if tensor.grad_req == "null" else self.array(tensor.grad())
        return None if tensor.grad is None else self.array(tensor.grad)

    def make_layer(self, layer: Any, X: Any) -> None:
        """Prepare a layer that was just made for float64; MXNet knows its shapes after the first input only."""
        layer.cast("float64")
        layer.initialize(init="zeros")
        layer(X)

    def parameters(self, layer: Any) -> dict[str, Any]:
        """Return the trained parameters and the running statistics of a layer by PyTorch's names."""
        names = {"gamma": "weight", "beta": "bias"}
        found = {}
        for name, parameter in layer._collect_params_with_prefix().items():  # the public names count layers
            *place, part = name.split(".")
            found[".".join((*place, names.get(part, part)))] = parameter
        return found

    def set_parameter(self, parameter: Any, value: NDArray[Any]) -> None:
        """Give a parameter a value."""
        parameter.set_data(self.tensor(value))

    def call_layer(self, layer: Any, X: Any, training: bool) -> Any:
        """Return what a layer makes of its input; `run` has said whether this is training."""
        return layer(X)


KITS: dict[str, type[Kit]] = {"numpy": Kit, "torch": TorchKit, "mxnet": MXNetKit}


def named_results(result: Any, name: str = "the result") -> Iterator[tuple[str, Any]]:
    """Yield what a function returns piece by piece, each with its name."""
    if isinstance(result, Mapping):
        for key, value in result.items():
            yield from named_results(value, f"“{key}” of {name}")
    elif isinstance(result, (list, tuple)):
        for number, value in enumerate(result, start=1):
            yield from named_results(value, f"result {number} of {len(result)}")
    else:
        yield name, result


def seeded_weights(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> Arrays:
    """Return weights for tensors of the given shapes, so that a signal neither dies nor grows."""
    values = {}
    for name, shape in shapes.items():
        drawn = rng.normal(0, 1, shape)
        if name.endswith("running_var"):
            values[name] = 0.5 + np.abs(drawn)
        elif len(shape) > 1:
            values[name] = drawn / math.sqrt(math.prod(shape[1:]))
        else:
            values[name] = 0.2 * drawn + (name.endswith("weight"))
    return values


def see_function(
    kit: Kit, function: Callable[..., Any], arguments: Sequence[Any], differentiable: Mapping[int, str], rng: Any
) -> Seen:
    """Call a function with arrays, and return what came out and the gradients of some of its arguments.

    Args:
        kit: of the framework.
        function: it gets `arguments`, arrays of numpy as tensors.
        arguments: in order.
        differentiable: the names of the arguments with a gradient, by place.
        rng: draws the weights of the results in the number whose gradients are taken.
    """
    with_gradient = kit.name != "numpy"
    tensors = [_tensors(kit, a, with_gradient and i in differentiable) for i, a in enumerate(arguments)]
    result = kit.run(function, tensors)
    outputs = dict(named_results(result))
    gradients = {}
    if with_gradient and differentiable:
        reached = backward(kit, list(outputs.values()), rng)
        for place, name in differentiable.items():
            for number, tensor in enumerate(_flat(tensors[place])):
                label = f"the gradient of {name}" + (f"[{number}]" if isinstance(tensors[place], list) else "")
                gradients[label] = kit.gradient(tensor) if reached else None
    return Seen("", {name: kit.array(value) for name, value in outputs.items()}, {}, gradients)


def backward(kit: Kit, outputs: Sequence[Any], rng: np.random.Generator) -> bool:
    """Take the gradients of a seeded weighted sum of the results; return whether they arrive anywhere."""

    def total() -> Any:
        number = 0.0
        for value in outputs:
            array = kit.array(value)
            if array.dtype.kind == "f":
                number = number + (value * kit.tensor(rng.normal(0, 1, array.shape))).sum()
        return number

    try:
        kit.backward(total)
    except Exception:  # the frameworks have no error of their own for a result without a graph
        return False
    return True


def _tensors(kit: Kit, argument: Any, gradient: bool) -> Any:
    if isinstance(argument, list) and argument and isinstance(argument[0], np.ndarray):
        return [kit.tensor(array, gradient) for array in argument]
    return kit.tensor(argument, gradient) if isinstance(argument, np.ndarray) else argument


def _flat(tensors: Any) -> list[Any]:
    return tensors if isinstance(tensors, list) else [tensors]


def see_layer(kit: Any, layer: Any, X: NDArray[Any], rng: np.random.Generator, by_name: bool = False) -> Seen:
    """Give a layer seeded weights, run it in training and in prediction, and return what it did.

    Args:
        kit: of PyTorch or of MXNet.
        layer: a layer that was just made.
        X: its input, float64.
        rng: draws the weights.
        by_name: the parameters of two layers belong together by their names; otherwise by their order.
    """
    kit.make_layer(layer, kit.tensor(X))
    parameters = kit.parameters(layer)
    parameters = {name: parameters[name] for name in (sorted(parameters) if by_name else parameters)}
    shapes = {name: kit.array(parameter).shape for name, parameter in parameters.items()}
    for name, value in seeded_weights(shapes, rng).items():
        kit.set_parameter(parameters[name], value)
    tensor = kit.tensor(X, gradient=True)
    outputs = dict(named_results(kit.run(lambda X: kit.call_layer(layer, X, True), [tensor]), "the output"))
    reached = backward(kit, list(outputs.values()), rng)
    trained = {name: parameter for name, parameter in parameters.items() if ".running_" not in f".{name}"}
    gradients = {"the gradient of its input": kit.gradient(tensor) if reached else None}
    gradients |= {f"the gradient of {n}": kit.gradient(p) if reached else None for n, p in trained.items()}
    after = {f"{n} after a batch": kit.array(p) for n, p in parameters.items() if n not in trained}
    predicted = kit.run(lambda X: kit.call_layer(layer, X, False), [tensor], training=False)
    outputs |= {f"{name} in prediction": value for name, value in named_results(predicted, "the output")}
    arrays = {name: kit.array(value) for name, value in outputs.items()}
    return Seen("", arrays | after, {f"its {name}": np.zeros(shape) for name, shape in shapes.items()}, gradients)
