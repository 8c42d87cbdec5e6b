"""The time of the three, without measuring any."""

import pytest

from benchmarks import onnx
from ssd_common.data import load_dataset


def test_the_table_has_a_row_for_each_side_and_the_ratio_to_pytorch():
    seconds = {"torch": [2.0, 4.0, 3.0], "mxnet": [4.0, 4.0, 4.0], "onnx-torch": [1.0, 1.0, 1.0]}
    lines = onnx.table({"files": 100, "seconds": seconds})
    assert lines[0].startswith("| 100 image files")
    assert lines[2:] == [
        "| torch | 3.00 s | 2.00 s | 1.00 |",
        "| mxnet | 4.00 s | 4.00 s | 0.75 |",
        "| onnx-torch | 1.00 s | 1.00 s | 3.00 |",
    ]


@pytest.mark.parametrize("side", ["mxnet", "onnx-mxnet"])
@pytest.mark.backend("mxnet")
def test_a_side_finds_the_bananas_in_the_files(tmp_path, side):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from PIL import Image

    from ssd_common.backends import load_backend
    from ssd_common.checkpoints import load_weights
    from ssd_common.checkpoints.pretrained import FILE
    from ssd_common.onnx_files import encode_onnx, make_graph

    (tmp_path / "images").mkdir()
    images = load_dataset("synthetic", "val", limit=3)
    for i in range(3):
        Image.fromarray(images[i].image).save(tmp_path / "images" / f"{i}.png")
    if side != "mxnet":
        backend, checkpoint = load_backend("mxnet"), load_weights(FILE)
        payload = encode_onnx(make_graph(backend, checkpoint), backend, checkpoint, with_detection=True)
        (tmp_path / "mxnet.onnx").write_bytes(payload)
    result = onnx.measure(side, tmp_path)
    assert result["detections"] >= 3
    assert result["seconds"] > 0
