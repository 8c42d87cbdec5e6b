"""Rungs 1 to 6 of the ladder: anchors, overlaps, targets and detections of numpy and of each backend.

The reference of what can be rounded is numpy in float64; the reference of what is discrete is `oracles`, in the dtype
of the ladder. A rung makes the calls that training and prediction make, by every path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssd_common import anchors, boxes, detection, targets
from ssd_common.backends import Backend
from ssd_common.parity import oracles
from ssd_common.parity.rungs import Array, Results, Subject

POS_THRESHOLD = 0.01
"""The smallest score of a detection."""
CHOICES: tuple[dict[str, Any], ...] = ({}, {"class_aware": True, "top_k": 400, "foreground_only": True})
"""How boxes compete in the book, and in `predict`."""
ONE_BY_ONE = "one by one"
"""Where the reference of discrete quantities comes from."""


def measure_anchors(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute the anchors of all feature maps."""
    model, dtype = subject.config.model, subject.dtype

    def of_backend(b: Backend) -> Array:
        blocks = zip(model.feature_map_sizes, model.anchors.sizes, model.anchors.ratios, strict=True)
        grids = [b.anchors.multibox_prior(b.data.to_device(np.zeros((1, 1, n, n), dtype)), s, r) for n, s, r in blocks]
        return np.concatenate([b.data.to_numpy(grid) for grid in grids], axis=1)

    sides = {name: of_backend(backend) for name, backend in backends.items()}
    reference = anchors.anchor_grid(model, "float64")
    return _against_float64(subject, sides, lambda: anchors.anchor_grid(model, dtype), reference)


