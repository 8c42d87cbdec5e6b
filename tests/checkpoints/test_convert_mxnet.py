"""Weights of MXNet networks, Gluon's and the Straight Dope's: read as they were saved, and loaded as we write them."""

import contextlib
import dataclasses

import numpy as np
import pytest

from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.checkpoints.convert import load_weights, save_weights
from ssd_common.checkpoints.params_file import read_params
from ssd_common.config import BOOK, STRAIGHT_DOPE, Config, RunConfig
from tests.checkpoints.convert_cases import (
    NAMES,
    STATISTICS,
    assert_same_weights,
    classes,
    random_weights,
)

# Gluon.


def gluon_net(weights, model=BOOK.model):
    from ssd_mxnet.weights import make_net

    return make_net(model, weights, dtype=str(weights[NAMES[0]].dtype))


@pytest.mark.backend("mxnet")
def test_what_the_mxnet_network_saves_is_read(dtype, tmp_path):
    model = classes(3)
    weights = random_weights(model, dtype)
    gluon_net(weights, model).save_parameters(str(tmp_path / "w"))
    checkpoint = load_weights(tmp_path / "w")
    assert_same_weights(checkpoint.weights, weights)
    assert checkpoint.config.model == dataclasses.replace(BOOK.model, class_names=("class 0", "class 1", "class 2"))


@pytest.mark.backend("mxnet")
def test_the_mxnet_network_loads_what_we_write(dtype, tmp_path):
    from ssd_mxnet.weights import get_weights

    model = classes(3)
    weights = random_weights(model, dtype)
    save_weights(tmp_path / "w.params", Checkpoint(weights, RunConfig(Config(model))))
    net = gluon_net(random_weights(model, dtype, seed=1), model)
    net.load_parameters(str(tmp_path / "w.params"))
    assert_same_weights(get_weights(net), weights)


# The Straight Dope.


@contextlib.contextmanager
def classic_mxnet():
    """Without numpy semantics, which came after that chapter and which `import ssd_mxnet` turns on."""
    import mxnet as mx

    with mx.util.np_array(False), mx.util.np_shape(False):
        yield mx


def straight_dope_net(num_classes):
    """Return the layers of the chapter's network, made in its order: Gluon itself numbers them."""
    from mxnet.gluon import nn

    def down_sample(channels, inputs):
        block = nn.Sequential(prefix="")
        for n in (inputs, channels):
            block.add(nn.Conv2D(channels, 3, padding=1, in_channels=n), nn.BatchNorm(in_channels=channels))
            block.add(nn.Activation("relu"))
        block.add(nn.MaxPool2D(2))
        return block

    net = nn.Sequential(prefix="toyssd0_")
    with net.name_scope():
        blocks = [down_sample(128, inputs) for inputs in (64, 128, 128)]
        heads = []
        for inputs in (64, 128, 128, 128, 128):
            class_head = nn.Conv2D(4 * (num_classes + 1), 3, padding=1, in_channels=inputs)
            heads.append((class_head, nn.Conv2D(4 * 4, 3, padding=1, in_channels=inputs)))
        body = nn.Sequential(prefix="")
        body.add(*(down_sample(channels, inputs) for inputs, channels in ((3, 16), (16, 32), (32, 64))))
        net.add(body, *blocks, *(head for pair in heads for head in pair))
    net.initialize()
    return net, [body, *blocks, nn.GlobalMaxPool2D()], heads


def straight_dope_forward(blocks, heads, pictures):
    """Return class logits and offsets of each scale, flattened as the chapter does."""
    logits, offsets = [], []
    for block, (class_head, box_head) in zip(blocks, heads, strict=True):
        pictures = block(pictures)
        logits.append(class_head(pictures).transpose((0, 2, 3, 1)).reshape((len(pictures), -1)).asnumpy())
        offsets.append(box_head(pictures).transpose((0, 2, 3, 1)).reshape((len(pictures), -1)).asnumpy())
    return np.concatenate(logits, axis=1), np.concatenate(offsets, axis=1)


