"""Rungs 1 to 6 of the ladder: anchors, overlaps, targets and detections of each backend against the numpy reference.

The reference of what can be rounded is computed in float64; of what is discrete, and of detections, in the dtype of the
ladder. A rung makes the calls that training and prediction make. Matching and suppression run in a framework or on the
host, in `ssd_common.greedy`: the reference does both one by one and has no function in common with either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from ssd_common import anchors, boxes, detection, targets
from ssd_common.backends import Backend
from ssd_common.parity.rungs import Array, Results, Subject

CHOICES: tuple[dict[str, Any], ...] = ({}, {"class_aware": True, "top_k": 100})
"""Which boxes compete in the book, and by the options of `predict`; the smallest network has 344 anchors."""


def measure_anchors(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute the anchors of all feature maps."""
    model, dtype = subject.config.model, subject.dtype

    def of_backend(b: Backend) -> Array:
        blocks = zip(model.feature_map_sizes, model.anchors.sizes, model.anchors.ratios, strict=True)
        grids = [b.anchors.multibox_prior(b.data.to_device(np.zeros((1, 1, n, n), dtype)), s, r) for n, s, r in blocks]
        return np.concatenate([b.data.to_numpy(grid) for grid in grids], axis=1)

    sides = {} if dtype == "float64" else {"numpy": anchors.anchor_grid(model, dtype)}
    sides |= {name: of_backend(backend) for name, backend in backends.items()}
    return Results(sides, anchors.anchor_grid(model, "float64"), "numpy float64")


