"""Weights files of others are told by their content, become the same checkpoint, and are written for their owners."""

import contextlib
import dataclasses
import os
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssd_common.checkpoints.checkpoint import Checkpoint, save_checkpoint
from ssd_common.checkpoints.convert import FORMATS, load_weights, not_kept, save_weights
from ssd_common.checkpoints.params_file import read_params, write_params
from ssd_common.config import BOOK, IMPROVED, STRAIGHT_DOPE, AnchorConfig, Config, ModelConfig, RunConfig, TrainConfig
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


# PyTorch.


def torch_net(num_classes):
    """Return a network of the book's structure and names."""
    from torch import nn

    def down_sample(channels, inputs):
        layers = []
        for n in (inputs, channels):
            layers += [nn.Conv2d(n, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        return nn.Sequential(*layers, nn.MaxPool2d(2))

    body = nn.Sequential(*(down_sample(channels, inputs) for inputs, channels in ((3, 16), (16, 32), (32, 64))))
    blocks = [body, *(down_sample(128, inputs) for inputs in (64, 128, 128)), nn.AdaptiveMaxPool2d(1)]
    net = nn.Module()
    for i, (block, inputs) in enumerate(zip(blocks, (64, 128, 128, 128, 128), strict=True)):
        net.add_module(f"blk_{i}", block)
        net.add_module(f"cls_{i}", nn.Conv2d(inputs, 4 * (num_classes + 1), 3, padding=1))
        net.add_module(f"bbox_{i}", nn.Conv2d(inputs, 4 * 4, 3, padding=1))
    return net


def torch_weights(net):
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    return {name: value for name, value in state.items() if "num_batches" not in name}


@pytest.mark.backend("torch")
@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_the_state_dict_of_a_pytorch_network_is_read(kind, dtype, tmp_path):
    import torch
    from safetensors.torch import save_file as save_safetensors

    net = torch_net(num_classes=2).to(getattr(torch, dtype))
    if kind == "zip":
        torch.save(net.state_dict(), tmp_path / "w")
    else:
        save_safetensors(net.state_dict(), tmp_path / "w", {"format": "pt"})
    checkpoint = load_weights(tmp_path / "w", class_names=("cat", "dog"))
    assert_same_weights(checkpoint.weights, torch_weights(net))
    assert checkpoint.config.model == dataclasses.replace(BOOK.model, class_names=("cat", "dog"))
    assert checkpoint.config.predict == BOOK.predict


@pytest.mark.backend("torch")
@pytest.mark.parametrize("suffix", [".pt", ".PTH"])
def test_a_pytorch_network_loads_what_we_write_strictly(suffix, dtype, tmp_path):
    import torch

    model = classes(2)
    weights = random_weights(model, dtype)
    save_weights(tmp_path / f"w{suffix}", Checkpoint(weights, RunConfig(Config(model)), step=17))
    state = torch.load(tmp_path / f"w{suffix}", weights_only=True)
    net = torch_net(num_classes=2).to(getattr(torch, dtype))
    net.load_state_dict(state, strict=True)
    assert list(state) == list(net.state_dict())
    assert_same_weights(torch_weights(net), weights)
    assert net.blk_0[0][1].num_batches_tracked == 17


@pytest.mark.backend("torch")
def test_parameters_and_halves_in_a_state_dict_are_read(tmp_path):
    import torch

    net = torch_net(num_classes=1)
    state = {name: torch.nn.Parameter(value.bfloat16()) for name, value in torch_weights_as_tensors(net).items()}
    torch.save(state, tmp_path / "w")
    expected = {name: value.detach().float().numpy() for name, value in state.items()}
    assert_same_weights(load_weights(tmp_path / "w").weights, expected)


def torch_weights_as_tensors(net):
    return {name: value for name, value in net.state_dict().items() if "num_batches" not in name}


class Harmful:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.makedirs, (self.path,)


@pytest.mark.backend("torch")
def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path):
    import torch

    torch.save({"blk_0.0.0.weight": Harmful(tmp_path / "run")}, tmp_path / "w")
    assert "it holds 'os.makedirs'); write it with torch.save(net.state_dict(), path)" in refusal(tmp_path / "w")
    assert not (tmp_path / "run").exists()


@pytest.mark.backend("torch")
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about sparse tensors
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda torch: torch.nn.Conv2d(1, 1, 1), "it holds 'torch.nn.modules.conv.Conv2d'"),
        (lambda torch: [torch.ones(2)], "not a state_dict; write it with torch.save"),
        (lambda torch: {"epoch": 3, "model": {}}, "not a state_dict"),
        (lambda torch: {0: torch.ones(2)}, "not a state_dict"),
        (lambda torch: {"x": torch.eye(3).to_sparse()}, "tensor 'x' cannot be read by numpy"),
        (lambda torch: {"x": torch.ones(1).expand(10**6)}, "tensors of 4000000 bytes in a file of"),
        (lambda torch: dict.fromkeys("abcdefgh", torch.ones(10**4)), "tensors of 320000 bytes in a file of"),
        (lambda torch: {}, "holds no tensors"),
        (lambda torch: {"blk_0\n": torch.ones(2)}, r"tensor 'blk_0\n' does not belong to the model"),
    ],
    ids=["network", "list", "dict of dicts", "numbered", "sparse", "expanded", "shared", "empty", "name of lines"],
)
def test_what_is_not_a_state_dict_is_refused(content, message, tmp_path):
    import torch

    torch.save(content(torch), tmp_path / "w")
    assert message in refusal(tmp_path / "w")


