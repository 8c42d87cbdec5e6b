"""A right sha256 over odd content, and files of 1 MB that ask for more: one line, within bounds of time and memory."""

import functools
import hashlib
import json
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssd_common.checkpoints.any_model import load_any, table
from ssd_common.checkpoints.checkpoint import load_checkpoint
from ssd_common.checkpoints.convert import load_weights
from ssd_common.checkpoints.params_file import read_params
from ssd_common.cli import main
from ssd_common.config import ModelConfig, TrainConfig
from ssd_common.config.tables import to_dict
from ssd_common.errors import InputError
from ssd_common.weights import initial_weights

TINY = ModelConfig(image_size=64)
SECONDS, BYTES = 2, 500e6
"""The most that any parser may take for a file of up to 1 MB."""


@functools.cache
def tiny_weights():
    return initial_weights(TINY, TrainConfig())


def sealed(tensors, metadata):
    """Return metadata with the sha256 of everything, as version 0.1.0 computes it."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return metadata | {"sha256": digest.hexdigest()}


def write(path, tensors=None, without=None, **changes):
    """Write a weights file with a right sha256, of which some tensors or metadata are not what they should be."""
    metadata = {"format": "tinyssd-weights-1", "epoch": "1", "step": "2", "data": "synthetic"}
    metadata |= {"model": json.dumps(to_dict(TINY)), "train": json.dumps(to_dict(TrainConfig()))}
    metadata = {name: value for name, value in (metadata | changes).items() if name != without}
    tensors = tiny_weights() | (tensors or {})
    save_file(tensors, path, sealed(tensors, metadata))
    return path


def assert_refused(path, load=load_checkpoint):
    """Return what is said of a file that is refused in one short line, which begins with its name."""
    with pytest.raises(InputError) as error:
        load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 700 + len(str(path))
    return message.removeprefix(f"{path}: ")


def test_the_file_that_is_changed_here_is_read_as_it_is(tmp_path):
    checkpoint = load_checkpoint(write(tmp_path / "w"))
    assert (checkpoint.epoch, checkpoint.step) == (1, 2)


# Metadata.

NUMBERS = ["", "x", "-5", "1.5", "1e3", " 1", "+1", "1_0", "٣", "²", "5" * 5000, "nan", "null"]
DEEP = "[" * 100_000
TABLES = {
    "nothing": "",
    "no JSON": "model",
    "cut": '{"image_size": 256',
    "a list": "[]",
    "null": "null",
    "a number": "5",
    "deep": DEEP,
    "deep table": '{"a":' * 100_000,
    "deep and whole": '{"image_size": ' + "[" * 5000 + "]" * 5000 + "}",
    "a number of 5,000 digits": '{"seed": ' + "5" * 5000 + "}",
    "an unknown setting": '{"colour": 1}',
    "an unknown setting of lines": r'{"\u001b[31m\n": 1}',
    "another type": '{"image_size": "256", "lr": "0.1"}',
    "a long text": json.dumps({"image_size": "x" * 100_000, "lr": "x" * 100_000}),
}
VALUES = {
    "model": [
        {"image_size": -64}, {"image_size": True}, {"image_size": None},
        {"class_names": []}, {"class_names": [5]}, {"class_names": "banana"},

        {"mean": [1, 2]}, {"mean": [float("nan")] * 3}, {"mean": [10**400] * 3},
        {"anchors": []}, {"anchors": {"sizes": []}}, {"anchors": {"sizes": [[float("inf")]] * 5}},
        {"anchors": {"sizes": [[0.1]] * 5, "ratios": [[-1]] * 5}}, {"anchors": {"sizes": [[]] * 5}},
    ],
    "train": [
        {"lr": float("nan")}, {"lr": float("inf")}, {"lr": -1}, {"lr": 10**400}, {"momentum": "high"},
        {"seed": -1}, {"batch_size": 0}, {"epochs": 1.5},
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", ["model", "train", "epoch", "step", "format"])
def test_metadata_that_are_missing_are_named(name, tmp_path):
    message = assert_refused(write(tmp_path / "w", without=name))
    assert name in message or name == "format"


@pytest.mark.parametrize("name", ["epoch", "step"])
@pytest.mark.parametrize("text", NUMBERS, ids=[ascii(text)[:7] for text in NUMBERS])
def test_a_number_that_is_none_is_refused_by_its_name(text, name, tmp_path):
    assert f"'{name}'" in assert_refused(write(tmp_path / "w", **{name: text}))


@pytest.mark.parametrize("name", ["model", "train", "predict"])
@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_a_table_that_is_none_is_refused_by_its_name(text, name, tmp_path):
    assert name in assert_refused(write(tmp_path / "w", **{name: text}))


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in VALUES for change in VALUES[name]],
    ids=lambda value: str(value)[:40],
)
def test_a_setting_out_of_bounds_is_refused_by_its_table(name, change, tmp_path):
    table = to_dict(TINY if name == "model" else TrainConfig()) | change
    assert name in assert_refused(write(tmp_path / "w", **{name: json.dumps(table)}))


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 64 * 10**40},
        {"class_names": [""]},
        {"class_names": ["\ud800"]},
        {"class_names": ["two\nlines"]},
    ],
    ids=ascii,
)
def test_a_model_that_cannot_be_is_refused(change, tmp_path):
    assert "model" in assert_refused(write(tmp_path / "w", model=json.dumps(to_dict(TINY) | change)))


# Tensors.


def spoilt():
    """Return what is wrong with a tensor, by name of the case: the tensor's name, its value, words of the message."""
    rng = np.random.default_rng(0)
    vector, kernel = rng.random(16, np.float32), rng.random((16, 3, 3, 3), np.float32)
    not_finite = vector.copy()
    not_finite[3] = np.nan
    bias, variance = "blk_0.0.0.bias", "blk_0.0.1.running_var"
    return {
        "whole numbers": (bias, np.arange(16, dtype=np.int32), "int32"),
        "truth values": (bias, np.ones(16, bool), "bool"),
        "bytes": (bias, np.ones(16, np.uint8), "uint8"),
        "complex": (bias, np.ones(16, np.complex64), "complex64"),
        "not a number": (bias, not_finite, "not finite"),
        "a negative variance": (variance, -vector, "below 0"),
        "another shape": (bias, vector[:15], "(16,)"),
        "an empty one": (bias, vector[:0], "(16,)"),
        "one number": (bias, np.float32(1).reshape(()), "(16,)"),
        "an unknown one": ("more", vector, "more"),
        "velocity of another shape": (f"momentum/{bias}", vector[:15], "(16,)"),
        "velocity turned": ("momentum/blk_0.0.0.weight", kernel.T.copy(), "(16, 3, 3, 3)"),
        "velocity of one number": (f"momentum/{bias}", np.float32(1).reshape(()), "(16,)"),
        "velocity not a number": (f"momentum/{bias}", not_finite, "not finite"),
        "velocity of whole numbers": (f"momentum/{bias}", np.arange(16), "int64"),
        "velocity of nothing": ("momentum/", vector, "momentum/"),
        "velocity of an unknown one": ("momentum/more", vector, "momentum/more"),
        "velocity of a statistic": (f"momentum/{variance}", vector, variance),
    }


