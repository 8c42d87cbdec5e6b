"""Rungs 12 and 13 of the ladder: a training run that changes framework, and what trained weights detect."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssd_common import detection
from ssd_common.backends import Backend
from ssd_common.boxes import offset_inverse
from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ssd_common.config import ModelConfig, PredictConfig, RunConfig
from ssd_common.data.ground_truth import GroundTruth
from ssd_common.errors import InputError
from ssd_common.evaluation.average_precision import coco_average_precision, mean_over_classes
from ssd_common.parity.networks import as_mxnet_stores_it, config_of_steps, run_steps
from ssd_common.parity.rungs import Array, Results, Subject, max_difference, worst
from ssd_common.weights import Weights

RESUME_STEPS = 8
"""Steps of rung 12; the framework changes in the middle."""
MOMENTUM = 0.9
"""Of rung 12, where the preset has none: a velocity must survive the change too."""

Predictions = tuple[Array, Array, Array]
"""Anchors, logits and offsets of a batch."""
Detect = Callable[[Array, Array, Array, PredictConfig], list[Array]]
Decode = Callable[[Array, Array], Array]
Detected = dict[int, tuple[int, Array]]
"""Of one image: by the index of the anchor, the class, and score and corners."""


@dataclass(frozen=True)
class Found:
    """What a side detects in all images: from its own predictions, then from PyTorch's."""

    detected: list[Detected]
    precision: Array
    """AP and AP50, of each of the two."""


