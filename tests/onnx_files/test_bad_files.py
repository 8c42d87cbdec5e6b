"""What is not an ONNX file of this package, or cannot be run or written, is one line."""

import dataclasses
import hashlib
import sys

import numpy as np
import pytest

from ssd_common.errors import InputError
from ssd_common.onnx_files import check_packages, decode_onnx, encode_onnx, load_onnx
from ssd_common.onnx_files.metadata import PLACEHOLDER, is_sealed, seal
from tests.onnx_files.onnx_cases import CHECKPOINT, content, graph, images

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.backend("mxnet")


def message(payload):
    """Return the one line that says what is wrong with a file."""
    with pytest.raises(InputError) as caught:
        decode_onnx(payload, "w.onnx")
    text = str(caught.value)
    assert text.startswith("w.onnx: ")
    assert "\n" not in text
    return text


def changed(change, with_detection=False):
    """Return our file with a change, sealed anew: as a program that knows nothing of the seal could not do it."""
    model = onnx.load_from_string(content("mxnet", with_detection))
    change(model)
    for entry in model.metadata_props:
        if entry.key == "sha256":
            entry.value = PLACEHOLDER
    return seal(model.SerializeToString(deterministic=True))


def set_metadata(**values):
    def change(model):
        for entry in model.metadata_props:
            entry.value = values.get(entry.key, entry.value)

    return change


def foreign():
    """Return an ONNX file of another program."""
    text = '<ir_version: 8, opset_import: ["" : 13]> other (float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }'
    return onnx.parser.parse_model(text).SerializeToString()


def test_a_file_as_it_was_written_is_read():
    assert decode_onnx(changed(lambda model: None), "w.onnx").run.config == CHECKPOINT.config


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.onnx: no such weights file"):
        load_onnx(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="a folder; name a file"):
        load_onnx(tmp_path)


@pytest.mark.parametrize("payload", [b"", b"these are no weights", b"\x08\x08" + bytes(100)])
def test_what_is_not_onnx_is_refused(payload):
    assert "not a readable ONNX file" in message(payload) or "not one that" in message(payload)


def test_an_onnx_file_of_another_program_is_refused():
    assert "an ONNX file, but not one that this version's `tinyssd export` wrote" in message(foreign())


def test_a_file_of_a_newer_version_is_refused():
    assert "not one that this version" in message(changed(set_metadata(format="tinyssd-onnx-9")))


@pytest.mark.parametrize("part", [0.05, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(part):
    payload = content("mxnet")
    assert "ONNX" in message(payload[: int(part * len(payload))])


@pytest.mark.parametrize("part", np.linspace(0.1, 0.9, 5))
def test_a_file_with_a_changed_byte_is_refused(part):
    payload = bytearray(content("mxnet"))
    payload[int(part * len(payload))] ^= 1
    assert "the sha256 does not match" in message(bytes(payload))


def test_the_sha256_is_that_of_the_file_with_zeros_in_its_place():
    payload = content("mxnet")
    sha256 = decode_onnx(payload, "w.onnx").sha256
    assert hashlib.sha256(payload.replace(sha256.encode(), PLACEHOLDER.encode())).hexdigest() == sha256
    assert is_sealed(payload) is True
    assert is_sealed(foreign()) is None


def test_a_file_changed_by_a_program_that_leaves_the_sha256_out_is_refused():
    model = onnx.load_from_string(content("mxnet"))
    (entry,) = [entry for entry in model.metadata_props if entry.key == "sha256"]
    model.metadata_props.remove(entry)
    assert "the sha256 is missing" in message(model.SerializeToString())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"run": "{"}, "'run' in the metadata is not JSON"),
        ({"run": "[]"}, "'run' in the metadata must be a table"),
        ({"run": '{"model": {"image_size": 100}}'}, "the image size must be a multiple of 64"),
    ],
)
def test_metadata_that_cannot_be_read_are_refused(values, words):
    assert words in message(changed(set_metadata(**values)))


