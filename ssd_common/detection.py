"""From predictions to detections: non-maximum suppression.

The numpy reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ssd_common.boxes import Array, box_iou, offset_inverse


def nms(
    boxes: Array, scores: Array, iou_threshold: float, *, class_ids: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """Return the indices of the boxes that survive non-maximum suppression, best score first.

    The best box is kept, every box that overlaps it by more than `iou_threshold` is dropped, and so on with what is
    left. Of equal scores the lower index comes first.

    Args:
        boxes: `(n, 4)` corners.
        scores: `(n,)`.
        iou_threshold: largest overlap that two kept boxes may have.
        class_ids: `(n,)`; if given, a box suppresses only boxes of its own class.

    Returns:
        `(kept,)` int64.

    Source: d2l, section "Anchor Boxes", predicting bounding boxes with non-maximum suppression.
    """
    left = np.argsort(-scores, kind="stable")
    keep = []
    while left.size:
        best, left = left[0], left[1:]
        keep.append(best)
        suppressed = box_iou(boxes[None, best], boxes[left])[0] > iou_threshold
        if class_ids is not None:
            suppressed &= class_ids[left] == class_ids[best]
        left = left[~suppressed]
    return np.array(keep, np.int64)


def multibox_detection(
    cls_probs: Array,
    offset_preds: Array,
    anchors: Array,
    nms_threshold: float = 0.5,
    pos_threshold: float = 0.009999999,
    *,
    class_aware: bool = False,
    clip: bool = False,
    top_k: int | None = None,
) -> Array:
    """Return the detections of every image, the kept ones first.

    Rows are ordered: boxes that survive `nms` by descending score, then all others by anchor index with class id -1. A
    row whose score is below `pos_threshold` is background: class id -1, and its score becomes 1 - score.

    Args:
        cls_probs: `(batch, num_classes + 1, num_anchors)` probabilities, background first.
        offset_preds: `(batch, num_anchors * 4)` predicted offsets.
        anchors: `(1, num_anchors, 4)` corners.
        nms_threshold: see `nms`.
        pos_threshold: smallest score of a detection.
        class_aware: suppress within a class only; the book ignores the class.
        clip: cut boxes off at 0 and 1; the book does not.
        top_k: let only the `top_k` best boxes of an image compete and drop the others; the book lets all.

    Returns:
        `(batch, num_anchors, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`.

    Source: d2l, section "Anchor Boxes", predicting bounding boxes with non-maximum suppression.
    """
    batch, num_anchors = cls_probs.shape[0], anchors.shape[1]
    scores = cls_probs[:, 1:].max(axis=1)  # (batch, num_anchors)
    class_ids = cls_probs[:, 1:].argmax(axis=1)
    boxes = offset_inverse(anchors[0], offset_preds.reshape(batch, num_anchors, 4))
    if clip:
        boxes = boxes.clip(0, 1)
    return np.stack(
        [
            _detect(scores[i], class_ids[i], boxes[i], nms_threshold, pos_threshold, class_aware, top_k)
            for i in range(batch)
        ]
    )


def _detect(
    scores: Array,
    class_ids: NDArray[np.integer],
    boxes: Array,
    nms_threshold: float,
    pos_threshold: float,
    class_aware: bool,
    top_k: int | None,
) -> Array:
    """Return the `(num_anchors, 6)` rows of one image."""
    candidates = np.argsort(-scores, kind="stable")[:top_k]
    keep = candidates[
        nms(
            boxes[candidates],
            scores[candidates],
            nms_threshold,
            class_ids=class_ids[candidates] if class_aware else None,
        )
    ]
    kept = np.zeros(len(scores), bool)
    kept[keep] = True
    order = np.concatenate((keep, np.flatnonzero(~kept)))
    positive = kept & (scores >= pos_threshold)
    class_ids = np.where(positive, class_ids, -1)
    scores = np.where(scores < pos_threshold, 1 - scores, scores)
    return np.concatenate((class_ids[:, None].astype(boxes.dtype), scores[:, None], boxes), axis=-1)[order]


Detections = NDArray[np.floating]
