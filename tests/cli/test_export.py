"""`tinyssd export`, and `tinyssd predict` with what it wrote."""

import json

import numpy as np
import pytest
from PIL import Image

from ssd_common.checkpoints.checkpoint import save_checkpoint
from tests.cli.program import tinyssd
from tests.onnx_files.onnx_cases import CHECKPOINT, content
from tests.test_imports import BLOCK, RUN, run_python

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.backend("mxnet")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with weights and three images."""
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "weights.safetensors", CHECKPOINT)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i, size in enumerate([(50, 80), (64, 64), (300, 200)]):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
    return tmp_path


def detections(folder):
    """Return what `predict` wrote to a folder."""
    return json.loads((folder / "detections.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("flags", ["", " --with-detection"])
def test_predict_finds_the_same_with_the_file_as_with_the_weights(folder, flags):
    assert tinyssd(f"export w.onnx --backend mxnet --weights weights.safetensors{flags}") == 0
    for weights, out in (("weights.safetensors --backend mxnet", "native"), ("w.onnx", "onnx")):
        assert tinyssd(f"predict images --weights {weights} --score-threshold 0.3 --out {out}") == 0
    native, found = detections(folder / "native"), detections(folder / "onnx")
    assert len(native) == len(found) > 0
    for expected, item in zip(native, found, strict=True):
        assert (item["image"], item["label"]) == (expected["image"], expected["label"])
        np.testing.assert_allclose(item["score"], expected["score"], atol=1e-5)
        np.testing.assert_allclose([*item["box"].values()], [*expected["box"].values()], atol=1e-2)  # pixels
    assert {path.name for path in (folder / "onnx").iterdir()} == {path.name for path in (folder / "native").iterdir()}


def test_predict_with_an_onnx_file_needs_neither_framework(folder):
    (folder / "w.onnx").write_bytes(content("mxnet", with_detection=True))
    blocked = {"torch", "torchvision", "mxnet", "ssd_torch", "ssd_mxnet", "onnx", "onnxscript"}
    arguments = ["predict", str(folder / "images"), "--weights", str(folder / "w.onnx"), "--out", str(folder / "out")]
    result = run_python(BLOCK.format(blocked=blocked) + RUN.format(arguments=[arguments]))
    assert result["codes"] == [0]
    assert "onnxruntime" in result["loaded"]
    assert not set(result["loaded"]) & blocked
    assert (folder / "out" / "detections.json").is_file()


def test_the_detections_of_another_file_are_not_gone_on_with(folder, capsys):
    for name, with_detection in (("a.onnx", False), ("b.onnx", True)):
        (folder / name).write_bytes(content("mxnet", with_detection))
    assert tinyssd("predict images --weights a.onnx --out out") == 0
    assert tinyssd("predict images --weights b.onnx --out out") == 2
    assert "out" in capsys.readouterr().err


BAD_INPUT = [
    ("export w.safetensors", ["w.safetensors: export writes ONNX files", ".onnx", "convert"]),
    ("export images", ["images: export writes ONNX files"]),
    ("export weights.safetensors/w.onnx", ["OUT.onnx", "weights.safetensors is a file"]),
    ("export w.onnx --weights none.safetensors", ["none.safetensors: no such weights file"]),
    ("export w.onnx --weights other.safetensors", ["other.safetensors: not the weights of a TinySSD"]),
    ("export w.onnx --weights good.onnx", ["good.onnx: not a weights file"]),
    ("export w.onnx --backend jax", ["unknown backend 'jax'"]),
    ("predict images --weights good.onnx --backend torch", ["good.onnx", "leave --backend and --preset out"]),
    ("predict images --weights good.onnx --preset book", ["good.onnx", "leave --backend and --preset out"]),
    ("predict images --weights good.onnx --device gpu", ["device 'gpu' is not there", "ONNX Runtime"]),
    ("predict images --weights text.onnx", ["text.onnx: not a readable ONNX file"]),
    ("predict images --weights none.onnx", ["none.onnx: no such weights file"]),
    ("eval --weights good.onnx --data synthetic", ["good.onnx: not a weights file"]),
    ("compare --with-onnx --epochs 0 --preset book", ["--with-onnx needs trained weights", "--weights"]),
    ("compare --rungs 14", ["--rungs 14", "1 to 13", "--with-onnx"]),
    ("compare --with-onnx --rungs 16", ["--rungs 16", "1 to 15"]),
]


@pytest.mark.parametrize(("command", "words"), BAD_INPUT, ids=[command for command, _ in BAD_INPUT])
def test_bad_input_is_one_line_and_leaves_nothing_behind(folder, capsys, command, words):
    from safetensors.numpy import save_file

    (folder / "good.onnx").write_bytes(content("mxnet"))
    (folder / "text.onnx").write_text("these are no weights")
    save_file({"conv1.weight": np.zeros((2, 3), np.float32)}, folder / "other.safetensors", {"format": "pt"})
    before = {path.name for path in folder.iterdir()}
    assert tinyssd(command) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("tinyssd: ")
    assert len(printed.err.splitlines()) == 1
    assert all(word in printed.err for word in words), printed.err
    assert {path.name for path in folder.iterdir()} == before