def measure_iou(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute overlaps with the arguments of training (all images, or one), of suppression, and the other way round."""
    grid, truth = anchors.anchor_grid(subject.config.model, subject.dtype)[0], _labels(subject)[..., 1:]
    decoded = _decoded(subject)[0]
    calls = [(truth, grid), (truth[-1], grid), (decoded[:64], decoded), (grid, truth)]

    def compute(b: Backend) -> list[Array]:
        return [b.data.to_numpy(b.boxes.box_iou(*map(b.data.to_device, arguments))) for arguments in calls]

    return _against_numpy(subject, backends, compute, "float64")


def measure_assignment(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Assign anchors to the boxes of all images, and of one; give them class labels in the training targets."""
    grid, labels = anchors.anchor_grid(subject.config.model, subject.dtype), _labels(subject)

    def compute(b: Backend) -> list[Array]:
        all_boxes, last_boxes, anchor_boxes = map(b.data.to_device, (labels[..., 1:], labels[-1, :, 1:], grid[0]))
        found = [b.targets.assign_anchor_to_bbox(truth, anchor_boxes) for truth in (all_boxes, last_boxes)]
        found.append(b.targets.multibox_target(b.data.to_device(grid), b.data.to_device(labels))[2])
        return [b.data.to_numpy(array) for array in found]

    return _against_numpy(subject, backends, compute, subject.dtype)


def measure_offsets(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute target offsets, and boxes decoded from predicted offsets."""
    grid, labels = anchors.anchor_grid(subject.config.model, subject.dtype), _labels(subject)
    predicted = _predictions(subject)[1].reshape(-1, *grid.shape[1:])
    assigned = targets.assign_anchor_to_bbox(labels[..., 1:], grid[0])

    def in_numpy(grid: Array, labels: Array, predicted: Array) -> list[Array]:
        rows = np.take_along_axis(labels, assigned.clip(0)[..., None], axis=1)
        assigned_boxes = np.where(assigned[..., None] >= 0, rows[..., 1:], grid)  # an anchor on itself: offset 0
        offsets = np.where(assigned[..., None] >= 0, boxes.offset_boxes(grid, assigned_boxes), 0)
        return [offsets.reshape(len(labels), -1), boxes.offset_inverse(grid, predicted)]

    def of_backend(b: Backend) -> list[Array]:
        offsets = b.targets.multibox_target(b.data.to_device(grid), b.data.to_device(labels))[0]
        decoded = b.boxes.offset_inverse(b.data.to_device(grid), b.data.to_device(predicted))
        return [b.data.to_numpy(offsets), b.data.to_numpy(decoded)]

    sides = {} if subject.dtype == "float64" else {"numpy": in_numpy(grid, labels, predicted)}
    sides |= {name: of_backend(backend) for name, backend in backends.items()}
    reference = in_numpy(*(array.astype("float64") for array in (grid, labels, predicted)))
    return Results(sides, reference, "numpy float64")


def measure_nms(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Suppress boxes by `nms`, with and without regard to the class, and as a part of `multibox_detection`.

    There the predicted offsets are 0, so that what is kept does not depend on how boxes are decoded.
    """
    probabilities, offsets = _predictions(subject)
    grid, decoded = anchors.anchor_grid(subject.config.model, subject.dtype), _decoded(subject)
    scores, classes = probabilities[:, 1:].max(axis=1), probabilities[:, 1:].argmax(axis=1)
    config = subject.config.predict

    def compute(b: Backend) -> list[Array]:
        kept = []
        for image in zip(decoded, scores, classes, strict=True):
            box, score, class_id = map(b.data.to_device, image)
            kept.append(b.data.to_numpy(b.detection.nms(box, score, config.nms_threshold)))
            kept.append(b.data.to_numpy(b.detection.nms(box, score, config.nms_threshold, class_ids=class_id)))
        probs, zeros, anchor_boxes = map(b.data.to_device, (probabilities, np.zeros_like(offsets), grid))
        arguments = (probs, zeros, anchor_boxes, config.nms_threshold, config.pos_threshold)
        for choice in CHOICES:
            rows = b.detection.multibox_detection(*arguments, **choice)
            kept += [_anchors_of(image[image[:, 0] >= 0], grid[0]) for image in b.data.to_numpy(rows)]
        return kept

    return _against_numpy(subject, backends, compute, subject.dtype)


def measure_detections(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute all rows of the detections, with the book's settings and with those of `predict`."""
    inputs = (*_predictions(subject), anchors.anchor_grid(subject.config.model, subject.dtype))
    config = subject.config.predict
    book, predict = CHOICES

    def compute(b: Backend) -> list[Array]:
        probabilities, offsets, grid = map(b.data.to_device, inputs)
        arguments = (probabilities, offsets, grid, config.nms_threshold, config.pos_threshold)
        found = [b.detection.multibox_detection(*arguments, **choice) for choice in (book, {**predict, "clip": True})]
        return [b.data.to_numpy(rows) for rows in found]

    return _against_numpy(subject, backends, compute, subject.dtype)


def _against_numpy(
    subject: Subject, backends: Mapping[str, Backend], compute: Callable[[Backend], Any], dtype: str
) -> Results:
    """Return the results against those of numpy in a dtype; numpy is a side where that is not the ladder's."""
    sides = {} if subject.dtype == dtype else {"numpy": compute(_in_numpy(subject.dtype))}
    sides |= {name: compute(backend) for name, backend in backends.items()}
    return Results(sides, compute(_in_numpy(dtype)), f"numpy {dtype}")


def _in_numpy(dtype: str) -> Backend:
    """Return the reference in the form of a backend that computes in a dtype."""

    def to_device(array: Array) -> Array:
        return array.astype(dtype) if array.dtype.kind == "f" else array

    data = SimpleNamespace(to_device=to_device, to_numpy=np.asarray)
    return cast(Backend, SimpleNamespace(boxes=boxes, targets=targets, detection=detection, data=data))


def _labels(subject: Subject) -> Array:
    """Return the labels of the first batch and, of every class, random boxes of all sizes: up to 8 in an image."""
    rng = np.random.default_rng([subject.seed, 3])
    labels = subject.batches[0][1]
    rows = np.full((len(labels) + 8, max(8, labels.shape[1]), 5), -1.0)
    rows[: len(labels), : labels.shape[1]] = labels
    for i in range(8):  # i + 1 boxes in image i
        corners = np.sort(rng.random((i + 1, 2, 2)), axis=1).reshape(-1, 4)
        rows[len(labels) + i, : i + 1, 0] = rng.integers(0, subject.config.model.num_classes, i + 1)
        rows[len(labels) + i, : i + 1, 1:] = corners
    return rows.astype(np.float32).astype(subject.dtype)


def _predictions(subject: Subject) -> tuple[Array, Array]:
    """Return probabilities and offsets of two images as an untrained and as a trained network gives them.

    The scores of the first are rounded so that many are tied; in the second most anchors are background. There are at
    least two classes: with one, a class that is not regarded would not be missed.
    """
    rng = np.random.default_rng([subject.seed, 5])
    model = subject.config.model
    logits = rng.normal(size=(2, max(2, model.num_classes) + 1, model.num_anchors))
    logits[0] = logits[0].round(1)
    logits[1, 0] += 6
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    offsets = rng.normal(size=(2, model.num_anchors * 4))
    return probabilities.astype(subject.dtype), offsets.astype(subject.dtype)


def _decoded(subject: Subject) -> Array:
    """Return the boxes `(2, num_anchors, 4)` of the predicted offsets."""
    grid = anchors.anchor_grid(subject.config.model, subject.dtype)
    return boxes.offset_inverse(grid, _predictions(subject)[1].reshape(2, -1, 4))


def _anchors_of(rows: Array, grid: Array) -> Array:
    """Return the index of the anchor that is nearest to the box of each detection."""
    return np.array([np.abs(grid - row[2:]).sum(axis=1).argmin() for row in rows], int)