def rewrite_zip(path, compression=zipfile.ZIP_STORED, change=lambda name, content: content):
    """Write a zip anew, its records changed, with valid checksums."""
    with zipfile.ZipFile(path) as file:
        records = [(name, change(name, file.read(name))) for name in file.namelist()]
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in records:
            file.writestr(name, content)


@pytest.fixture
def small_zip(tmp_path):
    """A `torch.save` of two small tensors."""
    import torch

    torch.save({"a": torch.arange(4.0), "b": torch.ones(3)}, tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.backend("torch")
def test_a_packed_zip_is_refused(small_zip):
    rewrite_zip(small_zip, zipfile.ZIP_DEFLATED)
    assert refusal(small_zip) == "a packed zip, which torch.save does not write"


@pytest.mark.backend("torch")
def test_another_zip_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", x=np.ones(3))  # what MXNet 2 writes
    assert refusal(tmp_path / "w.npz") == "a zip, but not one that torch.save wrote"


@pytest.mark.backend("torch")
def test_a_tensor_longer_than_its_values_is_refused(small_zip):
    # The pickle of `a`: 4 stored numbers, of which the tensor takes 4. It now announces 200.
    four, many = b"K\x04tq\x07QK\x00K\x04\x85", b"K\xc8tq\x07QK\x00K\xc8\x85"
    rewrite_zip(small_zip, change=lambda name, content: content.replace(four, many))
    assert "cannot be read as a state_dict (damaged, or more than tensors: RuntimeError)" in refusal(small_zip)


@pytest.mark.backend("torch")
def test_a_changed_value_in_a_zip_is_noticed(small_zip):
    content = small_zip.read_bytes()
    start = content.index(np.arange(4, dtype=np.float32).tobytes())
    for place in range(start, start + 16):
        small_zip.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert "a checksum or a length does not match; the file is damaged" in refusal(small_zip)


@pytest.mark.backend("torch")
@pytest.mark.filterwarnings("ignore")  # torch says what it thinks of a damaged pickle
def test_a_damaged_zip_is_refused_or_read_and_there_is_no_other_way_out(small_zip):
    from ssd_torch.state_dict import read_state_dict

    rng, messages = np.random.default_rng(0), []
    whole = small_zip.read_bytes()
    for i in range(400):
        place = rng.integers(len(whole))
        changed = [bytes([whole[place] ^ 1 << rng.integers(8)]), rng.bytes(4), b""][i % 3]
        small_zip.write_bytes(whole[:place] + changed + (whole[place + len(changed) :] if changed else b""))
        if i % 2:  # damage that checksums do not tell
            small_zip.write_bytes(whole)
            places = rng.integers(0, 200, 2)

            def flip(name, content, places=places):
                content = bytearray(content)
                for place in places if name.endswith("data.pkl") else ():
                    content[place] ^= 1 << (place % 8)
                return bytes(content)

            rewrite_zip(small_zip, change=flip)
        try:
            read = read_state_dict(small_zip)
        except InputError as error:
            messages.append(str(error))
        else:
            assert all(isinstance(value, np.ndarray) for value in read.values())
    assert len(messages) > 200
    assert all(message.startswith(f"{small_zip}: ") and "\n" not in message for message in messages)


# What every foreign file has in common.


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_classes_are_counted_and_named(kind, tmp_path):
    path = write_foreign(tmp_path, kind, random_weights(classes(2)), classes(2))
    assert load_weights(path).config.model.class_names == ("class 0", "class 1")
    assert load_weights(path, class_names=("cat", "dog")).config.model.class_names == ("cat", "dog")
    preset = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, class_names=("one", "two")))
    assert load_weights(path, preset).config.model.class_names == ("one", "two")
    assert refusal(path, None, ("cat",)) == "the weights have 2 classes, 1 are named (cat)"


