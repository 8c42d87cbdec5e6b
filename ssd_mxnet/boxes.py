"""Bounding boxes: two formats, overlap, and the offsets that the network learns."""

from mxnet import autograd, nd, np, npx

from ssd_common.config import OFFSET_EPS

npx.set_np()  # numpy semantics, as in the book


def box_corner_to_center(boxes):
    """Return boxes in center format.

    Args:
        boxes: `(..., 4)` corners.

    Returns:
        `(..., 4)` centers.

    Source: d2l, section "Object Detection and Bounding Boxes".
    """
    low, high = np.split(boxes, 2, axis=-1)
    return np.concatenate(((low + high) / 2, high - low), axis=-1)


def box_center_to_corner(boxes):
    """Return boxes in corner format.

    Args:
        boxes: `(..., 4)` centers.

    Returns:
        `(..., 4)` corners.

    Source: d2l, section "Object Detection and Bounding Boxes".
    """
    center, size = np.split(boxes, 2, axis=-1)
    half = 0.5 * size
    return np.concatenate((center - half, center + half), axis=-1)


def box_iou(boxes1, boxes2):
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
    valid1, valid2 = _has_area(boxes1), _has_area(boxes2)
    boxes1, boxes2 = np.where(valid1[..., None], boxes1, 0), np.where(valid2[..., None], boxes2, 0)
    if boxes2.ndim == 2 and not autograd.is_recording():  # the same bits in a quarter of the time; has no gradient
        return nd.contrib.box_iou(boxes1.as_nd_ndarray(), boxes2.as_nd_ndarray()).as_np_ndarray()
    left1, top1, right1, bottom1 = np.moveaxis(boxes1[..., :, None, :], -1, 0)
    left2, top2, right2, bottom2 = np.moveaxis(boxes2[..., None, :, :], -1, 0)
    width = np.maximum(np.minimum(right1, right2) - np.maximum(left1, left2), 0)  # (..., n, m)
    height = np.maximum(np.minimum(bottom1, bottom2) - np.maximum(top1, top2), 0)
    inter = width * height
    area1, area2 = (right1 - left1) * (bottom1 - top1), (right2 - left2) * (bottom2 - top2)
    # A box without area is a point by now: it may have another area, so that nothing is divided by 0.
    area1 = np.where(valid1[..., :, None], area1, 1)
    return inter / (area1 + area2 - inter)


def _has_area(boxes):
    """Return `(...)` bool: which boxes are neither empty nor inverted, and have finite corners."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    area = width * height
    return (width > 0) & (height > 0) & (area > 0) & (area < np.inf)


def offset_boxes(anchors, assigned_bb, eps=OFFSET_EPS):
    """Return the offsets that move and stretch each anchor onto its assigned box.

    Args:
        anchors: `(..., n, 4)` corners, with area.
        assigned_bb: `(..., n, 4)` corners, with area.
        eps: added inside the logarithm.

    Returns:
        `(..., n, 4)` offsets.

    Source: d2l, section "Anchor Boxes", labeling classes and offsets.
    """
    anc_xy, anc_wh = np.split(box_corner_to_center(anchors), 2, axis=-1)
    bb_xy, bb_wh = np.split(box_corner_to_center(assigned_bb), 2, axis=-1)
    offset_xy = 10 * (bb_xy - anc_xy) / anc_wh
    offset_wh = 5 * np.log(eps + bb_wh / anc_wh)
    return np.concatenate((offset_xy, offset_wh), axis=-1)


def offset_inverse(anchors, offset_preds):
    """Return the boxes that predicted offsets make of the anchors: the inverse of `offset_boxes` but for `eps`.

    Args:
        anchors: `(..., n, 4)` corners.
        offset_preds: `(..., n, 4)` offsets.

    Returns:
        `(..., n, 4)` corners.

    Source: d2l, section "Anchor Boxes", predicting bounding boxes.
    """
    anc_xy, anc_wh = np.split(box_corner_to_center(anchors), 2, axis=-1)
    offset_xy, offset_wh = np.split(offset_preds, 2, axis=-1)
    pred_xy = offset_xy * anc_wh / 10 + anc_xy
    pred_wh = np.exp(offset_wh / 5) * anc_wh
    return box_center_to_corner(np.concatenate((pred_xy, pred_wh), axis=-1))
