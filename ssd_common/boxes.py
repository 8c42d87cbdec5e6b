"""Bounding boxes: two formats, overlap, and the offsets that the network learns.

A box in corner format is `[xmin, ymin, xmax, ymax]`, in center format `[x, y, width, height]`. Coordinates are
fractions of the image, but nothing here depends on the unit. Every function keeps the dtype of its input: float64 in,
float64 out.

The numpy reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssd_common.config import OFFSET_EPS

Array = NDArray[np.floating]


def box_corner_to_center(boxes: Array) -> Array:
    """Return boxes in center format.

    Args:
        boxes: `(..., 4)` corners.

    Returns:
        `(..., 4)` centers.

    Source: d2l, section "Object Detection and Bounding Boxes".
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate(((low + high) / 2, high - low), axis=-1)


def box_center_to_corner(boxes: Array) -> Array:
    """Return boxes in corner format.

    Args:
        boxes: `(..., 4)` centers.

    Returns:
        `(..., 4)` corners.

    Source: d2l, section "Object Detection and Bounding Boxes".
    """
    center, half = boxes[..., :2], 0.5 * boxes[..., 2:]
    return np.concatenate((center - half, center + half), axis=-1)


def box_iou(boxes1: Array, boxes2: Array) -> Array:
    """Return the intersection over union of every pair of boxes.

    A box without area (zero-area, inverted, or with a coordinate that is not finite) overlaps nothing: its IoU is 0
    even with itself. On all other boxes this is the book's function.

    Args:
        boxes1: `(..., n, 4)` corners.
        boxes2: `(..., m, 4)` corners; leading dimensions broadcast against those of `boxes1`.

    Returns:
        `(..., n, m)`, 0…1.

    Source: d2l, section "Anchor Boxes", intersection over union.
    """
    area1, (left1, top1, right1, bottom1) = _box_sides(boxes1[..., :, None, :])
    area2, (left2, top2, right2, bottom2) = _box_sides(boxes2[..., None, :, :])
    width = np.maximum(np.minimum(right1, right2) - np.maximum(left1, left2), 0)  # (..., n, m)
    height = np.maximum(np.minimum(bottom1, bottom2) - np.maximum(top1, top2), 0)
    inter = width * height
    return inter / (area1 + area2 - inter)


def _box_sides(boxes: Array) -> tuple[Array, Array]:
    """Return `(...)` areas and `(4, ...)` sides; a box without area becomes the point (0, 0), and its area 1."""
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, or more than the dtype holds: no area
        width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
        area = width * height
    valid = (width > 0) & (height > 0) & (area > 0) & (area < np.inf)
    sides = np.ascontiguousarray(np.moveaxis(np.where(valid[..., None], boxes, 0), -1, 0))
    return np.where(valid, area, 1), sides


def offset_boxes(anchors: Array, assigned_bb: Array, eps: float = OFFSET_EPS) -> Array:
    """Return the offsets that move and stretch each anchor onto its assigned box.

    With centers `(x, y, w, h)` of the box and `(xa, ya, wa, ha)` of the anchor:
    `10 (x - xa) / wa`, `10 (y - ya) / ha`, `5 log(eps + w / wa)`, `5 log(eps + h / ha)`. The factors are the
    reciprocal standard deviations 0.1 and 0.2.

    Args:
        anchors: `(..., n, 4)` corners, with area.
        assigned_bb: `(..., n, 4)` corners, with area.
        eps: added inside the logarithm.

    Returns:
        `(..., n, 4)` offsets.

    Source: d2l, section "Anchor Boxes", labeling classes and offsets.
    """
    anc, bb = box_corner_to_center(anchors), box_corner_to_center(assigned_bb)
    offset_xy = 10 * (bb[..., :2] - anc[..., :2]) / anc[..., 2:]
    offset_wh = 5 * np.log(eps + bb[..., 2:] / anc[..., 2:])
    return np.concatenate((offset_xy, offset_wh), axis=-1)


def offset_inverse(anchors: Array, offset_preds: Array) -> Array:
    """Return the boxes that predicted offsets make of the anchors: the inverse of `offset_boxes` except for `eps`.

    Args:
        anchors: `(..., n, 4)` corners.
        offset_preds: `(..., n, 4)` offsets.

    Returns:
        `(..., n, 4)` corners.

    Source: d2l, section "Anchor Boxes", predicting bounding boxes.
    """
    anc = box_corner_to_center(anchors)
    pred_xy = offset_preds[..., :2] * anc[..., 2:] / 10 + anc[..., :2]
    pred_wh = np.exp(offset_preds[..., 2:] / 5) * anc[..., 2:]
    pred_xy, pred_wh = np.broadcast_arrays(pred_xy, pred_wh)
    return box_center_to_corner(np.concatenate((pred_xy, pred_wh), axis=-1))