@pytest.mark.parametrize("kind", FOREIGN)
def test_each_kind_has_the_preset_of_its_chapter_unless_told_otherwise(kind, tmp_path):
    path = write_foreign(tmp_path, kind, random_weights())
    usual, other = (STRAIGHT_DOPE, BOOK) if kind == "straight-dope" else (BOOK, STRAIGHT_DOPE)
    for preset, checkpoint in ((usual, load_weights(path)), (other, load_weights(path, other))):
        assert (checkpoint.config.model, checkpoint.config.train, checkpoint.config.predict) == (
            preset.model,
            preset.train,
            preset.predict,
        )


def file_name(kind, name):
    """Return what each kind calls three of the tensors."""
    gluon = {"blk_2.4.bias": "blk_2.4.beta"}
    flat = {"blk_2.4.bias": "batchnorm3_beta", "cls_0.weight": "conv6_weight", "bbox_3.weight": "conv13_weight"}
    return {"gluon": gluon, "straight-dope": flat}.get(kind, {}).get(name, name)


def write_arrays(path, kind, weights):
    """Write canonical weights, whatever they are, under the names of a kind."""
    if kind == "safetensors":
        save_file(weights, path)
    elif kind == "torch":
        from ssd_torch.state_dict import write_state_dict

        write_state_dict(path, weights)
    else:
        whole = write_foreign(path.parent, kind, random_weights())
        names = dict(zip(NAMES, read_params(whole), strict=True))
        write_params(path, {names.get(name, name): value for name, value in weights.items()})
    return path


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["blk_2.4.bias", "cls_0.weight", "bbox_3.weight"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda value: None, "is missing; is it a TinySSD"),
        (lambda value: value[:-1], "should be ("),
        (lambda value: value[..., None], "should be ("),
        (lambda value: value.reshape(-1)[0:1], "should be ("),
        (lambda value: value * np.nan, "holds values that are not finite"),
        (lambda value: value.astype(np.int32), "is int32, not floating point"),
    ],
    ids=["missing", "shorter", "deeper", "one number", "not a number", "whole numbers"],
)
def test_a_wrong_tensor_is_called_by_the_files_own_name(name, spoil, message, kind, tmp_path):
    weights = random_weights()
    weights[name] = spoil(weights[name])
    path = write_arrays(tmp_path / "w", kind, {n: v for n, v in weights.items() if v is not None})
    assert refusal(path).startswith(f"tensor {file_name(kind, name)} {message}")


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_tensor_too_many_is_refused(kind, tmp_path):
    path = write_arrays(tmp_path / "w", kind, random_weights() | {"more.weight": np.ones(2, np.float32)})
    assert refusal(path) == "tensor more.weight does not belong to the model"


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_anchors_than_the_presets_are_refused(kind, tmp_path):
    anchors = AnchorConfig(sizes=((0.2, 0.3, 0.4),) + ((0.5, 0.6),) * 4)
    path = write_foreign(tmp_path, kind, random_weights(ModelConfig(anchors=anchors)), ModelConfig(anchors=anchors))
    name = {"straight-dope": "conv7_weight"}.get(kind, "bbox_0.weight")
    assert refusal(path, BOOK) == (
        f"tensor {name} should be (16, 64, 3, 3) for the 4 anchors at each unit that preset book has, "
        "found (20, 64, 3, 3); is it the right preset?"
    )
    preset = dataclasses.replace(BOOK, model=ModelConfig(anchors=anchors))
    assert load_weights(path, preset).config.model == preset.model


