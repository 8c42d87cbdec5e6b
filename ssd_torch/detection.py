"""From predictions to detections: non-maximum suppression."""

import torch

from .boxes import box_iou, offset_inverse

_BLOCK = 128  # boxes: of 32, 64, 128 and 256 an untrained network's 5444 take 11, 8, 7 and 8 ms


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
    return _suppress((-scores).argsort(stable=True), boxes, iou_threshold, class_ids)


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
        candidates = (-score).argsort(stable=True)[:top_k]
        if foreground_only:
            candidates = candidates[score[candidates] >= pos_threshold]
        keep = _suppress(candidates, box, nms_threshold, class_id if class_aware else None)
        kept = torch.zeros_like(score, dtype=torch.bool)
        kept[keep] = True
        order = torch.cat((keep, (~kept).nonzero()[:, 0]))
        class_id = torch.where(kept & (score >= pos_threshold), class_id, -1)
        score = torch.where(score < pos_threshold, 1 - score, score)
        output.append(torch.cat((class_id[:, None].to(box.dtype), score[:, None], box), dim=-1)[order])
    return torch.stack(output)


def _suppress(candidates, boxes, iou_threshold, class_ids):
    """Return which candidates survive non-maximum suppression, a block of them at a time.

    `torchvision.ops.nms` takes 19 ms on two cores for the 5444 boxes of an untrained network, where this takes 7 ms; it
    also compares a threshold of float64 with float32 boxes, and knows no classes without moving the boxes.

    Args:
        candidates: `(n,)` indices of boxes, best score first.
        boxes: `(num_anchors, 4)` corners.
        iou_threshold: see `nms`.
        class_ids: `(num_anchors,)` or None.
    """
    keep = [candidates[:0]]
    while len(candidates):
        best = candidates[:_BLOCK]
        suppresses = box_iou(boxes[best], boxes[candidates]) > iou_threshold  # (block, len(candidates))
        if class_ids is not None:
            suppresses &= class_ids[best][:, None] == class_ids[candidates]
        within, beyond = suppresses[:, : len(best)].triu(1), suppresses[:, len(best) :]
        survives, settled = ~within.any(dim=0), False
        while not settled:  # one more box is with every round, from the first on; most often all are after a few
            before, survives = survives, ~within[survives].any(dim=0)
            settled = torch.equal(before, survives)
        keep.append(best[survives])
        candidates = candidates[len(best) :][~beyond[survives].any(dim=0)]
    return torch.cat(keep)
