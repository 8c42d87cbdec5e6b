"""Matching and suppression once more, one box at a time: what the ladder holds every other version against.

Slow and plain. Nothing here calls what a backend calls, so that one mistake cannot be on both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_common.parity.rungs import Array


def overlaps(box: Array, others: Array) -> Array:
    """Return the intersection over union `(n,)` of one box with `(n, 4)` others; 0 where one has no area."""
    width = (np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])).clip(0)
    height = (np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])).clip(0)
    shared = width * height
    area = (box[2] - box[0]) * (box[3] - box[1])
    union = area + (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def assign(ground_truth: Array, anchors: Array, iou_threshold: float = 0.5) -> NDArray[np.int64]:
    """Return `(num_anchors,)`: the box assigned to each anchor of one image, or -1; as `assign_anchor_to_bbox`."""
    table = np.stack([overlaps(box, anchors) for box in ground_truth], axis=1)  # (num_anchors, num_boxes)
    assigned = np.where(table.max(axis=1) >= iou_threshold, table.argmax(axis=1), -1)
    while table.max() > 0:  # of equal overlaps `argmax` takes that of the lowest anchor, then of the lowest box
        anchor, box = np.unravel_index(table.argmax(), table.shape)
        assigned[anchor] = box
        table[anchor] = table[:, box] = 0
    return assigned


def suppress(boxes: Array, scores: Array, iou_threshold: float, class_ids: Any = None) -> list[int]:
    """Return the indices of the boxes of one image that are kept, best score first; as `nms`."""
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])  # stable: of equal scores the lower index first
    kept = []
    while left:
        best, rest = left[0], np.array(left[1:], int)
        kept.append(best)
        suppressed = overlaps(boxes[best], boxes[rest]) > iou_threshold
        if class_ids is not None:
            suppressed &= class_ids[rest] == class_ids[best]
        left = rest[~suppressed].tolist()
    return kept


def detect(
    probabilities: Array,
    boxes: Array,
    nms_threshold: float,
    pos_threshold: float,
    *,
    class_aware: bool = False,
    top_k: int | None = None,
    foreground_only: bool = False,
) -> tuple[list[int], Array]:
    """Return the anchors detected in one image, and every row; as `multibox_detection` of decoded boxes.

    Args:
        probabilities: `(num_classes + 1, num_anchors)`.
        boxes: `(num_anchors, 4)`, decoded and clipped.
        nms_threshold: see `suppress`.
        pos_threshold: smallest score of a detection.
        class_aware: suppress within a class only.
        top_k: how many boxes compete; None or 0: all.
        foreground_only: let only boxes compete whose score is at least `pos_threshold`.
    """
    scores, class_ids = probabilities[1:].max(axis=0), probabilities[1:].argmax(axis=0)
    compete = np.array(sorted(range(len(boxes)), key=lambda i: -scores[i]), int)[: top_k or None]
    if foreground_only:
        compete = compete[scores[compete] >= pos_threshold]
    kept = compete[
        suppress(boxes[compete], scores[compete], nms_threshold, class_ids[compete] if class_aware else None)
    ]
    order = [*kept, *sorted(set(range(len(boxes))) - set(kept))]
    detected = [i for i in kept if scores[i] >= pos_threshold]
    shown = np.full(len(boxes), -1, boxes.dtype)
    shown[detected] = class_ids[detected]
    scores = np.where(scores >= pos_threshold, scores, 1 - scores)
    return detected, np.column_stack((shown, scores, boxes))[order]