@pytest.mark.parametrize("outputs", [4, 7, 0])
def test_class_predictors_for_no_whole_number_of_classes_are_refused(outputs, tmp_path):
    weights = random_weights() | {"cls_0.weight": np.ones((outputs, 64, 3, 3), np.float32)}
    path = write_arrays(tmp_path / "w", "safetensors", weights)
    assert refusal(path) == (
        "tensor cls_0.weight should be (4 * (classes + 1), 64, 3, 3) for 4 anchors at each unit, "
        f"found ({outputs}, 64, 3, 3)"
    )


def test_a_number_of_classes_without_values_takes_no_memory(tmp_path):
    weights = random_weights() | {"cls_0.weight": np.ones((2**40, 0, 3, 3), np.float32)}
    assert "found (1099511627776, 0, 3, 3)" in refusal(write_arrays(tmp_path / "w", "safetensors", weights))


@pytest.mark.parametrize("kind", ["safetensors", "gluon"])
def test_half_precision_becomes_single_and_loses_nothing(kind, tmp_path):
    halves = random_weights(dtype="float16")
    path = write_arrays(tmp_path / "w", kind, halves)
    assert_same_weights(load_weights(path).weights, {name: v.astype(np.float32) for name, v in halves.items()})


# The kind of a file.


def test_a_file_of_this_package_comes_back_whole_and_takes_no_other_configuration(tmp_path):
    momentum = random_weights(seed=1)
    path = tmp_path / "w.params"  # the suffix does not matter
    run_config = RunConfig(Config(BOOK.model, TrainConfig(seed=3)), data="bananas")
    checkpoint = Checkpoint(random_weights(), run_config, momentum, 2, 5)
    save_checkpoint(path, dataclasses.replace(checkpoint, predict=STRAIGHT_DOPE.predict))
    loaded = load_weights(path)
    assert_same_weights(loaded.weights, checkpoint.weights)
    assert_same_weights(loaded.velocity, momentum)
    assert (loaded.config.train, loaded.step, loaded.config.predict) == (TrainConfig(seed=3), 5, STRAIGHT_DOPE.predict)
    for given in ((BOOK,), (None, ("banana",))):
        assert refusal(path, *given) == "carries its own configuration and class names; leave preset and classes out"


@pytest.mark.parametrize("key", [b'"format":"tinyssd', b'"sha256"', b'"model"', b"__metadata__"])
def test_a_damaged_file_of_this_package_is_not_taken_for_a_foreign_one(key, tmp_path):
    save_checkpoint(tmp_path / "w", Checkpoint(random_weights(), RunConfig(Config(BOOK.model))))
    content = (tmp_path / "w").read_bytes()
    assert content.count(key) == 1
    for place in range(content.index(key) + 1, content.index(key) + len(key)):
        (tmp_path / "w").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        refusal(tmp_path / "w")


