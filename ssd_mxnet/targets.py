"""Training targets: which anchor is to predict which box."""

from mxnet import np

from .boxes import box_iou, offset_boxes
from .greedy import match


def assign_anchor_to_bbox(ground_truth, anchors, iou_threshold=0.5):
    """Return, for each anchor, the index of the ground-truth box assigned to it, or -1.

    Returns:
        `(batch, num_anchors)` int64 for `(batch, num_boxes, 4)` boxes, `(num_anchors,)` for `(num_boxes, 4)`.
    """
    if ground_truth.ndim == 2:
        return assign_anchor_to_bbox(ground_truth[None], anchors, iou_threshold)[0]
    return match(box_iou(ground_truth, anchors), iou_threshold)


def multibox_target(anchors, labels):
    """Return what the network is to predict for every anchor of every image.

    Returns:
        offsets `(batch, num_anchors * 4)`; mask `(batch, num_anchors * 4)`; class labels `(batch, num_anchors)` int64.
    """
    anchors, batch = anchors[0], len(labels)
    padding = np.full((batch, 1, 5), -1, dtype=labels.dtype, ctx=labels.ctx)
    labels = np.concatenate((labels, padding), axis=1)  # (batch, objects, 5), objects > 0
    valid = (labels[..., 0] >= 0) & np.isfinite(labels).all(axis=-1)
    labels = np.where(valid[..., None], labels, -1)
    assigned = assign_anchor_to_bbox(labels[..., 1:], anchors)  # (batch, num_anchors)
    image, anchor = (assigned >= 0).nonzero()
    rows = labels[image, assigned[image, anchor]]  # (positives, 5)
    offsets = np.zeros((batch, *anchors.shape), dtype=anchors.dtype, ctx=anchors.ctx)
    offsets[image, anchor] = offset_boxes(anchors[anchor], rows[:, 1:])
    mask = np.zeros_like(offsets)
    mask[image, anchor] = 1
    class_labels = np.zeros_like(assigned)
    class_labels[image, anchor] = rows[:, 0].astype(np.int64) + 1
    return offsets.reshape(batch, -1), mask.reshape(batch, -1), class_labels
