"""Training targets: which anchor is to predict which box. The numpy reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssd_common.boxes import Array, box_iou, offset_boxes


def assign_anchor_to_bbox(ground_truth: Array, anchors: Array, iou_threshold: float = 0.5) -> NDArray[np.int64]:
    """Return, for each anchor, the index of the ground-truth box assigned to it, or -1.

    First every anchor takes the box that it overlaps most, if by at least `iou_threshold`. Then every box claims one
    anchor, whatever the threshold: the pair with the largest overlap first, an anchor only once. An overlap of 0 claims
    nothing. Ties go to the lower anchor index, then to the lower box index.

    Args:
        ground_truth: `(..., num_boxes, 4)` corners. A box without area is assigned to no anchor.
        anchors: `(num_anchors, 4)` corners.
        iou_threshold: smallest overlap of the first rule.

    Returns:
        `(..., num_anchors)` int64.

    Source: d2l, section "Anchor Boxes", assigning ground-truth bounding boxes to anchor boxes.
    """
    num_boxes = ground_truth.shape[-2]
    if num_boxes == 0:
        return np.full((*ground_truth.shape[:-2], anchors.shape[0]), -1, np.int64)
    jaccard = box_iou(anchors, ground_truth)  # (..., num_anchors, num_boxes)
    shape, jaccard = jaccard.shape[:-1], jaccard.reshape(-1, *jaccard.shape[-2:])
    best_iou = jaccard.max(axis=-1)
    assigned = np.where(best_iou >= iou_threshold, jaccard.argmax(axis=-1), -1)
    picture = np.arange(len(jaccard))
    for _ in range(num_boxes):
        anchor = jaccard.max(axis=-1).argmax(axis=-1)  # of each picture: the anchor of the largest overlap left
        overlaps = jaccard[picture, anchor]  # (pictures, num_boxes)
        box = overlaps.argmax(axis=-1)
        claimed = overlaps.max(axis=-1) > 0
        assigned[picture, anchor] = np.where(claimed, box, assigned[picture, anchor])
        jaccard[picture, anchor] = -1
        jaccard[picture, :, box] = -1
    return assigned.reshape(shape)


def multibox_target(anchors: Array, labels: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return what the network is to predict for every anchor of every picture.

    Padding rows (class id below 0), rows with a value that is not finite and boxes without area are ignored: they
    never make an anchor positive.

    Args:
        anchors: `(1, num_anchors, 4)` corners.
        labels: `(batch, max_objects, 5)` `[class_id, xmin, ymin, xmax, ymax]`; `max_objects` may be 0.

    Returns:
        offsets `(batch, num_anchors * 4)`, 0 for background;
        mask `(batch, num_anchors * 4)`, 1 for the offsets of positive anchors, else 0;
        class labels `(batch, num_anchors)` int64, 0 for background, `class_id + 1` for an object.

    Source: d2l, section "Anchor Boxes", labeling classes and offsets.
    """
    anchors, batch = anchors[0], labels.shape[0]
    # One more row, a box without area, for the anchors that are assigned none: row -1.
    labels = np.concatenate((labels, np.full((batch, 1, 5), -1, labels.dtype)), axis=1)
    valid = (labels[..., 0] >= 0) & np.isfinite(labels).all(axis=-1)
    labels = np.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(labels[..., 1:], anchors)  # (batch, num_anchors)
    positive = assigned >= 0
    rows = np.take_along_axis(labels, assigned[..., None] % labels.shape[1], axis=1)  # (batch, num_anchors, 5)
    # Background anchors are compared with themselves: a finite number for the mask to remove.
    boxes = np.where(positive[..., None], rows[..., 1:], anchors)
    offsets = np.where(positive[..., None], offset_boxes(anchors, boxes), 0)
    mask = np.repeat(positive.astype(anchors.dtype), 4, axis=-1)
    class_labels = np.where(positive, rows[..., 0].astype(np.int64) + 1, 0)
    return offsets.reshape(batch, -1), mask, class_labels
