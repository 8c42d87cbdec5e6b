"""Rungs 1 to 6 of the ladder: anchors, overlaps, targets and detections of each backend against the numpy reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssd_common import anchors, boxes, detection, targets
from ssd_common.backends import Backend
from ssd_common.parity.rungs import Array, Measured, Subject, count_mismatches, max_difference

Results = dict[str, Callable[[], Any]]


def _against(
    compute: Results, reference: Any, name: str, distance: Callable[[Any, Any], float] = max_difference
) -> Measured:
    """Measure each side's result against the reference, and torch's against mxnet's."""
    results = {side: function() for side, function in compute.items()}
    errors: dict[str, float | None] = {"numpy": None, "torch": None, "mxnet": None}
    errors |= {side: distance(result, reference) for side, result in results.items()}
    both = "torch" in results and "mxnet" in results
    difference = distance(results["torch"], results["mxnet"]) if both else None
    return Measured(errors, difference, name)


def _sides(
    subject: Subject, backends: Mapping[str, Backend], reference: Any, of_backend: Callable[..., Any]
) -> Results:
    """Return what each side is to compute; numpy is a side of its own only where it is not the reference (float32)."""
    sides: Results = {}
    if subject.dtype != "float64" and reference is not None:
        sides["numpy"] = reference
    for name, backend in backends.items():
        sides[name] = lambda backend=backend: of_backend(backend)  # type: ignore[misc]
    return sides


def measure_anchors(subject: Subject, backends: Mapping[str, Backend]) -> Measured:
    """Compare the anchors of all feature maps."""
    model, dtype = subject.config.model, subject.dtype

    def of_backend(b: Backend) -> Array:
        blocks = zip(model.feature_map_sizes, model.anchors.sizes, model.anchors.ratios, strict=True)
        grids = [b.anchors.multibox_prior(b.data.to_device(np.zeros((1, 1, n, n), dtype)), s, r) for n, s, r in blocks]
        return np.concatenate([b.data.to_numpy(grid) for grid in grids], axis=1)

    sides = _sides(subject, backends, lambda: anchors.anchor_grid(model, dtype), of_backend)
    return _against(sides, anchors.anchor_grid(model, "float64"), "numpy float64")


def _labels(subject: Subject) -> Array:
    """Return the labels of the first batch and, of every class, random boxes of all sizes: up to 8 in a picture."""
    rng = np.random.default_rng([subject.seed, 3])
    labels = subject.batches[0][1]
    rows = np.full((len(labels) + 8, max(8, labels.shape[1]), 5), -1.0)
    rows[: len(labels), : labels.shape[1]] = labels
    for i in range(8):  # i + 1 boxes in picture i
        corners = np.sort(rng.random((i + 1, 2, 2)), axis=1).reshape(-1, 4)
        rows[len(labels) + i, : i + 1, 0] = rng.integers(0, subject.config.model.num_classes, i + 1)
        rows[len(labels) + i, : i + 1, 1:] = corners
    return rows.astype(np.float32).astype(subject.dtype)


def measure_iou(subject: Subject, backends: Mapping[str, Backend]) -> Measured:
    """Compare the overlaps of all anchors with all boxes."""
    grid, truth = anchors.anchor_grid(subject.config.model, subject.dtype)[0], _labels(subject)[..., 1:]

    def of_backend(b: Backend) -> Array:
        return b.data.to_numpy(b.boxes.box_iou(b.data.to_device(grid), b.data.to_device(truth)))

    sides = _sides(subject, backends, lambda: boxes.box_iou(grid, truth), of_backend)
    return _against(sides, boxes.box_iou(grid.astype("float64"), truth.astype("float64")), "numpy float64")


def measure_assignment(subject: Subject, backends: Mapping[str, Backend]) -> Measured:
    """Compare which anchor is assigned to which box, and its class label."""
    grid, labels = anchors.anchor_grid(subject.config.model, subject.dtype), _labels(subject)

    def of_backend(b: Backend) -> list[Any]:
        assigned = b.targets.assign_anchor_to_bbox(b.data.to_device(labels[..., 1:]), b.data.to_device(grid[0]))
        classes = b.targets.multibox_target(b.data.to_device(grid), b.data.to_device(labels))[2]
        return [b.data.to_numpy(assigned), b.data.to_numpy(classes)]

    reference = [targets.assign_anchor_to_bbox(labels[..., 1:], grid[0]), targets.multibox_target(grid, labels)[2]]
    sides = _sides(subject, backends, None, of_backend)
    return _against(sides, reference, f"numpy {subject.dtype}", count_mismatches)


