"""From predictions to detections: non-maximum suppression."""

import torch
import torchvision

from .boxes import offset_inverse


def nms(boxes, scores, iou_threshold, *, class_ids=None):
    """Return the indices of the boxes that survive non-maximum suppression, best score first.

    Args:
        boxes: `(n, 4)` corners.
        scores: `(n,)`.
        iou_threshold: largest overlap that two kept boxes may have.
        class_ids: `(n,)`; if given, a box suppresses only boxes of its own class.

    Returns:
        `(kept,)` int64.

    Source: d2l, section "Anchor Boxes", predicting bounding boxes with non-maximum suppression.
    """
    iou_threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()  # torchvision would compare in float64
    scores = _rank(scores)
    if class_ids is None:
        return torchvision.ops.nms(boxes, scores, iou_threshold)
    # One class after the other: `torchvision.ops.batched_nms` may shift the boxes apart instead, which rounds them.
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for class_id in class_ids.unique():
        members = (class_ids == class_id).nonzero()[:, 0]
        kept[members[torchvision.ops.nms(boxes[members], scores[members], iou_threshold)]] = True
    keep = kept.nonzero()[:, 0]
    return keep[scores[keep].argsort(descending=True, stable=True)]


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
    foreground_only=False,
):
    """Return the detections of every picture, the kept ones first.

    Args:
        cls_probs: `(batch, num_classes + 1, num_anchors)` probabilities, background first.
        offset_preds: `(batch, num_anchors * 4)` predicted offsets.
        anchors: `(1, num_anchors, 4)` corners.
        nms_threshold: see `nms`.
        pos_threshold: smallest score of a detection.
        class_aware: suppress within a class only; the book ignores the class.
        clip: cut boxes off at 0 and 1; the book does not.
        top_k: let only the `top_k` best boxes of a picture compete and drop the others; the book lets all.
        foreground_only: let only boxes compete whose score is at least `pos_threshold`. The detections are the same,
            found sooner; the rows of background come in the order of the anchors.

    Returns:
        `(batch, num_anchors, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`.

    Source: d2l, section "Anchor Boxes", predicting bounding boxes with non-maximum suppression.
    """
    scores, class_ids = cls_probs[:, 1:].max(dim=1)  # (batch, num_anchors)
    boxes = offset_inverse(anchors, offset_preds.reshape(*scores.shape, 4))
    if clip:
        boxes = boxes.clamp(0, 1)
    output = []
    for score, class_id, box in zip(scores, class_ids, boxes, strict=True):
        candidates = _rank(score).argsort(descending=True, stable=True)[:top_k]
        if foreground_only:
            candidates = candidates[score[candidates] >= pos_threshold]
        keep = candidates[
            nms(
                box[candidates],
                score[candidates],
                nms_threshold,
                class_ids=class_id[candidates] if class_aware else None,
            )
        ]
        kept = torch.zeros_like(score, dtype=torch.bool)
        kept[keep] = True
        order = torch.cat((keep, (~kept).nonzero()[:, 0]))
        class_id = torch.where(kept & (score >= pos_threshold), class_id, -1)
        score = torch.where(score < pos_threshold, 1 - score, score)
        output.append(torch.cat((class_id[:, None].to(box.dtype), score[:, None], box), dim=-1)[order])
    return torch.stack(output)


def _rank(scores):
    """Return what to sort by: the scores, a score that is not a number last."""
    return torch.where(scores.isnan(), -torch.inf, scores)