def measure_resume(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Train, and change the framework by way of a weights file half way; held against both runs without a change.

    Everything that is trained is compared: the loss of every step, and the parameters at the end. The result of a
    framework is that of the training which it began.
    """
    config = config_of_steps(subject)
    if not config.momentum:
        config = as_mxnet_stores_it(dataclasses.replace(config, momentum=MOMENTUM, lr=config.lr * (1 - MOMENTUM)))
    steps = range(min(RESUME_STEPS, len(subject.batches)))
    half = len(steps) // 2

    def go_on(b: Backend, start: Checkpoint, steps: range) -> tuple[list[float], Checkpoint]:
        net = b.weights.make_net(start.config.model, start.weights, dtype=subject.dtype)
        trainer = b.train.make_trainer(net, config)
        b.weights.set_velocity(net, trainer, start.velocity)
        losses = run_steps(b, net, trainer, subject, config, subject.dtype, steps)
        velocity = b.weights.get_velocity(net, trainer)
        return losses, Checkpoint(b.weights.get_weights(net), start.run, velocity, step=steps.stop)

    run_config = RunConfig(dataclasses.replace(subject.config, train=config))
    start = Checkpoint({n: w.astype(subject.dtype) for n, w in subject.weights.items()}, run_config)
    straight, crossed = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, backend in backends.items():
            path = Path(folder) / f"{name}.safetensors"
            straight[name] = _training(go_on(backend, start, steps))
            first, checkpoint = go_on(backend, start, steps[:half])
            (other,) = [b for n, b in backends.items() if n != name] or [backend]
            try:
                save_checkpoint(path, checkpoint)
                second, checkpoint = go_on(other, load_checkpoint(path), steps[half:])
            except InputError:  # weights that are not finite make no weights file
                crossed[name] = [np.full_like(array, np.nan) for array in straight[name]]
            else:
                crossed[name] = _training((first + second, checkpoint))
    sides = {name: [training] * len(straight) for name, training in crossed.items()}
    return Results(sides, [*straight.values()], "both, unchanged")


def _training(result: tuple[list[float], Checkpoint]) -> list[Array]:
    """Return what a training run is compared by: losses and parameters, not the running statistics (see rung 10)."""
    losses, checkpoint = result
    return [np.array(losses), *(value for name, value in checkpoint.weights.items() if "running" not in name)]


def measure_trained(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Detect objects with trained weights: by the whole of each backend, and from PyTorch's predictions.

    The reference is what numpy detects from PyTorch's predictions.
    """
    model, config = subject.config.model, subject.config.predict
    assert subject.trained is not None
    predicted = {name: _predict(b, subject, model, subject.trained) for name, b in backends.items()}
    truths = [rows for _, labels in subject.pictures for rows in labels]

    def found(detect: Detect, decode: Decode, own: list[Predictions]) -> Found:
        runs = [_detect(detect, decode, predictions, config) for predictions in (own, predicted["torch"])]
        return Found(runs[0] + runs[1], np.array([_precision(run, truths, model) for run in runs]))

    def of_backend(b: Backend) -> Found:
        def detect(*arrays: Any) -> list[Array]:
            grid, cls_preds, bbox_preds = map(b.data.to_device, arrays[:3])
            return b.predict.detect(grid, cls_preds, bbox_preds, arrays[3])

        def decode(anchors: Array, offsets: Array) -> Array:
            boxes: Array = b.data.to_numpy(b.boxes.offset_inverse(*map(b.data.to_device, (anchors, offsets))))
            return boxes

        return found(detect, decode, predicted[b.name])

    sides = {name: of_backend(backend) for name, backend in backends.items()}
    return Results(sides, found(_in_numpy, offset_inverse, predicted["torch"]), f"numpy {subject.dtype}")


def _predict(b: Backend, subject: Subject, model: ModelConfig, weights: Weights) -> list[Predictions]:
    """Return anchors, logits and offsets of every batch of images."""
    net = b.weights.make_net(model, weights, dtype=subject.dtype)
    found = []
    for images, _ in subject.pictures:
        arrays = b.predict.forward(net, b.data.to_device(images, dtype=subject.dtype))
        anchors, cls_preds, bbox_preds = map(b.data.to_numpy, arrays)
        found.append((anchors, cls_preds, bbox_preds))
    return found


def _in_numpy(anchors: Array, cls_preds: Array, bbox_preds: Array, config: PredictConfig) -> list[Array]:
    """Return what `predict.detect` of a backend returns, by the numpy reference."""
    exponentials = np.exp(cls_preds - cls_preds.max(axis=-1, keepdims=True))
    cls_probs = (exponentials / exponentials.sum(axis=-1, keepdims=True)).transpose(0, 2, 1)
    rows = detection.multibox_detection(
        cls_probs,
        bbox_preds,
        anchors,
        config.nms_threshold,
        config.pos_threshold,
        class_aware=config.class_aware,
        clip=config.clip,
        top_k=config.top_k or None,
    )
    return [image[image[:, 0] >= 0] for image in rows]


def _detect(detect: Detect, decode: Decode, predictions: list[Predictions], config: PredictConfig) -> list[Detected]:
    """Return what is detected in each image.

    A detection is traced to the first anchor, not yet taken, whose decoded box is the same to the bit. One without such
    an anchor has an index that is negative, which counts as kept otherwise.
    """
    found = []
    for anchors, cls_preds, bbox_preds in predictions:
        boxes = decode(anchors[0], bbox_preds.reshape(len(bbox_preds), -1, 4))
        boxes = boxes.clip(0, 1) if config.clip else boxes
        for image, rows in zip(boxes, detect(anchors, cls_preds, bbox_preds, config), strict=True):
            anchors_of: dict[bytes, list[int]] = {}
            for i in reversed(range(len(image))):
                anchors_of.setdefault(image[i].tobytes(), []).append(i)
            detected: Detected = {}
            for i, row in enumerate(rows):
                same = anchors_of.get(row[2:].tobytes())
                detected[same.pop() if same else -1 - i] = int(row[0]), row[1:]
            found.append(detected)
    return found


def kept_otherwise(first: Found, second: Found) -> float:
    """Return how many anchors only one of two sides keeps, or gives another class; NaN if neither detects anything."""
    count = 0
    for a, b in zip(first.detected, second.detected, strict=True):
        count += sum(i < 0 or i not in a or i not in b or a[i][0] != b[i][0] for i in a.keys() | b.keys())
    return float(count) if any(first.detected) or any(second.detected) else float("nan")


def share_kept_otherwise(first: Found, second: Found) -> float:
    """Return `kept_otherwise` over the number of detections of the second."""
    return kept_otherwise(first, second) / max(1, sum(map(len, second.detected)))


def score_difference(first: Found, second: Found) -> float:
    """Return the largest difference of a score, over the anchors that both sides keep."""
    return _over_common(first, second, slice(0, 1))


def corner_difference(first: Found, second: Found) -> float:
    """Return the largest difference of a corner, over the anchors that both sides keep."""
    return _over_common(first, second, slice(1, 5))


def precision_difference(first: Found, second: Found) -> float:
    """Return the largest difference of AP or AP50."""
    return max_difference(first.precision, second.precision)


def _over_common(first: Found, second: Found, columns: slice) -> float:
    differences = [
        max_difference(a[i][1][columns], b[i][1][columns])
        for a, b in zip(first.detected, second.detected, strict=True)
        for i in a.keys() & b.keys()
    ]
    return worst(differences)


def _precision(found: list[Detected], truths: list[Array], model: ModelConfig) -> Array:
    """Return average precision, and that at an IoU of 0.5."""
    rows = [np.array([[c, *values] for c, values in image.values()]).reshape(-1, 6) for image in found]
    size = (model.image_size, model.image_size)
    objects = [GroundTruth(labels[labels[:, 0] >= 0], size) for labels in truths]
    metrics = mean_over_classes(coco_average_precision(rows, objects, model.num_classes))
    return np.array([metrics["ap"], metrics["ap50"]])