def measure_offsets(subject: Subject, backends: Mapping[str, Backend]) -> Measured:
    """Compare target offsets, and boxes decoded from predicted offsets."""
    grid, labels = anchors.anchor_grid(subject.config.model, subject.dtype), _labels(subject)
    predicted = _predictions(subject)[1].reshape(-1, *grid.shape[1:])
    assigned = targets.assign_anchor_to_bbox(labels[..., 1:], grid[0])

    def in_numpy(grid: Array, labels: Array, predicted: Array) -> list[Any]:
        rows = np.take_along_axis(labels, assigned.clip(0)[..., None], axis=1)
        assigned_boxes = np.where(assigned[..., None] >= 0, rows[..., 1:], grid)  # an anchor on itself: offset 0
        offsets = np.where(assigned[..., None] >= 0, boxes.offset_boxes(grid, assigned_boxes), 0)
        return [offsets.reshape(len(labels), -1), boxes.offset_inverse(grid, predicted)]

    def of_backend(b: Backend) -> list[Any]:
        offsets = b.targets.multibox_target(b.data.to_device(grid), b.data.to_device(labels))[0]
        decoded = b.boxes.offset_inverse(b.data.to_device(grid), b.data.to_device(predicted))
        return [b.data.to_numpy(offsets), b.data.to_numpy(decoded)]

    reference = in_numpy(*(array.astype("float64") for array in (grid, labels, predicted)))
    sides = _sides(subject, backends, lambda: in_numpy(grid, labels, predicted), of_backend)
    return _against(sides, reference, "numpy float64")


def _predictions(subject: Subject) -> tuple[Array, Array]:
    """Return probabilities and offsets of two pictures as an untrained and as a trained network gives them.

    The scores of the first are rounded so that many are tied; in the second most anchors are background.
    """
    rng = np.random.default_rng([subject.seed, 5])
    model = subject.config.model
    logits = rng.normal(size=(2, model.num_classes + 1, model.num_anchors))
    logits[0] = logits[0].round(1)
    logits[1, 0] += 6
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    offsets = rng.normal(size=(2, model.num_anchors * 4))
    return probabilities.astype(subject.dtype), offsets.astype(subject.dtype)


def measure_nms(subject: Subject, backends: Mapping[str, Backend]) -> Measured:
    """Compare the boxes kept by non-maximum suppression, with and without regard to the class."""
    probabilities, offsets = _predictions(subject)
    grid = anchors.anchor_grid(subject.config.model, subject.dtype)
    decoded = boxes.offset_inverse(grid, offsets.reshape(2, -1, 4))
    scores, classes = probabilities[:, 1:].max(axis=1), probabilities[:, 1:].argmax(axis=1)
    threshold = subject.config.predict.nms_threshold

    def of_backend(b: Backend) -> list[Any]:
        kept = []
        for box, score, class_id in zip(decoded, scores, classes, strict=True):
            d = b.data.to_device
            kept.append(b.data.to_numpy(b.detection.nms(d(box), d(score), threshold)))
            kept.append(b.data.to_numpy(b.detection.nms(d(box), d(score), threshold, class_ids=d(class_id))))
        return kept

    reference = []
    for box, score, class_id in zip(decoded, scores, classes, strict=True):
        reference.append(detection.nms(box, score, threshold))
        reference.append(detection.nms(box, score, threshold, class_ids=class_id))
    return _against(_sides(subject, backends, None, of_backend), reference, f"numpy {subject.dtype}", count_mismatches)


def measure_detections(subject: Subject, backends: Mapping[str, Backend]) -> Measured:
    """Compare the detections, with the book's settings and with those of `predict`."""
    inputs = (*_predictions(subject), anchors.anchor_grid(subject.config.model, subject.dtype))
    choices: tuple[dict[str, Any], ...] = ({}, {"class_aware": True, "clip": True, "top_k": 400})

    def of_backend(b: Backend) -> list[Any]:
        arrays = [b.data.to_device(a) for a in inputs]
        return [b.data.to_numpy(b.detection.multibox_detection(*arrays, **choice)) for choice in choices]

    reference = [detection.multibox_detection(*inputs, **choice) for choice in choices]
    return _against(_sides(subject, backends, None, of_backend), reference, f"numpy {subject.dtype}")
