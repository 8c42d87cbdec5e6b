"""Bounding boxes: two formats, overlap, and the offsets that the network learns."""

from mxnet import np, npx

from ssd_common.config import OFFSET_EPS

npx.set_np()  # numpy semantics, as in the book


def box_corner_to_center(boxes):
    """Return boxes in center format.

    Returns:
        `(..., 4)` centers.
    """
    low, high = np.split(boxes, 2, axis=-1)
    return np.concatenate(((low + high) / 2, high - low), axis=-1)


def box_center_to_corner(boxes):
    """Return boxes in corner format.

    Returns:
        `(..., 4)` corners.
    """
    center, size = np.split(boxes, 2, axis=-1)
    half = 0.5 * size
    return np.concatenate((center - half, center + half), axis=-1)


def box_iou(boxes1, boxes2):
    """Return the intersection over union of every pair of boxes.

    Returns:
        `(..., n, m)`, 0…1. Without a gradient: MXNet's `where` has none here.
    """
    area1, left1, top1, right1, bottom1 = _box_sides(boxes1[..., :, None, :])
    area2, left2, top2, right2, bottom2 = _box_sides(boxes2[..., None, :, :])
    width = (np.minimum(right1, right2) - np.maximum(left1, left2)).clip(0)  # (..., n, m)
    height = (np.minimum(bottom1, bottom2) - np.maximum(top1, top2)).clip(0)
    inter = width * height
    return inter / (area1 + area2 - inter)


def _box_sides(boxes):
    """Return area, left, top, right, bottom: `(...)` each; a box without area becomes the point (0, 0) of area 1."""
    left, top, right, bottom = np.moveaxis(boxes, -1, 0)
    width, height = right - left, bottom - top
    area = width * height
    valid = (width > 0) & (height > 0) & (area > 0) & (area < np.inf)
    return np.where(valid, area, 1), *(np.where(valid, side, 0) for side in (left, top, right, bottom))


def offset_boxes(anchors, assigned_bb, eps=OFFSET_EPS):
    """Return the offsets that move and stretch each anchor onto its assigned box.

    Returns:
        `(..., n, 4)` offsets.
    """
    anc_xy, anc_wh = np.split(box_corner_to_center(anchors), 2, axis=-1)
    bb_xy, bb_wh = np.split(box_corner_to_center(assigned_bb), 2, axis=-1)
    offset_xy = 10 * (bb_xy - anc_xy) / anc_wh
    offset_wh = 5 * np.log(eps + bb_wh / anc_wh)
    return np.concatenate((offset_xy, offset_wh), axis=-1)


def offset_inverse(anchors, offset_preds):
    """Return the boxes that predicted offsets make of the anchors: the inverse of `offset_boxes` except for `eps`.

    Returns:
        `(..., n, 4)` corners.
    """
    anc_xy, anc_wh = np.split(box_corner_to_center(anchors), 2, axis=-1)
    offset_xy, offset_wh = np.split(offset_preds, 2, axis=-1)
    pred_xy = offset_xy * anc_wh / 10 + anc_xy
    pred_wh = np.exp(offset_wh / 5) * anc_wh
    return box_center_to_corner(np.concatenate((pred_xy, pred_wh), axis=-1))
