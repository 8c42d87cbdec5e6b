"""Weights under the names that people's files have: Gluon's counters, the prefixes of wrappers, a state_dict inside."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.checkpoints.convert import load_weights, save_weights
from ssd_common.checkpoints.params_file import read_params, write_params
from ssd_common.config import BOOK, STRAIGHT_DOPE, ModelConfig, RunConfig
from ssd_common.errors import InputError
from ssd_common.weights import parameter_shapes


def random_weights(model=BOOK.model):
    """Return values for every tensor, no two the same, and variances above 0."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in parameter_shapes(model).items()}
    return {name: np.abs(value) if name.endswith("running_var") else value for name, value in weights.items()}


def assert_same_weights(actual, expected):
    assert sorted(actual) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


# Gluon's counters.


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("made_before", [0, 1, 3])
def test_the_names_of_gluons_counters_are_read_wherever_the_counters_stood(made_before, tmp_path):
    import mxnet as mx
    from mxnet.gluon import nn

    from ssd_mxnet.weights import make_net

    model = ModelConfig(class_names=("cat", "dog"))
    for _ in range(made_before):  # as in a notebook that has made networks before
        nn.Conv2D(2, 3)
        nn.BatchNorm()
    weights = random_weights(model)
    net = make_net(model, weights)
    # What `net.collect_params().save` does where it works: not with numpy semantics.
    mx.npx.save(str(tmp_path / "w"), {name: parameter.data() for name, parameter in net.collect_params().items()})
    assert all(name.startswith(("conv", "batchnorm")) for name in read_params(tmp_path / "w"))
    checkpoint = load_weights(tmp_path / "w")
    assert_same_weights(checkpoint.weights, weights)
    assert checkpoint.config.model == dataclasses.replace(BOOK.model, class_names=("class 0", "class 1"))


def by_counter(weights, conv, batchnorm, prefix=""):
    """Return weights under the names that Gluon's counters give to the book's network, from two numbers on."""
    layers = list(dict.fromkeys(name.rsplit(".", 1)[0] for name in weights))
    normalisations = [layer for layer in layers if f"{layer}.running_mean" in weights]
    convolutions = [layer for layer in layers if layer not in normalisations]
    flat = {layer: f"conv{conv + i}" for i, layer in enumerate(convolutions)}
    flat |= {layer: f"batchnorm{batchnorm + i}" for i, layer in enumerate(normalisations)}
    renamed = {}
    for name, value in weights.items():
        layer, part = name.rsplit(".", 1)
        part = {"weight": "gamma", "bias": "beta"}.get(part, part) if layer in normalisations else part
        renamed[f"{prefix}{flat[layer]}_{part}"] = value
    return renamed


@pytest.mark.parametrize("prefix", ["", "tinyssd0_", "arg:"])
@pytest.mark.parametrize("conv", [0, 3, 95])  # 95: conv100 sorts before conv95
def test_the_order_of_the_numbers_counts_and_not_that_of_the_file(conv, prefix, tmp_path):
    weights = random_weights()
    names = by_counter(weights, conv, conv // 2, prefix)
    write_params(tmp_path / "w", {name: names[name] for name in sorted(names)})
    assert_same_weights(load_weights(tmp_path / "w").weights, weights)


def test_a_preset_decides_over_the_anchors_and_not_over_the_order(tmp_path):
    write_params(tmp_path / "book", by_counter(random_weights(), 4, 4))
    save_weights(
        tmp_path / "dope.params", Checkpoint(random_weights(), RunConfig(STRAIGHT_DOPE)), names="straight-dope"
    )
    for path, usual in ((tmp_path / "book", BOOK), (tmp_path / "dope.params", STRAIGHT_DOPE)):
        assert load_weights(path).config.model == usual.model
        for preset in (BOOK, STRAIGHT_DOPE):
            assert_same_weights(load_weights(path, preset).weights, random_weights())


def test_a_tensor_that_is_missing_or_too_many_is_called_by_its_counter(tmp_path):
    names = by_counter(random_weights(), 4, 4, "tinyssd0_")
    for changed, message in (
        (names | {"tinyssd0_dense0_weight": np.ones(2, np.float32)}, "tinyssd0_dense0_weight does not belong"),
        ({n: v for n, v in names.items() if n != "tinyssd0_conv9_bias"}, "tinyssd0_conv9_bias is missing"),
    ):
        write_params(tmp_path / "w", changed)
        with pytest.raises(InputError, match=message):
            load_weights(tmp_path / "w")


# The prefixes of wrappers.


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.net."])
@pytest.mark.parametrize("kind", ["torch", "gluon"])
def test_the_prefix_of_a_wrapper_is_left_out(kind, prefix, tmp_path):
    weights = random_weights()
    save_weights(tmp_path / "w.params", Checkpoint(weights, RunConfig(BOOK)))
    arrays = weights if kind == "torch" else read_params(tmp_path / "w.params")
    save_file({prefix + name: value for name, value in arrays.items()}, tmp_path / "w")
    assert_same_weights(load_weights(tmp_path / "w").weights, weights)


@pytest.mark.backend("torch")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch.compile imports what it deprecates
def test_what_wrapped_networks_of_pytorch_save_is_read(tmp_path):
    import torch

    from ssd_torch.weights import make_net

    weights = random_weights()
    net = make_net(BOOK.model, weights)
    for wrapped in (torch.nn.DataParallel(net), torch.compile(net), torch.nn.DataParallel(torch.compile(net))):
        torch.save(wrapped.state_dict(), tmp_path / "w")
        assert not any(name.startswith("blk_") for name in wrapped.state_dict())
        assert_same_weights(load_weights(tmp_path / "w").weights, weights)


def test_a_wrong_tensor_is_called_by_its_name_with_the_prefix(tmp_path):
    arrays = {f"module.{name}": value for name, value in random_weights().items()}
    del arrays["module.bbox_2.bias"]
    save_file(arrays, tmp_path / "w")
    with pytest.raises(InputError, match=r"tensor module\.bbox_2\.bias is missing"):
        load_weights(tmp_path / "w")
    save_file(arrays | {"bbox_2.bias": np.ones(16, np.float32)}, tmp_path / "w")
    with pytest.raises(InputError, match=r"tensor bbox_2\.bias does not belong to the model"):
        load_weights(tmp_path / "w")


# A state_dict among other things.


@pytest.mark.backend("torch")
def test_the_only_state_dict_in_a_file_is_read_and_of_several_none(tmp_path):
    import torch

    from ssd_torch.weights import make_net

    weights = random_weights()
    net = make_net(BOOK.model, weights)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    rest = {"epoch": 3, "optimizer": optimiser.state_dict(), "loss": torch.ones(())}
    torch.save({**rest, "model": net.state_dict()}, tmp_path / "w")
    assert_same_weights(load_weights(tmp_path / "w").weights, weights)
    torch.save({**rest, "model": net.state_dict(), "ema": net.state_dict()}, tmp_path / "w")
    with pytest.raises(InputError, match="w: holds more than one state_dict, at 'model', 'ema'; choose"):
        load_weights(tmp_path / "w")
