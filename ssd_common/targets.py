"""Training targets: which anchor is to predict which box.

The numpy reference.
"""

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
    num_boxes, num_anchors = ground_truth.shape[-2], anchors.shape[0]
    assigned = np.full((*ground_truth.shape[:-2], num_anchors), -1, np.int64)
    if num_boxes and num_anchors:
        for image in np.ndindex(assigned.shape[:-1]):
            jaccard = box_iou(ground_truth[image], anchors)  # (num_boxes, num_anchors)
            overlaps = jaccard.max(axis=0)
            close = np.flatnonzero(overlaps >= iou_threshold)
            assigned[image][close] = jaccard[:, close].argmax(axis=0)
            while overlaps.max() > 0:
                anchor = overlaps.argmax()
                box = jaccard[:, anchor].argmax()
                assigned[image][anchor] = box
                jaccard[:, anchor] = jaccard[box] = -1
                overlaps = jaccard.max(axis=0)
    return assigned


def multibox_target(anchors: Array, labels: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return what the network is to predict for every anchor of every image.

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
    valid = (labels[..., 0] >= 0) & np.isfinite(labels).all(axis=-1)
    labels = np.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(labels[..., 1:], anchors)  # (batch, num_anchors)
    image, anchor = np.nonzero(assigned >= 0)
    rows = labels[image, assigned[image, anchor]]  # (positives, 5)
    offsets, mask = np.zeros((2, batch, len(anchors), 4), anchors.dtype)
    offsets[image, anchor] = offset_boxes(anchors[anchor], rows[:, 1:])
    mask[image, anchor] = 1
    class_labels = np.zeros((batch, len(anchors)), np.int64)
    class_labels[image, anchor] = rows[:, 0].astype(np.int64) + 1
    return offsets.reshape(batch, -1), mask.reshape(batch, -1), class_labels