@pytest.mark.backend("mxnet")
@pytest.mark.filterwarnings("ignore:Please use `csr_matrix`:DeprecationWarning")  # mx.nd.array looks for scipy's
def test_the_published_weights_give_what_they_give_in_the_chapters_network(data_dir):
    import mxnet as mx

    path = data_dir / "pretrained" / "ssd_pikachu-fbb7d872.params"
    pictures = np.random.default_rng(0).uniform(-120, 130, (2, 3, 64, 64)).astype(np.float32)
    with classic_mxnet():
        net, blocks, heads = straight_dope_net(num_classes=1)
        net.load_parameters(str(path))  # by the flat names, which Gluon gives to the layers
        logits, offsets = straight_dope_forward(blocks, heads, mx.nd.array(pictures))
    _, ours, our_offsets = gluon_net(load_weights(path).weights)(mx.np.array(pictures))
    assert np.ptp(logits) > 1
    np.testing.assert_allclose(ours.asnumpy().reshape(2, -1), logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(our_offsets.asnumpy(), offsets, rtol=1e-4, atol=1e-4)


def assert_holds(blocks, heads, weights):
    """Compare canonical weights with layers of the chapter's network, some of each part."""
    for i, (class_head, box_head) in enumerate(heads):
        np.testing.assert_array_equal(weights[f"cls_{i}.weight"], class_head.weight.data().asnumpy())
        np.testing.assert_array_equal(weights[f"bbox_{i}.bias"], box_head.bias.data().asnumpy())
    for i, half in ((i, half) for i in range(6) for half in (0, 3)):
        name, block = (f"blk_0.{i}", blocks[0][i]) if i < 3 else (f"blk_{i - 2}", blocks[i - 2])
        np.testing.assert_array_equal(weights[f"{name}.{half}.weight"], block[half].weight.data().asnumpy())
        np.testing.assert_array_equal(weights[f"{name}.{half}.bias"], block[half].bias.data().asnumpy())
        normalisation = block[half + 1]
        for ours, theirs in {"weight": "gamma", "bias": "beta"}.items() | {(n, n) for n in STATISTICS}:
            expected = getattr(normalisation, theirs).data().asnumpy()
            np.testing.assert_array_equal(weights[f"{name}.{half + 1}.{ours}"], expected)


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("prefix", ["", "toyssd0_"])
def test_what_the_chapters_network_saves_is_read_with_and_without_its_prefix(prefix, tmp_path):
    with classic_mxnet():
        net, blocks, heads = straight_dope_net(num_classes=2)
        for i, parameter in enumerate(net.collect_params().values()):
            parameter.set_data(parameter.data() + i)  # no two the same
        net.collect_params().save(str(tmp_path / "w"), strip_prefix="" if prefix else "toyssd0_")
        assert f"{prefix}conv0_weight" in read_params(tmp_path / "w")
        assert_holds(blocks, heads, load_weights(tmp_path / "w").weights)


@pytest.mark.backend("mxnet")
def test_the_chapters_network_loads_what_we_write(tmp_path):
    weights = random_weights(classes(2))
    save_weights(tmp_path / "w.params", Checkpoint(weights, RunConfig(Config(classes(2)))), names="straight-dope")
    with classic_mxnet():
        net, blocks, heads = straight_dope_net(num_classes=2)
        net.load_parameters(str(tmp_path / "w.params"))
        assert_holds(blocks, heads, weights)


def test_the_published_weights_get_the_settings_of_their_chapter(data_dir):
    path = data_dir / "pretrained" / "ssd_pikachu-fbb7d872.params"
    checkpoint = load_weights(path)
    assert checkpoint.config.model == STRAIGHT_DOPE.model
    assert (checkpoint.config.train, checkpoint.config.predict) == (STRAIGHT_DOPE.train, STRAIGHT_DOPE.predict)
    assert (checkpoint.velocity, checkpoint.epoch, checkpoint.step) == ({}, 0, 0)
    assert {str(value.dtype) for value in checkpoint.weights.values()} == {"float32"}


@pytest.mark.backend("torch")
def test_the_published_weights_go_through_every_kind_of_file_bit_by_bit(data_dir, tmp_path):
    path = data_dir / "pretrained" / "ssd_pikachu-fbb7d872.params"
    first = checkpoint = load_weights(path)
    steps = [("a.pt", "gluon"), ("b.params", "gluon"), ("c.safetensors", "gluon"), ("d.params", "straight-dope")]
    for file, names in [*steps, ("e.pth", "gluon")]:
        save_weights(tmp_path / file, checkpoint, names)
        checkpoint = load_weights(tmp_path / file, None if file.endswith("safetensors") else STRAIGHT_DOPE)
        assert dataclasses.replace(checkpoint, weights={}) == dataclasses.replace(first, weights={})
        assert_same_weights(checkpoint.weights, first.weights)
    assert_same_weights(read_params(tmp_path / "d.params"), read_params(path))