@pytest.mark.parametrize(("name", "value", "words"), spoilt().values(), ids=spoilt())
def test_a_wrong_tensor_is_refused_by_its_name(name, value, words, tmp_path):
    message = assert_refused(write(tmp_path / "w", {name: value}))
    assert name in message
    assert words in message


def test_the_command_refuses_them_in_one_line(tmp_path, capsys):
    path = write(tmp_path / "w", {"momentum/more": np.ones(3, np.float32)})
    with pytest.raises(SystemExit) as exit_:
        main(["convert", str(path), str(tmp_path / "w.params")])
    printed = capsys.readouterr()
    assert (exit_.value.code, printed.out) == (2, "")
    assert printed.err.startswith(f"tinyssd: {path}: ")
    assert printed.err.count("\n") == 1
    assert os.listdir(tmp_path) == ["w"]


# Bounds.


def params(count, name):
    """Return the bytes of a list of arrays of one byte, in the oldest and shortest form."""
    array = struct.pack("<IIiii", 1, 1, 1, 0, 3) + b"\0"
    names = [name(i).encode() for i in range(count)]
    content = struct.pack("<QQQ", 0x112, 0, count) + array * count + struct.pack("<Q", count)
    return content + b"".join(struct.pack("<Q", len(text)) + text for text in names)


def header(tensors, metadata=None):
    """Return the bytes of a safetensors file of tensors of one byte each."""
    table = {name: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, name in enumerate(tensors)}
    text = json.dumps(table | ({"__metadata__": metadata} if metadata else {}), separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(len(table))


def many_classes():
    names = [f"class {i}" for i in range(60_000)]
    metadata = {"format": "tinyssd-weights-1", "epoch": "1", "step": "2", "data": "", "train": "{}"}
    metadata["model"] = json.dumps(to_dict(TINY) | {"class_names": names})
    return header(["x"], sealed({"x": np.zeros(1, np.uint8)}, metadata))


LARGE = {
    ".params of 30,000 arrays": lambda: params(30_000, str),
    ".params of 30,000 flat names": lambda: params(22_000, lambda i: f"conv{i}_weight"),
    ".params of 25,000 names in the network": lambda: params(22_000, lambda i: f"module.blk_{i}.w"),
    ".params of a name of 1 MB": lambda: params(1, lambda i: "a." * 500_000),
    ".params of one name": lambda: params(30_000, lambda i: "x"),
    ".params of dots": lambda: params(4000, lambda i: "." * 190 + f"{i:05d}"),
    ".params of convs": lambda: params(4000, lambda i: "conv" * 47 + f"{i:05d}"),
    "safetensors of 14,000 tensors": lambda: header(map(str, range(14_000))),
    "safetensors of flat names": lambda: header(f"conv{i}_weight" for i in range(11_000)),
    "safetensors of deep metadata": lambda: header(["x"], {"format": "tinyssd-weights-1", "model": DEEP}),
    "safetensors of 1 MB of brackets": lambda: struct.pack("<Q", 10**6) + b'{"x":' + b"[" * (10**6 - 5),
    "safetensors of 60,000 classes": many_classes,
}


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE)
def test_a_file_of_1_mb_is_read_or_refused_within_bounds(content, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(content())
    assert path.stat().st_size < 1.1e6
    for load in (load_weights, read_params, lambda path: table(load_any(path)[0])):
        begin = time.process_time()
        assert_short(load, path)
        assert time.process_time() - begin < SECONDS
        tracemalloc.start()
        assert_short(load, path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < BYTES


def assert_short(load, path):
    """Read a file, or have it refused in a short line."""
    try:
        load(path)
        message = ""
    except InputError as error:
        message = str(error)
    assert len(message) < 700 + len(str(path))
