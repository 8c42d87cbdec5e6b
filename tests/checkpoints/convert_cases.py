"""Weights to convert, files of every foreign kind, and what is said of a bad one."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.checkpoints.convert import load_weights, save_weights
from ssd_common.config import BOOK, Config, ModelConfig, RunConfig
from ssd_common.errors import InputError
from ssd_common.weights import parameter_shapes

NAMES = list(parameter_shapes(BOOK.model))
STATISTICS = ("running_mean", "running_var")
FILES = {  # suffix and names of each foreign kind
    "gluon": (".params", "gluon"),
    "straight-dope": (".params", "straight-dope"),
    "torch": (".pt", "gluon"),
    "safetensors": (".safetensors", None),  # written by others, with the tensors of a state_dict
}
FOREIGN = [pytest.param(name, marks=pytest.mark.backend("torch") if name == "torch" else ()) for name in FILES]


def random_weights(model=BOOK.model, dtype="float32", seed=0):
    """Return values of every magnitude, and of every sign except for variances, for every tensor."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape).astype(dtype) for name, shape in parameter_shapes(model).items()}
    return {name: np.abs(value) if name.endswith("running_var") else value for name, value in weights.items()}


def classes(count):
    return ModelConfig(class_names=tuple(f"name {i}" for i in range(count)))


def write_foreign(folder, kind, weights, model=BOOK.model):
    """Write weights as one of the foreign kinds, under a name that says nothing, and return the path."""
    suffix, names = FILES[kind]
    path = folder / f"w{suffix}"
    if names is None:
        save_file(weights, path)
    else:
        save_weights(path, Checkpoint(weights, RunConfig(Config(model))), names)
    return path.rename(folder / "weights")


def assert_same_weights(actual, expected):
    assert sorted(actual) == sorted(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def refusal(path, *arguments):
    """Return the message with which a file is refused."""
    with pytest.raises(InputError) as error:
        load_weights(path, *arguments)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")
