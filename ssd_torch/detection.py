"""From predictions to detections: non-maximum suppression."""

import torch

from .boxes import offset_inverse
from .greedy import suppress


def nms(boxes, scores, iou_threshold, *, class_ids=None):
    """Return the indices of the boxes that survive non-maximum suppression, best score first.

    Returns:
        `(kept,)` int64.
    """
    class_ids = None if class_ids is None else class_ids[None]
    kept, order = suppress(boxes[None], scores[None], iou_threshold, class_ids)
    return order[0, : int(kept.sum())]


def multibox_detection(
    cls_probs,
    offset_preds,
    anchors,
    nms_threshold=0.5,
    pos_threshold=0.009999999,
    *,
    class_aware=False,
    clip=False,
    top_k=None,
):
    """Return the detections of every image, the kept ones first.

    Returns:
        `(batch, num_anchors, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`.
    """
    scores, class_ids = cls_probs[:, 1:].amax(dim=1), cls_probs[:, 1:].argmax(dim=1)  # (batch, num_anchors)
    boxes = offset_inverse(anchors, offset_preds.reshape(*scores.shape, 4))
    if clip:
        boxes = boxes.clip(0, 1)
    kept, order = suppress(boxes, scores, nms_threshold, class_ids if class_aware else None, top_k)
    class_ids = torch.where(kept & (scores >= pos_threshold), class_ids, -1)
    scores = torch.where(scores < pos_threshold, 1 - scores, scores)
    rows = torch.cat((class_ids[..., None].to(boxes.dtype), scores[..., None], boxes), dim=-1)
    image = torch.arange(len(rows), device=rows.device)[:, None]
    return rows[image, order]
