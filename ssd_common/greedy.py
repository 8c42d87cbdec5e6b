"""The two greedy choices, matching and suppression, for a whole batch at once.

In numpy. A framework in which they are slow leaves them to these functions. The reference does the same one by one, in
`targets` and `detection`, and shares no function with this module: it is what these functions are tested against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Integers = NDArray[np.integer]

_BLOCK = 128  # boxes that are compared with all others at a time


def match(jaccard: Array, iou_threshold: float) -> Integers:
    """Return, for each anchor, the index of the box assigned to it, or -1.

    An anchor takes the box that it overlaps most, if by at least the threshold. Then, while boxes are left, every box
    and anchor that prefer each other above all that is still free are matched, whatever the threshold. Of equal
    overlaps the lower index is preferred; an overlap of 0 matches nothing.

    Args:
        jaccard: `(batch, num_boxes, num_anchors)` overlaps.
        iou_threshold: smallest overlap of the first rule.

    Returns:
        `(batch, num_anchors)` int64.
    """
    batch, num_boxes, num_anchors = jaccard.shape
    assigned = np.full((batch, num_anchors), -1, np.int64)
    if num_boxes == 0 or num_anchors == 0:
        return assigned
    image, anchor = (jaccard.max(axis=1) >= iou_threshold).nonzero()  # few: only they are asked for their best box
    assigned[image, anchor] = jaccard[image, :, anchor].argmax(axis=1)
    free = jaccard.copy()
    while True:
        overlap, anchor = free.max(axis=2), free.argmax(axis=2)  # (batch, num_boxes): what each box prefers
        rivals = np.take_along_axis(free, anchor[:, None], axis=2)  # (batch, num_boxes, num_boxes)
        preferred = rivals.argmax(axis=1) == np.arange(num_boxes)
        image, box = (preferred & (overlap > 0)).nonzero()
        if len(box) == 0:
            return assigned
        anchor = anchor[image, box]
        assigned[image, anchor] = box
        free[image, box] = free[image, :, anchor] = 0


def suppress(
    boxes: Array, scores: Array, iou_threshold: float, class_ids: Integers | None = None, top_k: int | None = None
) -> tuple[NDArray[np.bool_], Integers]:
    """Return which boxes survive non-maximum suppression, and the order of all: the survivors first.

    Args:
        boxes: `(batch, n, 4)` corners.
        scores: `(batch, n)`. Of equal ones the lower index is the better.
        iou_threshold: largest overlap that two survivors may have.
        class_ids: `(batch, n)`; if given, a box suppresses only boxes of its own class.
        top_k: let only the `top_k` best boxes of an image compete and drop the others.

    Returns:
        `(batch, n)` bool; `(batch, n)` int64 indices, survivors by descending score, then all others by index.
    """
    survives, order = np.zeros(scores.shape, bool), np.zeros(scores.shape, np.int64)
    for i, ranked in enumerate((-scores).argsort(axis=1, kind="stable")[:, :top_k]):
        kept = _survivors(ranked, boxes[i], iou_threshold, None if class_ids is None else class_ids[i])
        survives[i, kept] = True
        order[i] = np.concatenate((kept, (~survives[i]).nonzero()[0]))
    return survives, order


def _survivors(ranked: Integers, boxes: Array, iou_threshold: float, class_ids: Integers | None) -> Integers:
    """Return those of the `(n,)` ranked indices, best first, that survive; a block of them at a time."""
    kept, sides = [ranked[:0]], _box_sides(boxes)
    while len(ranked):
        best = ranked[:_BLOCK]
        suppresses = _box_iou(sides[:, best], sides[:, ranked]) > iou_threshold  # (block, len(ranked))
        if class_ids is not None:
            suppresses &= class_ids[best][:, None] == class_ids[ranked]
        within, beyond = np.triu(suppresses[:, : len(best)], 1), suppresses[:, len(best) :]
        survives, settled = ~within.any(axis=0), False
        while not settled:  # each round is right about one more box, from the first on
            before, survives = survives, ~within[survives].any(axis=0)
            settled = np.array_equal(before, survives)
        kept.append(best[survives])
        ranked = ranked[len(best) :][~beyond[survives].any(axis=0)]
    return np.concatenate(kept)


def _box_sides(boxes: Array) -> Array:
    """Return `(5, n)` left, top, right, bottom, area; a box without area becomes the point (0, 0) of area 1."""
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, or more than the dtype holds: no area
        width, height = (boxes[:, 2:] - boxes[:, :2]).T
        area = width * height
    valid = (width > 0) & (height > 0) & (area > 0) & (area < np.inf)
    return np.concatenate((np.where(valid, boxes.T, 0), np.where(valid, area, 1)[None]))


def _box_iou(sides1: Array, sides2: Array) -> Array:
    """Return the `(n, m)` intersections over union of boxes `(5, n)` and `(5, m)`, see `_box_sides`."""
    left1, top1, right1, bottom1, area1 = sides1[:, :, None]
    left2, top2, right2, bottom2, area2 = sides2[:, None]
    width, height = (
        np.minimum(right1, right2) - np.maximum(left1, left2),
        np.minimum(bottom1, bottom2) - np.maximum(top1, top2),
    )
    inter = width.clip(0) * height.clip(0)
    return inter / (area1 + area2 - inter)
