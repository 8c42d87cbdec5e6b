"""From predictions to detections: non-maximum suppression."""

import numpy
from mxnet import nd, np

from ssd_common import detection

from .boxes import offset_inverse

_LOWEST_SCORE = float(numpy.finfo(numpy.float32).min)


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
    if not len(scores):
        return np.zeros((0,), dtype=np.int64, ctx=boxes.ctx)
    if class_ids is not None:
        class_ids = class_ids[None]
    (keep,) = _batched_nms(boxes[None], scores[None], iou_threshold, class_ids, None, _LOWEST_SCORE)
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
    scores, class_ids = cls_probs[:, 1:].max(axis=1), cls_probs[:, 1:].argmax(axis=1)  # (batch, num_anchors)
    boxes = offset_inverse(anchors, offset_preds.reshape(*scores.shape, 4))
    if clip:
        boxes = boxes.clip(0, 1)
    lowest = _just_below(pos_threshold) if foreground_only else _LOWEST_SCORE
    keeps = _batched_nms(boxes, scores, nms_threshold, class_ids if class_aware else None, top_k, lowest)
    output = []
    for score, class_id, box, keep in zip(scores, class_ids, boxes, keeps, strict=True):
        kept = numpy.zeros(len(score), bool)
        kept[keep] = True
        order = np.array(numpy.concatenate((keep, numpy.flatnonzero(~kept))), dtype=np.int64, ctx=box.ctx)
        kept = np.array(kept, dtype=bool, ctx=box.ctx)
        class_id = np.where(kept & (score >= pos_threshold), class_id, np.full_like(class_id, -1))
        score = np.where(score < pos_threshold, 1 - score, score)
        output.append(np.concatenate((class_id[:, None].astype(box.dtype), score[:, None], box), axis=-1)[order])
    return np.stack(output)


def _just_below(threshold):
    """Return a number just below a score: the operator takes what is above it, and stores it as float32."""
    return float(numpy.nextafter(numpy.float32(threshold), numpy.float32(-1))) if threshold > 0 else _LOWEST_SCORE


def _batched_nms(boxes, scores, iou_threshold, class_ids, top_k, lowest):
    """Return, for each picture, the numpy indices of the kept boxes, best first; MXNet's operator suppresses.

    Only boxes with a score above `lowest` compete.

    Not in float64 with a threshold that float32 does not hold, such as 0.45: the operator would round it.
    """
    # The operator's time grows with `topk`, even where there are fewer valid boxes.
    candidates = int((scores > lowest).sum(axis=1).max()) if lowest > _LOWEST_SCORE else scores.shape[1]
    top_k = candidates if top_k is None else min(top_k, candidates)
    if top_k == 0:
        return [numpy.zeros(0, numpy.int64) for _ in boxes]
    if boxes.dtype == numpy.float64 and iou_threshold != numpy.float32(iou_threshold):
        return _reference_nms(boxes, scores, iou_threshold, class_ids, top_k, lowest)
    index = np.arange(scores.shape[1], dtype=boxes.dtype, ctx=boxes.ctx)  # exact in float32 up to 2**24 anchors
    index = np.broadcast_to(index, scores.shape)
    group = np.zeros_like(scores) if class_ids is None else class_ids.astype(boxes.dtype)
    rows = np.concatenate((np.stack((group, scores, index), axis=-1), boxes), axis=-1)
    result = nd.contrib.box_nms(
        rows.as_nd_ndarray(),
        overlap_thresh=iou_threshold,
        valid_thresh=lowest,
        topk=top_k,
        id_index=0,
        score_index=1,
        coord_start=3,
    ).asnumpy()  # suppressed rows are -1 throughout
    return [picture[picture[:, 2] >= 0, 2].astype(numpy.int64) for picture in result]


def _reference_nms(boxes, scores, iou_threshold, class_ids, top_k, lowest):
    """Return what `_batched_nms` returns, computed by the numpy reference."""
    class_ids = np.zeros_like(scores) if class_ids is None else class_ids
    keeps = []
    for box, score, ids in zip(boxes.asnumpy(), scores.asnumpy(), class_ids.asnumpy(), strict=True):
        best = numpy.argsort(-score, kind="stable")[:top_k]
        best = best[~(score[best] <= lowest)]
        keeps.append(best[detection.nms(box[best], score[best], iou_threshold, class_ids=ids[best])])
    return keeps
