"""The part of the graph that detects, by itself, against the numpy reference."""

import numpy as np
import pytest

from ssd_common.anchors import anchor_grid
from ssd_common.config import ModelConfig, PredictConfig
from ssd_common.detection import multibox_detection
from ssd_common.onnx_files.detection import append_detection

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

MODEL = ModelConfig(class_names=("a", "b", "c"), image_size=64)
SETTINGS = [
    PredictConfig(),
    PredictConfig(class_aware=False),
    PredictConfig(clip=False),
    PredictConfig(top_k=0),
    PredictConfig(top_k=7),
    PredictConfig(top_k=7, class_aware=False, clip=False),
    PredictConfig(nms_threshold=0.3, pos_threshold=0.4),
    PredictConfig(nms_threshold=0.0, pos_threshold=0.0, top_k=0),
    PredictConfig(nms_threshold=1.0),
    PredictConfig(pos_threshold=1.0),  # nothing is left
]


def detector(predict_config, opset=13, model_config=MODEL):
    """Return ONNX Runtime's session of a graph that does nothing but detect."""
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
    toy (float[1, A, 4] anchors, float[N, A, C] cls_preds, float[N, B] bbox_preds) => (float[1, A, 4] anchors) {{}}"""
    model = onnx.parser.parse_model(text)
    append_detection(model, model_config, predict_config, dynamic_size=False)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def predictions(seed, batch=3, model_config=MODEL):
    """Return anchors, logits and offsets; in the first image many scores are equal, in the last all is background."""
    rng = np.random.default_rng(seed)
    anchors = anchor_grid(model_config)
    logits = 2 * rng.normal(size=(batch, anchors.shape[1], model_config.num_classes + 1)).astype("float32")
    logits[0] = logits[0, rng.integers(0, 40, anchors.shape[1])]  # equal to the last digit in any arithmetic
    logits[-1, :, 0] += 20
    offsets = 2 * rng.normal(size=(batch, anchors.shape[1] * 4)).astype("float32")
    return anchors, logits, offsets


def by_numpy(anchors, logits, offsets, predict_config):
    """Return the detections of the reference, from the same probabilities."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = (exponentials / exponentials.sum(axis=-1, keepdims=True)).transpose(0, 2, 1)
    rows = multibox_detection(
        probabilities,
        offsets,
        anchors,
        predict_config.nms_threshold,
        predict_config.pos_threshold,
        class_aware=predict_config.class_aware,
        clip=predict_config.clip,
        top_k=predict_config.top_k or None,
    )
    return [image[image[:, 0] >= 0] for image in rows]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("predict_config", SETTINGS, ids=str)
def test_the_graph_keeps_what_the_reference_keeps(predict_config, opset):
    session = detector(predict_config, opset)
    for seed in range(3):
        inputs = predictions(seed)
        (found,) = session.run(None, dict(zip(("anchors", "cls_preds", "bbox_preds"), inputs, strict=True)))
        for rows, expected in zip(found, by_numpy(*inputs, predict_config), strict=True):
            rows = rows[rows[:, 0] >= 0]
            np.testing.assert_array_equal(rows[:, 0], expected[:, 0])
            np.testing.assert_allclose(rows[:, 1:], expected[:, 1:], atol=2e-6, rtol=2e-6)


def test_a_graph_of_one_class_and_one_image_keeps_the_same():
    model_config = ModelConfig(image_size=64)
    inputs = predictions(0, 1, model_config)
    session = detector(PredictConfig(), model_config=model_config)
    (found,) = session.run(None, dict(zip(("anchors", "cls_preds", "bbox_preds"), inputs, strict=True)))
    (expected,) = by_numpy(*inputs, PredictConfig())
    np.testing.assert_array_equal((found[0, :, 0] >= 0).sum(), len(expected))


def test_the_rows_go_by_descending_score():
    (found,) = detector(PredictConfig()).run(
        None, dict(zip(("anchors", "cls_preds", "bbox_preds"), predictions(1), strict=True))
    )
    assert (np.diff(found[:, :, 1], axis=1) <= 0).all()
