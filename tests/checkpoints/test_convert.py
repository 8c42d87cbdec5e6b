"""Weights files of others are told by their content, become the same checkpoint, and are written for their owners."""

import dataclasses
import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssd_common.checkpoints.any_model import load_any
from ssd_common.checkpoints.checkpoint import Checkpoint, save_checkpoint
from ssd_common.checkpoints.convert import FORMATS, load_weights, not_kept, save_weights
from ssd_common.checkpoints.params_file import read_params, write_params
from ssd_common.config import BOOK, IMPROVED, STRAIGHT_DOPE, AnchorConfig, Config, ModelConfig, RunConfig, TrainConfig
from ssd_common.errors import InputError
from ssd_common.onnx_files import load_onnx
from ssd_common.weights import initial_weights
from tests.checkpoints.convert_cases import (
    FOREIGN,
    NAMES,
    STATISTICS,
    assert_same_weights,
    classes,
    random_weights,
    refusal,
    write_foreign,
)

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
    assert refusal(path) == "tensor more.weight does not belong to the model: save the network without it"


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
    velocity = {name: value for name, value in random_weights(seed=1).items() if not name.endswith(STATISTICS)}
    path = tmp_path / "w.params"  # the suffix does not matter
    run_config = RunConfig(Config(BOOK.model, TrainConfig(seed=3), STRAIGHT_DOPE.predict), data="bananas")
    checkpoint = Checkpoint(random_weights(), run_config, velocity, 2, 5)
    save_checkpoint(path, checkpoint)
    loaded = load_weights(path)
    assert_same_weights(loaded.weights, checkpoint.weights)
    assert_same_weights(loaded.velocity, velocity)
    assert (loaded.run, loaded.epoch, loaded.step) == (run_config, 2, 5)
    for given in ((BOOK,), (None, ("banana",))):
        assert refusal(path, *given) == "carries its own configuration and class names; leave preset and classes out"


@pytest.mark.parametrize("key", [b'"format":"tinyssd', b'"sha256"', b'"run"', b"__metadata__"])
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
    [b"\x12\1", b"PNG, or what else there is", pickle.dumps({"a": 1}), b"\x89HDF\r\n\x1a\n" + bytes(20)],
    ids=["cut", "text", "pickle", "hdf5"],
)
def test_a_file_of_no_known_kind_is_refused(content, tmp_path):
    (tmp_path / "w.pt").write_bytes(content)
    assert refusal(tmp_path / "w.pt").startswith("not a weights file: neither safetensors, nor MXNet's .params, nor")


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "w.pt") == "no such weights file"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty: take another copy"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a Git LFS pointer: run git lfs pull",
        ),
        (b"\n <!DOCTYPE html><html>404", "a web page: download the file again"),
        (b"\x1f\x8b\x08" + bytes(99), "a gzip archive: unpack it"),
    ],
    ids=["empty", "pointer", "page", "gzip"],
)
@pytest.mark.parametrize("load", [load_weights, load_any, load_onnx], ids=["weights", "any", "onnx"])
def test_what_is_found_in_the_place_of_weights_is_named(load, content, words, tmp_path):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(InputError) as error:
        load(tmp_path / "w")
    assert str(error.value) == f"{tmp_path / 'w'}: not a weights file, but {words}"


@pytest.mark.parametrize("load", [load_weights, load_any, load_onnx], ids=["weights", "any", "onnx"])
def test_a_pipe_in_the_place_of_weights_is_refused(load, tmp_path):
    os.mkfifo(tmp_path / "w")
    with pytest.raises(InputError, match="a pipe or a device, not a file"):
        load(tmp_path / "w")


def test_values_that_float32_cannot_hold_are_refused(tmp_path):
    weights = {name: value.astype(np.float64) for name, value in initial_weights(BOOK.model, BOOK.train).items()}
    weights["cls_0.weight"][:] = 1e300
    save_file(weights, tmp_path / "w")
    assert refusal(tmp_path / "w").startswith("tensor cls_0.weight holds values that float32 cannot")


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
