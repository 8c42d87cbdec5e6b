"""Training targets: which anchor is to predict which box."""

from mxnet import autograd, np, npx

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
    with autograd.pause():  # targets are constants, and recorded arrays cannot be written in place
        jaccard = box_iou(ground_truth, anchors)  # (batch, num_boxes, num_anchors)
        best_iou, best_box = _max(jaccard, axis=1)
        assigned = np.where(best_iou >= iou_threshold, best_box, np.full_like(best_box, -1))
        index = np.arange(len(anchors), dtype=np.int64, ctx=anchors.ctx)
        free = np.ones_like(best_iou)
        overlap, anchor = _max(jaccard, axis=2)  # (batch, num_boxes): of each box the best anchor that is free
        for _ in range(num_boxes):
            # The box with the largest overlap; of equal ones the one with the lowest anchor, then the lowest box.
            largest = overlap.max(axis=1)
            candidates = np.where(overlap == largest[:, None], anchor, np.full_like(anchor, len(anchors)))
            box = candidates.argmin(axis=1)
            claimed = candidates.min(axis=1)
            here = index == claimed[:, None]  # (batch, num_anchors)
            assigned = np.where(here * (largest > 0)[:, None], box[:, None], assigned)
            free = free * (1 - here)
            overlap = np.where(npx.one_hot(box, num_boxes) > 0, -1, overlap)
            lost = (anchor == claimed[:, None]) * (overlap > 0)
            overlap, anchor = _choose_again(lost, jaccard, free, overlap, anchor)
    return assigned


def _choose_again(lost, jaccard, free, overlap, anchor):
    """Give each box whose anchor was lost to another box the best anchor that is still free; return both anew.

    This looks at few boxes: to look at all takes four times as long with 20 objects a picture.
    """
    rows = lost.asnumpy().ravel().nonzero()[0]
    if len(rows):
        shape, width = overlap.shape, jaccard.shape[-1]
        rows, pictures = (np.array(index, dtype=np.int64, ctx=free.ctx) for index in (rows, rows // shape[1]))
        left = np.take(free, pictures, axis=0)
        best, index = _max(np.take(jaccard.reshape(-1, width), rows, axis=0) * left - (1 - left), axis=1)
        overlap, anchor = overlap.reshape(-1), anchor.reshape(-1)
        overlap[rows], anchor[rows] = best, index
        overlap, anchor = overlap.reshape(shape), anchor.reshape(shape)
    return overlap, anchor


def _max(array, axis):
    """Return the largest values along an axis, and the index of the first of them."""
    index = array.argmax(axis=axis)
    return npx.pick(array, index, axis=axis), index


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
    valid = (labels[..., 0] >= 0) & np.isfinite(labels).all(axis=-1)
    labels = np.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(labels[..., 1:], anchors)  # (batch, num_anchors)
    positive = assigned >= 0
    # One more row, for the anchors that are assigned none.
    no_box = np.full((len(labels), 1, 5), -1, dtype=labels.dtype, ctx=labels.ctx)
    labels = np.concatenate((labels, no_box), axis=1)
    first = np.arange(len(labels), dtype=np.int64, ctx=labels.ctx)[:, None] * labels.shape[1]
    index = np.where(positive, assigned, np.full_like(assigned, labels.shape[1] - 1)) + first
    rows = np.take(labels.reshape(-1, 5), index, axis=0)  # (batch, num_anchors, 5)
    # Background anchors are compared with themselves: a finite number for the mask to remove.
    boxes = np.where(positive[..., None], rows[..., 1:], anchors)
    offsets = np.where(positive[..., None], offset_boxes(anchors, boxes), 0)
    mask = np.broadcast_to(positive.astype(anchors.dtype)[..., None], boxes.shape).reshape(len(labels), -1)
    class_labels = np.where(positive, rows[..., 0].astype(np.int64) + 1, 0)
    return offsets.reshape(len(labels), -1), mask, class_labels
