"""From predictions to detections: non-maximum suppression."""

import numpy
from mxnet import np

from ssd_common.boxes import box_iou

from .boxes import offset_inverse

_BLOCK = 64  # boxes: of 16, 32, 64 and 128 an untrained network's 5444 take 11, 8, 7 and 9 ms


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
    if class_ids is not None:
        class_ids = class_ids.asnumpy()
    best = numpy.argsort(-scores.asnumpy(), kind="stable")
    keep = _suppress(best, boxes.asnumpy(), iou_threshold, class_ids)
    return np.array(keep, dtype=np.int64, ctx=boxes.ctx)


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
    boxes = offset_inverse(anchors, offset_preds.reshape(len(cls_probs), cls_probs.shape[2], 4))
    if clip:
        boxes = boxes.clip(0, 1)
    # The rest in numpy: suppression runs there, and all else costs MXNet more to call than to compute.
    dtype, ctx = boxes.dtype, boxes.ctx
    cls_probs, boxes = cls_probs.asnumpy(), boxes.asnumpy()
    scores, class_ids = cls_probs[:, 1:].max(axis=1), cls_probs[:, 1:].argmax(axis=1)  # (batch, num_anchors)
    kept, order = numpy.zeros(scores.shape, bool), numpy.empty(scores.shape, int)
    for i, score in enumerate(scores):
        candidates = numpy.argsort(-score, kind="stable")[:top_k]
        if foreground_only:
            candidates = candidates[score[candidates] >= pos_threshold]
        keep = _suppress(candidates, boxes[i], nms_threshold, class_ids[i] if class_aware else None)
        kept[i, keep] = True
        order[i] = numpy.concatenate((keep, numpy.flatnonzero(~kept[i])))
    class_ids = numpy.where(kept & (scores >= pos_threshold), class_ids, -1)
    scores = numpy.where(scores < pos_threshold, 1 - scores, scores)
    output = numpy.concatenate((class_ids[..., None], scores[..., None], boxes), axis=-1, dtype=dtype)
    return np.array(numpy.take_along_axis(output, order[..., None], axis=1), dtype=dtype, ctx=ctx)


def _suppress(candidates, boxes, iou_threshold, class_ids):
    """Return which candidates survive non-maximum suppression, on the host, a block of them at a time.

    `nd.contrib.box_nms` starts a kernel for every candidate: 37 ms for the 5444 boxes of an untrained network, where
    this takes 8 ms. The operator would also round a threshold of float64.

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
        within, beyond = numpy.triu(suppresses[:, : len(best)], 1), suppresses[:, len(best) :]
        survives, settled = ~within.any(axis=0), False
        while not settled:  # one more box is with every round, from the first on; most often all are after a few
            before, survives = survives, ~within[survives].any(axis=0)
            settled = numpy.array_equal(before, survives)
        keep.append(best[survives])
        candidates = candidates[len(best) :][~beyond[survives].any(axis=0)]
    return numpy.concatenate(keep)
