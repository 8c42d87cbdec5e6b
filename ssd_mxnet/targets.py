"""Training targets: which anchor is to predict which box."""

import numpy
from mxnet import autograd, np

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
        return np.full((batch, len(anchors)), -1, dtype=np.int64, ctx=anchors.ctx)
    with autograd.pause():  # targets are constants
        jaccard = box_iou(ground_truth, anchors).asnumpy()  # (batch, num_boxes, num_anchors)
    # From here on in numpy: arrays this small cost MXNet more to call than to compute, ten times as much in all.
    assigned = numpy.full((batch, len(anchors)), -1)
    picture, anchor = (jaccard.max(axis=1) >= iou_threshold).nonzero()  # few, and only their boxes are worth the time
    assigned[picture, anchor] = jaccard[picture, :, anchor].argmax(axis=1)
    overlap, anchor = jaccard.max(axis=2), jaccard.argmax(axis=2)  # of each box the best anchor that is free
    picture = numpy.arange(batch)
    free = numpy.ones(assigned.shape, bool)
    for _ in range(num_boxes):
        # The box with the largest overlap; of equal ones the one with the lowest anchor, then the lowest box.
        largest = overlap.max(axis=1)
        box = numpy.where(overlap == largest[:, None], anchor, len(anchors)).argmin(axis=1)
        claimed = anchor[picture, box]
        assigned[picture, claimed] = numpy.where(largest > 0, box, assigned[picture, claimed])
        free[picture, claimed] = False
        overlap[picture, box] = -1
        lost = (anchor == claimed[:, None]) & (overlap > 0)
        _choose_again(lost, jaccard, free, overlap, anchor)
    return np.array(assigned, dtype=np.int64, ctx=anchors.ctx)


def _choose_again(lost, jaccard, free, overlap, anchor):
    """Give each box whose anchor was lost to another box the best anchor that is still free, in place."""
    picture, box = lost.nonzero()
    if len(box):
        best = numpy.where(free[picture], jaccard[picture, box], -1)
        overlap[picture, box], anchor[picture, box] = best.max(axis=1), best.argmax(axis=1)


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
    dtype, ctx = anchors.dtype, anchors.ctx
    # In numpy but for the arithmetic: to pick and to set a few numbers takes MXNet far longer.
    labels = labels.asnumpy()
    valid = (labels[..., 0] >= 0) & numpy.isfinite(labels).all(axis=-1)
    labels = numpy.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(np.array(labels[..., 1:], dtype=labels.dtype, ctx=ctx), anchors).asnumpy()
    picture, anchor = (assigned >= 0).nonzero()  # few, and only their offsets are worth the time
    offsets, mask = numpy.zeros((2, batch, len(anchors), 4), dtype)
    class_labels = numpy.zeros_like(assigned)
    if len(anchor):
        rows = labels[picture, assigned[picture, anchor]]  # (positives, 5)
        with autograd.pause():  # targets are constants
            anchor_boxes = np.take(anchors, np.array(anchor, ctx=ctx), axis=0)
            boxes = np.array(rows[:, 1:], dtype=labels.dtype, ctx=ctx)
            offsets[picture, anchor] = offset_boxes(anchor_boxes, boxes).asnumpy()
        mask[picture, anchor] = 1
        class_labels[picture, anchor] = rows[:, 0].astype(int) + 1
    offsets, mask = (np.array(array.reshape(batch, -1), dtype=dtype, ctx=ctx) for array in (offsets, mask))
    return offsets, mask, np.array(class_labels, dtype=np.int64, ctx=ctx)
