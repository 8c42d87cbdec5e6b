"""Training targets: which anchor is to predict which box."""

import torch
from torch.nn import functional as F

from .boxes import box_iou, offset_boxes


def assign_anchor_to_bbox(ground_truth, anchors, iou_threshold=0.5):
    """Return, for each anchor, the index of the ground-truth box assigned to it, or -1.

    Args:
        ground_truth: `(batch, num_boxes, 4)` corners, or `(num_boxes, 4)`. A box without area is assigned to no anchor.
        anchors: `(num_anchors, 4)` corners.
        iou_threshold: smallest overlap at which an anchor takes a box that does not claim it.

    Returns:
        `(batch, num_anchors)` int64, or `(num_anchors,)`.

    Source: d2l, section "Anchor Boxes", assigning ground-truth bounding boxes to anchor boxes.
    """
    if ground_truth.ndim == 2:
        return assign_anchor_to_bbox(ground_truth[None], anchors, iou_threshold)[0]
    batch, num_boxes = ground_truth.shape[:2]
    if num_boxes == 0 or len(anchors) == 0:
        return torch.full((batch, len(anchors)), -1, device=anchors.device)
    jaccard = box_iou(ground_truth, anchors)  # (batch, num_boxes, num_anchors)
    assigned = _best_box(jaccard, iou_threshold)
    picture = torch.arange(batch, device=anchors.device)
    free = torch.ones_like(assigned, dtype=torch.bool)
    overlap, anchor = jaccard.max(dim=2)  # (batch, num_boxes): of each box the best anchor that is free
    for _ in range(num_boxes):
        # The box with the largest overlap; of equal ones the one with the lowest anchor, then the lowest box.
        largest = overlap.amax(dim=1)
        box = torch.where(overlap == largest[:, None], anchor, len(anchors)).argmin(dim=1)
        claimed = anchor[picture, box]
        assigned[picture, claimed] = torch.where(largest > 0, box, assigned[picture, claimed])
        free[picture, claimed] = False
        overlap[picture, box] = -1
        lost = (anchor == claimed[:, None]) & (overlap > 0)
        _choose_again(lost, jaccard, free, overlap, anchor)
    return assigned


def _best_box(jaccard, iou_threshold):
    """Return, for each anchor of each picture, the box that overlaps it most, or -1 if that is below the threshold.

    On the CPU the largest overlap alone takes a tenth of the time of which box it is with, and few anchors have one. To
    ask which they are would make a GPU wait.
    """
    if jaccard.is_cuda:
        best_iou, best_box = jaccard.max(dim=1)
        return torch.where(best_iou >= iou_threshold, best_box, -1)
    picture, anchor = (jaccard.amax(dim=1) >= iou_threshold).nonzero(as_tuple=True)
    assigned = torch.full((len(jaccard), jaccard.shape[2]), -1, device=jaccard.device)
    assigned[picture, anchor] = jaccard[picture, :, anchor].argmax(dim=1)
    return assigned


def _choose_again(lost, jaccard, free, overlap, anchor):
    """Give each box whose anchor was lost to another box the best anchor that is still free, in place.

    On the CPU this looks at few boxes and saves half of the time of 20 objects a picture. To ask which boxes they are
    would make a GPU wait; there it is cheaper to look at all.
    """
    if jaccard.is_cuda:
        best = torch.where(free[:, None], jaccard, -1).max(dim=2)
        overlap.copy_(torch.where(lost, best.values, overlap))
        anchor.copy_(torch.where(lost, best.indices, anchor))
    else:
        picture, box = lost.nonzero(as_tuple=True)
        best = torch.where(free[picture], jaccard[picture, box], -1).max(dim=1)
        overlap[picture, box], anchor[picture, box] = best.values, best.indices


def multibox_target(anchors, labels):
    """Return what the network is to predict for every anchor of every picture.

    Args:
        anchors: `(1, num_anchors, 4)` corners.
        labels: `(batch, max_objects, 5)` `[class_id, xmin, ymin, xmax, ymax]`; `max_objects` may be 0.

    Returns:
        offsets `(batch, num_anchors * 4)`, 0 for background;
        mask `(batch, num_anchors * 4)`, 1 for the offsets of positive anchors, else 0;
        class labels `(batch, num_anchors)` int64, 0 for background, `class_id + 1` for an object.

    Source: d2l, section "Anchor Boxes", labeling classes and offsets.
    """
    anchors, batch = anchors[0], len(labels)
    valid = (labels[..., 0] >= 0) & (labels.abs().amax(dim=-1) < torch.inf)  # False for NaN
    labels = torch.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(labels[..., 1:], anchors)  # (batch, num_anchors)
    labels = F.pad(labels, (0, 0, 0, 1), value=-1)  # one more row, for the anchors that are assigned none: row -1
    picture, anchor = _worth_computing(assigned)
    rows = labels[picture, assigned[picture, anchor]]  # (n, 5)
    positive = rows[:, :1] >= 0
    offsets, mask = anchors.new_zeros((2, batch, len(anchors), 4))
    # An anchor of the background is compared with itself: a finite number for `where` to remove.
    boxes = torch.where(positive, rows[:, 1:], anchors[anchor])
    offsets[picture, anchor] = torch.where(positive, offset_boxes(anchors[anchor], boxes), 0)
    mask[picture, anchor] = positive.to(mask.dtype)
    class_labels = torch.zeros_like(assigned)
    class_labels[picture, anchor] = rows[:, 0].long() + 1
    return offsets.flatten(start_dim=1), mask.flatten(start_dim=1), class_labels


def _worth_computing(assigned):
    """Return the picture and the anchor of every positive anchor; on a GPU those of every anchor, positive or not.

    On the CPU the few positive ones cost a tenth of all. To ask which they are would make a GPU wait.
    """
    if assigned.is_cuda:
        return torch.cartesian_prod(*(torch.arange(n, device=assigned.device) for n in assigned.shape)).T
    return (assigned >= 0).nonzero(as_tuple=True)
