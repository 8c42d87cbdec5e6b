"""Which detections of one image two backends have in common, and which only one of them has."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssd_common.boxes import box_iou
from ssd_common.errors import InputError

Marks = NDArray[np.bool_]


def differing(first: ArrayLike, second: ArrayLike, iou: float = 0.95, score: float = 0.01) -> tuple[Marks, Marks]:
    """Return which rows of each of two backends have no counterpart in the other.

    Rows are matched one to one: the rows of `first`, the highest score first, each choose among the rows of `second`
    that are left the one that they overlap most; of equal ones the one with the higher score, then the earlier one.
    The same detections in another order differ nowhere.

    Args:
        first: `(n, 6)` `[class_id, score, xmin, ymin, xmax, ymax]` of one image, in any order. A row with a negative
            class id is no detection: it has no counterpart and needs none.
        second: `(m, 6)`, of the same image by the other backend.
        iou: the smallest overlap of counterparts. A box without area, which overlaps nothing, is the counterpart of
            one with the very same corners.
        score: the largest difference of their scores.

    Returns:
        `(n,)` and `(m,)` booleans.

    Raises:
        InputError: the detections have another shape.
    """
    all1, all2 = checked_rows(first), checked_rows(second)
    order1, order2 = _best_first(all1), _best_first(all2)
    rows1, rows2 = all1[order1], all2[order2]
    overlap = box_iou(rows1[:, 2:], rows2[:, 2:])  # (detections of first, detections of second)
    overlap[(rows1[:, None, 2:] == rows2[:, 2:]).all(axis=-1)] = 1
    alike = (rows1[:, None, 0] == rows2[:, 0]) & (overlap >= iou)
    alike &= np.abs(rows1[:, None, 1] - rows2[:, 1]) <= score
    differs1, differs2 = all1[:, 0] >= 0, all2[:, 0] >= 0
    for row in range(len(rows1)):
        if alike[row].any():
            chosen = np.where(alike[row], overlap[row], -1).argmax()
            differs1[order1[row]] = differs2[order2[chosen]] = False
            alike[:, chosen] = False  # it is taken
    return differs1, differs2


def checked_rows(detections: ArrayLike) -> NDArray[np.float64]:
    """Return the rows of one image in float64, `(0, 6)` for whatever is empty.

    Raises:
        InputError: they have another shape.
    """
    rows: NDArray[np.float64] = np.asarray(detections, dtype=np.float64)
    if rows.size == 0:
        return np.empty((0, 6))
    if rows.ndim != 2 or rows.shape[1] != 6:
        raise InputError(f"detections of one image are (n, 6), not {rows.shape}: pass one image's rows")
    return rows


def _best_first(rows: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the rows that are detections, by descending score."""
    order = np.argsort(-rows[:, 1], kind="stable")
    return order[rows[order, 0] >= 0]
