"""The two greedy choices, matching and suppression, for a whole batch at once.

MXNet starts a kernel for every choice and reduces over boxes and anchors slowly: both run on the host, in numpy.
"""

from mxnet import np

from ssd_common import greedy


def match(jaccard, iou_threshold):
    """Return, for each anchor, the index of the box assigned to it, or -1.

    Args:
        jaccard: `(batch, num_boxes, num_anchors)` overlaps.
        iou_threshold: smallest overlap at which an anchor takes a box that does not prefer it.

    Returns:
        `(batch, num_anchors)` int64.
    """
    assigned = greedy.match(jaccard.asnumpy(), iou_threshold)  # on the host
    return np.array(assigned, dtype=assigned.dtype, ctx=jaccard.ctx)


def suppress(boxes, scores, iou_threshold, class_ids=None, top_k=None):
    """Return which boxes survive non-maximum suppression, and the order of all: the survivors first.

    Args:
        boxes: `(batch, n, 4)` corners.
        scores: `(batch, n)`.
        iou_threshold: largest overlap that two survivors may have.
        class_ids: `(batch, n)`; if given, a box suppresses only boxes of its own class.
        top_k: let only the `top_k` best boxes of an image compete and drop the others.

    Returns:
        `(batch, n)` bool; `(batch, n)` int64 indices, survivors by descending score, then all others by index.
    """
    class_ids = None if class_ids is None else class_ids.asnumpy()
    survives, order = greedy.suppress(boxes.asnumpy(), scores.asnumpy(), iou_threshold, class_ids, top_k)  # on the host
    return tuple(np.array(array, dtype=array.dtype, ctx=boxes.ctx) for array in (survives, order))
