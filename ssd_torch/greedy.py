"""The two greedy choices, matching and suppression, for a whole batch at once."""

import torch

from .boxes import box_iou

_BLOCK = 128  # boxes that are compared with all others at a time


def match(jaccard, iou_threshold):
    """Return, for each anchor, the index of the box assigned to it, or -1.

    Args:
        jaccard: `(batch, num_boxes, num_anchors)` overlaps.
        iou_threshold: smallest overlap at which an anchor takes a box that does not prefer it.

    Returns:
        `(batch, num_anchors)` int64.
    """
    batch, num_boxes, num_anchors = jaccard.shape
    assigned = torch.full((batch, num_anchors), -1, device=jaccard.device)
    if num_boxes == 0 or num_anchors == 0:
        return assigned
    image, anchor = (jaccard.amax(dim=1) >= iou_threshold).nonzero(as_tuple=True)
    assigned[image, anchor] = jaccard[image, :, anchor].argmax(dim=1)
    free = jaccard.clone()
    while True:
        overlap, anchor = free.amax(dim=2), free.argmax(dim=2)  # (batch, num_boxes): what each box prefers
        rivals = torch.take_along_dim(free, anchor[:, None], dim=2)  # (batch, num_boxes, num_boxes)
        preferred = rivals.argmax(dim=1) == torch.arange(num_boxes, device=jaccard.device)
        image, box = (preferred & (overlap > 0)).nonzero(as_tuple=True)
        if len(box) == 0:
            return assigned
        anchor = anchor[image, box]
        assigned[image, anchor] = box
        free[image, box] = free[image, :, anchor] = 0


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
    survives, order = torch.zeros_like(scores, dtype=torch.bool), torch.zeros_like(scores, dtype=torch.int64)
    for i, ranked in enumerate((-scores).argsort(dim=1, stable=True)[:, :top_k]):
        kept = _survivors(ranked, boxes[i], iou_threshold, None if class_ids is None else class_ids[i])
        survives[i, kept] = True
        order[i] = torch.cat((kept, (~survives[i]).nonzero(as_tuple=True)[0]))
    return survives, order


def _survivors(ranked, boxes, iou_threshold, class_ids):
    """Return those of the `(n,)` ranked indices, best first, that survive; a block of them at a time."""
    kept = [ranked[:0]]
    while len(ranked):
        best = ranked[:_BLOCK]
        suppresses = box_iou(boxes[best], boxes[ranked]) > iou_threshold  # (block, len(ranked))
        if class_ids is not None:
            suppresses &= class_ids[best][:, None] == class_ids[ranked]
        within, beyond = suppresses[:, : len(best)].triu(1), suppresses[:, len(best) :]
        survives, settled = ~within.any(dim=0), False
        while not settled:  # each round is right about one more box, from the first on
            before, survives = survives, ~within[survives].any(dim=0)
            settled = torch.equal(before, survives)
        kept.append(best[survives])
        ranked = ranked[len(best) :][~beyond[survives].any(dim=0)]
    return torch.cat(kept)