def test_a_list_without_names_cannot_be_told_apart(tmp_path):
    write_params(tmp_path / "w", {str(i): value for i, value in enumerate(random_weights().values())})
    assert refusal(tmp_path / "w") == (
        "a list without names, which say what each array is: save it with save_parameters"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["features.0.weight", "x"], "not the weights of a TinySSD: no tensor is called blk_0.0.0.weight"),
        (["resnetv10_conv0_weight"], "tensor resnetv10_conv0_weight is missing"),
        (["module.blk_0.0.0.weight"], "tensor module.cls_0.weight is missing; is it a TinySSD?"),
        ([], "holds no tensors"),
    ],
)
def test_the_weights_of_another_network_are_refused(names, message, tmp_path):
    save_file({name: np.ones(2, np.float32) for name in names}, tmp_path / "w")
    if names == ["resnetv10_conv0_weight"]:
        message = "tensor resnetv10_conv6_weight is missing; is it a TinySSD?"
    assert message in refusal(tmp_path / "w")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x12\1", b"PNG, or what else there is", pickle.dumps({"a": 1}), b"\x89HDF\r\n\x1a\n" + bytes(20)],
    ids=["empty", "cut", "text", "pickle", "hdf5"],
)
def test_a_file_of_no_known_kind_is_refused(content, tmp_path):
    (tmp_path / "w.pt").write_bytes(content)
    assert refusal(tmp_path / "w.pt").startswith("not a weights file: neither safetensors, nor MXNet's .params, nor")


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "w.pt") == "no such weights file"


# Writing.


@pytest.mark.parametrize("file", ["w.onnx", "w", "w.npz"])
def test_an_unknown_suffix_is_refused(file, tmp_path):
    with pytest.raises(InputError, match=r"unknown suffix .*; the suffixes are \.safetensors, \.params, \.pt, \.pth$"):
        save_weights(tmp_path / file, Checkpoint(random_weights(), RunConfig(Config(BOOK.model))))
    assert list(tmp_path.iterdir()) == []
    assert list(FORMATS) == [".safetensors", ".params", ".pt", ".pth"]


@pytest.mark.parametrize(
    ("file", "names", "message"),
    [
        ("w.params", "keras", "unknown names 'keras'; those of a .params file are gluon, straight-dope"),
        ("w.pt", "straight-dope", "only a .params file can have the names of straight-dope"),
    ],
)
def test_names_that_a_file_cannot_have_are_refused(file, names, message, tmp_path):
    with pytest.raises(InputError, match=message):
        save_weights(tmp_path / file, Checkpoint(random_weights(), RunConfig(Config(BOOK.model))), names)


@pytest.mark.parametrize("suffix", [".params", ".safetensors", pytest.param(".pt", marks=pytest.mark.backend("torch"))])
def test_weights_that_are_not_the_models_are_not_written(suffix, tmp_path):
    with pytest.raises(InputError, match=r"tensor cls_0\.weight should be \(12, 64, 3, 3\), found \(8, 64, 3, 3\)"):
        save_weights(tmp_path / f"w{suffix}", Checkpoint(random_weights(), RunConfig(Config(classes(2)))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "names", "preset", "lost"),
    [
        ("w.pt", "gluon", BOOK, []),
        ("w.safetensors", "gluon", IMPROVED, []),
        ("w.params", "straight-dope", STRAIGHT_DOPE, []),
        ("w.pt", "gluon", STRAIGHT_DOPE, ["class names, mean, thresholds of detection; ", "preset book"]),
        ("w.params", "straight-dope", IMPROVED, ["class names, mean, anchors, thresholds", "preset straight-dope"]),
    ],
)
def test_what_weights_alone_do_not_keep_is_said(file, names, preset, lost, tmp_path):
    lines = not_kept(tmp_path / file, Checkpoint({}, RunConfig(Config(preset.model, predict=preset.predict))), names)
    assert len(lines) == bool(lost)
    for words in lost:
        assert words in lines[0]