@pytest.mark.parametrize("change", [{"class_names": ("cat",)}, {"image_size": 128}])
def test_a_graph_of_another_model_is_refused(change):
    """As if the metadata of one file had come into another."""
    config = dataclasses.replace(CHECKPOINT.config, model=dataclasses.replace(CHECKPOINT.config.model, **change))
    run = dataclasses.replace(CHECKPOINT.run, config=config)

    def swap(model):
        from ssd_common.onnx_files.metadata import to_metadata

        set_metadata(run=to_metadata(run, {}, "")["run"])(model)

    assert "the graph is not that of the model in its metadata" in message(changed(swap))


@pytest.mark.parametrize("location", ["beside.bin", "../outside.bin", "/dev/zero"])
def test_weights_in_another_file_are_refused(location, tmp_path, monkeypatch):
    """ONNX Runtime looks for that file where the program runs."""

    def move(model):
        tensor = model.graph.initializer[0]
        (tmp_path / "beside.bin").write_bytes(tensor.raw_data)
        for key, value in {"location": location, "offset": "0", "length": str(len(tensor.raw_data))}.items():
            tensor.external_data.add(key=key, value=value)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.ClearField("raw_data")

    monkeypatch.chdir(tmp_path)
    assert "it has weights in another file" in message(changed(move))


def behind(operator, *constants, **attributes):
    """Return a change that puts an operator behind the last output of the graph."""

    def change(model):
        name = model.graph.output[-1].name
        for other in model.graph.node:
            other.output[:] = ["before" if kept == name else kept for kept in other.output]
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(value, f"c{i}") for i, value in enumerate(constants)
        )
        inputs = ["before", *(f"c{i}" for i in range(len(constants)))]
        model.graph.node.append(onnx.helper.make_node(operator, inputs, [name], **attributes))

    return change


@pytest.mark.parametrize(
    ("change", "with_detection", "words"),
    [
        (behind("ScatterElements", np.array([[10**6]]), np.float32([[0]])), False, "ONNX Runtime cannot run it ("),
        (
            behind("Compress", np.array([True, True]), axis=1),
            False,
            "it returns arrays of other shapes than its metadata say",
        ),
        (behind("Add", np.float32([5, 0, 0, 0, 0, 0])), True, "it detects classes that its metadata do not name"),
        (behind("Mul", np.float32([np.nan, 1, 1, 1, 1, 1])), True, "it detects classes that its metadata do not name"),
    ],
    ids=["cannot be run", "shapes", "classes", "no class"],
)
def test_a_graph_that_fails_or_returns_something_else_is_one_line(change, with_detection, words):
    net = decode_onnx(changed(change, with_detection), "w.onnx")
    with pytest.raises(InputError) as caught:
        net.detect(images(2))
    assert str(caught.value).startswith(f"w.onnx: {words}")
    assert "\n" not in str(caught.value)


def test_an_opset_that_onnx_runtime_lacks_is_one_line_that_says_so():
    def change(model):
        model.opset_import[0].version = 99

    text = message(changed(change))
    assert "ONNX Runtime" in text
    assert "opset" in text.lower()
    assert "pip install --upgrade onnxruntime" in text


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails
    with pytest.raises(InputError, match=rf"the package {package}, which is missing: pip install 'tinyssd\[onnx\]'"):
        check_packages("json", package)


def test_a_broken_package_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "brokenpackage.py").write_text("raise RuntimeError('no\\nlibrary')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"brokenpackage, which cannot be imported \(no library\): pip install"):
        check_packages("brokenpackage")


def test_exporting_changes_neither_the_graph_nor_the_checkpoint(backends):
    before = graph("mxnet").SerializeToString(deterministic=True)
    (backend,) = [b for b in backends if b.name == "mxnet"]
    encode_onnx(graph("mxnet"), backend, CHECKPOINT, with_detection=True)
    assert graph("mxnet").SerializeToString(deterministic=True) == before
