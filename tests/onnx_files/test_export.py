"""An ONNX file returns what the framework returns that it comes from, and says what it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_common.backends import load_backend
from ssd_common.onnx_files import encode_onnx, make_graph
from ssd_common.onnx_files.metadata import weights_digest
from ssd_common.parity.onnx import Witness, count_otherwise, row_difference
from tests.onnx_files.onnx_cases import CHECKPOINT, MODEL, WEIGHTS, content, graph, images, native, net

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("batch", [1, 3])
def test_the_raw_outputs_are_those_of_the_framework(backend, batch):
    X = images(batch)
    expected, _ = native(backend.name, X)
    found = net(backend.name).forward(X)
    np.testing.assert_array_equal(found[0], expected[0])  # anchors
    for array, reference in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(array, reference, atol=1e-5 * max(1, np.abs(reference).max()), rtol=0)


@pytest.mark.parametrize("with_detection", [True, False])
def test_the_detections_are_those_that_predict_keeps(backend, with_detection):
    X = images(3)
    _, expected = native(backend.name, X)
    assert all(map(len, expected))
    found, expected = Witness([], net(backend.name, with_detection).detect(X)), Witness([], expected)
    np.testing.assert_equal(count_otherwise(found, expected), 0)
    assert row_difference(found, expected) < 1e-5
    for rows in found.detections:
        assert (np.diff(rows[:, 1]) <= 0).all()  # best score first


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 192), (128, 64)])
def test_a_file_of_dynamic_size_takes_any_multiple_of_64(backend, height, width):
    X = images(2, height, width)
    expected, rows = native(backend.name, X)
    found = net(backend.name, dynamic_size=True).forward(X)
    np.testing.assert_allclose(found[0], expected[0], atol=2e-7, rtol=0)  # rounded at another place
    for array, reference in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(array, reference, atol=1e-5 * max(1, np.abs(reference).max()), rtol=0)
    detected = net(backend.name, with_detection=True, dynamic_size=True).detect(X)
    assert [len(image) for image in detected] == [len(image) for image in rows]


def test_onnx_runtime_reports_nothing_and_keeps_nothing_at_home(backend, tmp_path):
    """A report would be kept in the home folder until it is sent, beside a number of this computer."""
    home, file = tmp_path / "home", tmp_path / "net.onnx"
    home.mkdir()
    file.write_bytes(content(backend.name))
    code = "import sys, pathlib; from ssd_common.onnx_files import load_onnx; load_onnx(pathlib.Path(sys.argv[1]))"
    kept = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment = kept | {"HOME": str(home), "XDG_CACHE_HOME": ""}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(file)], check=True, env=environment, timeout=300)
    assert [path.name for path in home.rglob("*")] == []


def test_a_file_of_fixed_size_takes_no_other(backend):
    with pytest.raises(Exception, match="invalid dimensions"):
        net(backend.name).forward(images(1, 128, 128))


def test_dimensions_have_names_where_they_are_known_at_run_time_only(backend):
    def shapes(session):
        return {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}

    anchors, classes = MODEL.num_anchors, MODEL.num_classes + 1
    assert shapes(net(backend.name).session) == {
        "images": ["batch", 3, 64, 64],
        "anchors": [1, anchors, 4],
        "cls_preds": ["batch", anchors, classes],
        "bbox_preds": ["batch", anchors * 4],
    }
    assert shapes(net(backend.name, with_detection=True).session)["detections"] == ["batch", anchors, 6]
    dynamic = shapes(net(backend.name, dynamic_size=True).session)
    assert dynamic["images"] == ["batch", 3, "height", "width"]
    assert dynamic["cls_preds"] == ["batch", "num_anchors", classes]


def test_the_metadata_say_what_the_file_is(backend):
    made = net(backend.name)
    metadata = made.session.get_modelmeta().custom_metadata_map
    assert made.run.config == CHECKPOINT.config
    assert made.run.backend == backend.name
    assert json.loads(metadata["class_names"]) == ["cat", "dög"]
    assert json.loads(metadata["preprocessing"])["subtract"] == [1, 2, 3]
    assert json.loads(metadata["preprocessing"])["size"] == [64, 64]
    assert metadata["exported_by"].startswith(f"{backend.name} ")
    assert metadata["weights_sha256"] == weights_digest(WEIGHTS)


def test_the_file_names_no_folder_of_the_computer_that_exports(backend):
    assert b".py" not in content(backend.name)
    assert str(ROOT).encode() not in content(backend.name)


def test_the_weights_in_the_file_have_their_canonical_names(backend):
    names = {tensor.name for tensor in graph(backend.name).graph.initializer}
    assert {"blk_1.3.weight", "cls_4.bias", "bbox_0.weight"} <= names


@pytest.mark.backend("mxnet")
def test_the_names_in_mxnet_s_file_do_not_depend_on_the_networks_made_before():
    """MXNet numbers the layers of a process; PyTorch does not."""
    backend = load_backend("mxnet")
    again = encode_onnx(make_graph(backend, CHECKPOINT), backend, CHECKPOINT)
    assert again == content("mxnet")
