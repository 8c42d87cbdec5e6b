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
    if num_boxes == 0:
        return torch.full((batch, len(anchors)), -1, device=anchors.device)
    jaccard = box_iou(anchors, ground_truth)  # (batch, num_anchors, num_boxes)
    best_iou, best_box = jaccard.max(dim=-1)
    assigned = torch.where(best_iou >= iou_threshold, best_box, -1)
    picture = torch.arange(batch, device=anchors.device)
    for _ in range(num_boxes):
        anchor = jaccard.amax(dim=-1).argmax(dim=-1)  # of each picture: the anchor of the largest overlap left
        overlap, box = jaccard[picture, anchor].max(dim=-1)
        assigned[picture, anchor] = torch.where(overlap > 0, box, assigned[picture, anchor])
        jaccard[picture, anchor] = -1
        jaccard[picture, :, box] = -1
    return assigned


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
    anchors = anchors[0]
    # One more row, a box without area, for the anchors that are assigned none: row -1.
    labels = F.pad(labels, (0, 0, 0, 1), value=-1)
    valid = (labels[..., 0] >= 0) & labels.isfinite().all(dim=-1)
    labels = torch.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(labels[..., 1:], anchors)  # (batch, num_anchors)
    positive = assigned >= 0
    picture = torch.arange(len(labels), device=labels.device)
    rows = labels[picture[:, None], assigned]  # (batch, num_anchors, 5)
    # Background anchors are compared with themselves: a finite number for the mask to remove.
    boxes = torch.where(positive[..., None], rows[..., 1:], anchors)
    offsets = torch.where(positive[..., None], offset_boxes(anchors.expand_as(boxes), boxes), 0)
    mask = positive.to(anchors.dtype).repeat_interleave(4, dim=-1)
    class_labels = torch.where(positive, rows[..., 0].long() + 1, 0)
    return offsets.flatten(start_dim=1), mask, class_labels
