"""Bounding boxes: two formats, overlap, and the offsets that the network learns."""

import torch

from ssd_common.config import OFFSET_EPS


def box_corner_to_center(boxes):
    """Return boxes in center format.

    Returns:
        `(..., 4)` centers.
    """
    low, high = torch.split(boxes, 2, dim=-1)
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def box_center_to_corner(boxes):
    """Return boxes in corner format.

    Returns:
        `(..., 4)` corners.
    """
    center, size = torch.split(boxes, 2, dim=-1)
    half = 0.5 * size
    return torch.cat((center - half, center + half), dim=-1)


def box_iou(boxes1, boxes2):
    """Return the intersection over union of every pair of boxes.

    Returns:
        `(..., n, m)`, 0…1.
    """
    area1, left1, top1, right1, bottom1 = _box_sides(boxes1[..., :, None, :])
    area2, left2, top2, right2, bottom2 = _box_sides(boxes2[..., None, :, :])
    width = (torch.minimum(right1, right2) - torch.maximum(left1, left2)).clip(0)  # (..., n, m)
    height = (torch.minimum(bottom1, bottom2) - torch.maximum(top1, top2)).clip(0)
    inter = width * height
    return inter / (area1 + area2 - inter)


def _box_sides(boxes):
    """Return area, left, top, right, bottom: `(...)` each; a box without area becomes the point (0, 0) of area 1."""
    left, top, right, bottom = torch.moveaxis(boxes, -1, 0)
    width, height = right - left, bottom - top
    area = width * height
    valid = (width > 0) & (height > 0) & (area > 0) & (area < torch.inf)
    return torch.where(valid, area, 1), *(torch.where(valid, side, 0) for side in (left, top, right, bottom))


def offset_boxes(anchors, assigned_bb, eps=OFFSET_EPS):
    """Return the offsets that move and stretch each anchor onto its assigned box.

    Returns:
        `(..., n, 4)` offsets.
    """
    anc_xy, anc_wh = torch.split(box_corner_to_center(anchors), 2, dim=-1)
    bb_xy, bb_wh = torch.split(box_corner_to_center(assigned_bb), 2, dim=-1)
    offset_xy = 10 * (bb_xy - anc_xy) / anc_wh
    offset_wh = 5 * torch.log(eps + bb_wh / anc_wh)
    return torch.cat((offset_xy, offset_wh), dim=-1)


def offset_inverse(anchors, offset_preds):
    """Return the boxes that predicted offsets make of the anchors: the inverse of `offset_boxes` except for `eps`.

    Returns:
        `(..., n, 4)` corners.
    """
    anc_xy, anc_wh = torch.split(box_corner_to_center(anchors), 2, dim=-1)
    offset_xy, offset_wh = torch.split(offset_preds, 2, dim=-1)
    pred_xy = offset_xy * anc_wh / 10 + anc_xy
    pred_wh = torch.exp(offset_wh / 5) * anc_wh
    return box_center_to_corner(torch.cat((pred_xy, pred_wh), dim=-1))
