"""Training targets: which anchor is to predict which box."""

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
    if num_boxes == 0:
        return np.full((batch, len(anchors)), -1, dtype=np.int64, ctx=anchors.ctx)
    with autograd.pause():  # targets are constants, and recorded arrays cannot be written in place
        jaccard = box_iou(anchors, ground_truth)  # (batch, num_anchors, num_boxes)
        best_iou, best_box = jaccard.max(axis=-1), jaccard.argmax(axis=-1)
        assigned = np.where(best_iou >= iou_threshold, best_box, np.full_like(best_box, -1))
        picture = np.arange(batch, dtype=np.int64, ctx=anchors.ctx)
        for _ in range(num_boxes):
            anchor = jaccard.max(axis=-1).argmax(axis=-1)  # of each picture: the anchor of the largest overlap left
            overlaps = jaccard[picture, anchor]  # (batch, num_boxes)
            overlap, box = overlaps.max(axis=-1), overlaps.argmax(axis=-1)
            assigned[picture, anchor] = np.where(overlap > 0, box, assigned[picture, anchor])
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
    no_box = np.full((len(labels), 1, 5), -1, dtype=labels.dtype, ctx=labels.ctx)
    labels = np.concatenate((labels, no_box), axis=1)
    valid = (labels[..., 0] >= 0) & np.isfinite(labels).all(axis=-1)
    labels = np.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(labels[..., 1:], anchors)  # (batch, num_anchors)
    positive = assigned >= 0
    picture = np.arange(len(labels), dtype=np.int64, ctx=labels.ctx)
    rows = labels[picture[:, None], assigned]  # (batch, num_anchors, 5)
    # Background anchors are compared with themselves: a finite number for the mask to remove.
    boxes = np.where(positive[..., None], rows[..., 1:], anchors)
    offsets = np.where(positive[..., None], offset_boxes(anchors, boxes), 0)
    mask = positive.astype(anchors.dtype).repeat(4, axis=-1)
    class_labels = np.where(positive, rows[..., 0].astype(np.int64) + 1, 0)
    return offsets.reshape(len(labels), -1), mask, class_labels