def measure_iou(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute overlaps: of the boxes of all images with the anchors, as in training; of boxes, as in suppression."""
    grid, truth = anchors.anchor_grid(subject.config.model, subject.dtype)[0], _labels(subject)[..., 1:]
    decoded = _decoded(subject)[0]
    calls = [(truth, grid), (truth[-1], grid), (decoded[:64], decoded), (grid, truth)]

    def of_backend(b: Backend) -> list[Array]:
        return [b.data.to_numpy(b.boxes.box_iou(*map(b.data.to_device, call))) for call in calls]

    def in_numpy(dtype: str) -> list[Array]:
        return [boxes.box_iou(first.astype(dtype), second.astype(dtype)) for first, second in calls]

    sides = {name: of_backend(backend) for name, backend in backends.items()}
    return _against_float64(subject, sides, lambda: in_numpy(subject.dtype), in_numpy("float64"))


def measure_assignment(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Assign anchors to the boxes of all images, and of one; give them class labels in the training targets."""
    grid, labels = anchors.anchor_grid(subject.config.model, subject.dtype), _labels(subject)

    def of_side(assign: Callable[..., Any], target: Callable[..., Any], *arrays: Any) -> list[Any]:
        grid, labels, truth = arrays
        return [assign(truth, grid[0]), assign(truth[-1], grid[0]), target(grid, labels)[2]]

    def of_backend(b: Backend) -> list[Array]:
        arrays = map(b.data.to_device, (grid, labels, labels[..., 1:]))
        found = of_side(b.targets.assign_anchor_to_bbox, b.targets.multibox_target, *arrays)
        return [b.data.to_numpy(array) for array in found]

    assigned = _assigned(labels, grid)
    classes = np.where(assigned >= 0, _rows_of(assigned, labels)[..., 0] + 1, 0)
    sides = {"numpy": of_side(targets.assign_anchor_to_bbox, targets.multibox_target, grid, labels, labels[..., 1:])}
    sides |= {name: of_backend(backend) for name, backend in backends.items()}
    return Results(sides, [assigned, assigned[-1], classes], ONE_BY_ONE)


def measure_offsets(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute target offsets, and boxes decoded from predicted offsets."""
    grid, labels = anchors.anchor_grid(subject.config.model, subject.dtype), _labels(subject)
    predicted = _predictions(subject)[1].reshape(-1, *grid.shape[1:])
    assigned = _assigned(labels, grid)

    def in_numpy(grid: Array, labels: Array, predicted: Array) -> list[Array]:
        assigned_boxes = np.where(assigned[..., None] >= 0, _rows_of(assigned, labels)[..., 1:], grid)
        # An anchor of the background is compared with itself: a finite number for `where` to remove.
        offsets = np.where(assigned[..., None] >= 0, boxes.offset_boxes(grid, assigned_boxes), 0)
        return [offsets.reshape(len(labels), -1), boxes.offset_inverse(grid, predicted)]

    def of_backend(b: Backend) -> list[Array]:
        offsets = b.targets.multibox_target(b.data.to_device(grid), b.data.to_device(labels))[0]
        decoded = b.boxes.offset_inverse(b.data.to_device(grid), b.data.to_device(predicted))
        return [b.data.to_numpy(offsets), b.data.to_numpy(decoded)]

    sides = {name: of_backend(backend) for name, backend in backends.items()}
    reference = in_numpy(*(array.astype("float64") for array in (grid, labels, predicted)))
    return _against_float64(subject, sides, lambda: in_numpy(grid, labels, predicted), reference)


def measure_nms(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Suppress boxes by `nms`, with and without regard to the class, and as part of `multibox_detection`.

    There the predicted offsets are 0, so that what is kept does not depend on how boxes are decoded.
    """
    probabilities, offsets = _predictions(subject)
    grid, decoded = anchors.anchor_grid(subject.config.model, subject.dtype), _decoded(subject)
    scores, classes = probabilities[:, 1:].max(axis=1), probabilities[:, 1:].argmax(axis=1)
    threshold = subject.config.predict.nms_threshold
    unmoved = boxes.offset_inverse(grid[0], np.zeros_like(grid[0]))

    def of_side(module: Any, to_side: Callable[[Any], Any], to_numpy: Callable[[Any], Array]) -> list[Any]:
        kept = []
        for box, score, class_id in zip(*(map(to_side, array) for array in (decoded, scores, classes)), strict=True):
            kept.append(to_numpy(module.nms(box, score, threshold)))
            kept.append(to_numpy(module.nms(box, score, threshold, class_ids=class_id)))
        arrays = [to_side(array) for array in (probabilities, np.zeros_like(offsets), grid)]
        for choice in CHOICES:
            for rows in to_numpy(module.multibox_detection(*arrays, threshold, POS_THRESHOLD, **choice)):
                boxes_kept = rows[rows[:, 0] >= 0, 2:]
                kept.append(np.array([np.abs(unmoved - box).sum(axis=1).argmin() for box in boxes_kept]))
        return kept

    reference: list[Any] = []
    for box, score, class_id in zip(decoded, scores, classes, strict=True):
        reference.append(oracles.suppress(box, score, threshold))
        reference.append(oracles.suppress(box, score, threshold, class_id))
    for choice in CHOICES:
        reference += [oracles.detect(p, unmoved, threshold, POS_THRESHOLD, **choice)[0] for p in probabilities]
    sides = {"numpy": of_side(detection, np.asarray, np.asarray)}
    sides |= {name: of_side(b.detection, b.data.to_device, b.data.to_numpy) for name, b in backends.items()}
    return Results(sides, reference, ONE_BY_ONE)


def measure_detections(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute all rows of the detections, with the book's settings and with those of `predict`."""
    probabilities, offsets = _predictions(subject)
    grid, threshold = anchors.anchor_grid(subject.config.model, subject.dtype), subject.config.predict.nms_threshold
    choices = list(zip((False, True), CHOICES, strict=True))  # the book does not clip

    def of_side(module: Any, to_side: Callable[[Any], Any]) -> list[Any]:
        arrays = [to_side(array) for array in (probabilities, offsets, grid)]
        return [module.multibox_detection(*arrays, threshold, POS_THRESHOLD, clip=c, **kwargs) for c, kwargs in choices]

    def one_by_one(clip: bool, choice: dict[str, Any]) -> Array:
        decoded = _decoded(subject).clip(0, 1) if clip else _decoded(subject)
        images = zip(probabilities, decoded, strict=True)
        return np.stack([oracles.detect(p, box, threshold, POS_THRESHOLD, **choice)[1] for p, box in images])

    sides = {"numpy": of_side(detection, np.asarray)}
    for name, b in backends.items():
        sides[name] = [b.data.to_numpy(rows) for rows in of_side(b.detection, b.data.to_device)]
    return Results(sides, [one_by_one(*choice) for choice in choices], ONE_BY_ONE)


def _against_float64(
    subject: Subject, sides: Mapping[str, Any], in_numpy: Callable[[], Any], reference: Any
) -> Results:
    """Return the results against numpy in float64; in float32 numpy is a side, too."""
    numpy_side = {} if subject.dtype == "float64" else {"numpy": in_numpy()}
    return Results({**numpy_side, **sides}, reference, "numpy float64")


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


def _assigned(labels: Array, grid: Array) -> Array:
    """Return the box assigned to every anchor of every image, or -1."""
    return np.stack([oracles.assign(rows[:, 1:], grid[0]) for rows in labels])


def _rows_of(assigned: Array, labels: Array) -> Array:
    """Return the label that is assigned to every anchor `(batch, num_anchors, 5)`; any where there is none."""
    return np.take_along_axis(labels, assigned.clip(0)[..., None], axis=1)


def _predictions(subject: Subject) -> tuple[Array, Array]:
    """Return probabilities and offsets of two images as an untrained and as a trained network gives them.

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


def _decoded(subject: Subject) -> Array:
    """Return the boxes `(2, num_anchors, 4)` of the predicted offsets."""
    grid = anchors.anchor_grid(subject.config.model, subject.dtype)
    return boxes.offset_inverse(grid, _predictions(subject)[1].reshape(2, -1, 4))
