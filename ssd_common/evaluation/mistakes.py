"""What kinds of mistakes a detector makes, and which are the worst.

Every detection that finds no object is one mistake, by what it overlaps; every object that is left over is another:

| kind | what happened |
|---|---|
| false positive | it overlaps no object of its class |
| wrong class | it lies on an object of another class |
| badly placed | it overlaps an object of its class, but not enough |
| duplicate | it lies on an object that a better detection has found |
| missed | nothing found the object, nor was it given the wrong class or a bad place |

Source: Hoiem et al., "Diagnosing Error in Object Detectors", 2012, and Bolya et al., "TIDE", 2020, which sort them in
much the same way, at the same two overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssd_common.boxes import box_iou
from ssd_common.data.ground_truth import GroundTruth
from ssd_common.detection import Detections
from ssd_common.evaluation.average_precision import FALSE, IGNORED, match_objects, of_class

KINDS = ("false positive", "wrong class", "badly placed", "duplicate", "missed")
SCORE_THRESHOLD = 0.5
"""Detections from this score on are looked at: those that `predict` shows."""
LIES_ON = 0.5
"""The overlap (IoU) that finds an object."""
TOUCHES = 0.1
"""The overlap below which a detection has nothing to do with an object."""


class Mistake(NamedTuple):
    """A detection that is wrong, or an object that was missed."""

    kind: str
    """One of `KINDS`."""
    picture: int
    """Index in the dataset."""
    detection: NDArray[np.floating] | None
    """`(6,)`; of an object that was missed the detection below the score threshold that lies on it, if there is one."""
    truth: NDArray[np.floating] | None
    """`(5,)`: the object concerned; of a false positive None."""
    iou: float
    """Overlap of the two, 0 if there is one of them only."""


def find_mistakes(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], score_threshold: float = SCORE_THRESHOLD
) -> list[Mistake]:
    """Return every mistake in a dataset, image by image.

    Args:
        detections: of each image `(n, 6)`, in any order.
        truths: of each image.
        score_threshold: the smallest score of a detection that counts.
    """
    mistakes = []
    for picture, (detected, truth) in enumerate(zip(detections, truths, strict=True)):
        ordered = detected[np.argsort(-detected[:, 1], kind="stable")]
        mistakes += _in_picture(picture, ordered.astype(np.float64), truth, score_threshold)
    return mistakes


def count_mistakes(mistakes: Sequence[Mistake]) -> dict[str, int]:
    """Return how many mistakes there are of each kind."""
    return {kind: sum(mistake.kind == kind for mistake in mistakes) for kind in KINDS}


def worst_mistakes(mistakes: Sequence[Mistake], per_kind: int = 4) -> list[Mistake]:
    """Return the worst mistakes of each kind: the most confident detections, the largest objects that were missed.

    Args:
        mistakes: in any order.
        per_kind: at most so many of each.
    """
    worst = []
    for kind in KINDS:
        of_kind = [mistake for mistake in mistakes if mistake.kind == kind]
        worst += sorted(of_kind, key=_severity, reverse=True)[:per_kind]
    return worst


def _severity(mistake: Mistake) -> float:
    """Return the score of a wrong detection, the area of a missed object."""
    if mistake.kind != "missed" and mistake.detection is not None:
        return float(mistake.detection[1])
    assert mistake.truth is not None
    return float(np.prod(mistake.truth[3:] - mistake.truth[1:3]))


def _in_picture(
    picture: int, detected: NDArray[np.float64], truth: GroundTruth, score_threshold: float
) -> list[Mistake]:
    """Return the mistakes in one image; `detected` is in order of descending score."""
    objects = truth.labels.astype(np.float64)
    confident = detected[detected[:, 1] >= score_threshold]
    overlap = box_iou(confident[:, 2:], objects[:, 1:])  # (confident, objects)
    same_class = confident[:, :1] == objects[:, 0]
    matches = _matches(confident, objects, truth.ignored)
    mistakes, explained = [], set(matches.tolist())
    for row in np.flatnonzero(matches < 0):
        if matches[row] == IGNORED:
            continue
        kind, which = _kind_of(overlap[row], same_class[row])
        iou = 0.0 if which is None else float(overlap[row, which])
        mistakes.append(Mistake(kind, picture, confident[row], None if which is None else objects[which], iou))
        explained.add(which)
    for which in sorted(set(range(len(objects))) - explained):
        unsure = of_class(detected, objects[which, 0])
        unsure = unsure[unsure[:, 1] < score_threshold]
        overlaps = box_iou(unsure[:, 2:], objects[which : which + 1, 1:])[:, 0]
        best = next(iter(np.flatnonzero(overlaps >= LIES_ON)), None)  # the one with the highest score
        row, iou = (None, 0.0) if best is None else (unsure[best], float(overlaps[best]))
        mistakes.append(Mistake("missed", picture, row, objects[which], iou))
    return mistakes


def _matches(
    confident: NDArray[np.float64], objects: NDArray[np.float64], ignored: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return which object each detection finds, as `match_objects`; IGNORED also of one that lies in a crowd."""
    matches = np.full(len(confident), FALSE)
    for class_id in np.unique(confident[:, 0]):
        rows, own = np.flatnonzero(confident[:, 0] == class_id), np.flatnonzero(objects[:, 0] == class_id)
        boxes, crowds = confident[rows, 2:], of_class(ignored, class_id)[:, 1:]
        found = match_objects(boxes, objects[own, 1:], crowds, LIES_ON)
        in_crowd = (_share_inside(boxes, crowds) >= LIES_ON).any(axis=1)
        matches[rows[(found == IGNORED) | in_crowd]] = IGNORED
        matches[rows[found >= 0]] = own[found[found >= 0]]
    return matches


def _share_inside(boxes: NDArray[np.float64], areas: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return which share of each box lies in each area, `(boxes, areas)`: its overlap with what they have in common."""
    common = np.concatenate(
        (np.maximum(boxes[:, None, :2], areas[:, :2]), np.minimum(boxes[:, None, 2:], areas[:, 2:])), axis=-1
    )
    return box_iou(boxes[:, None], common)[:, 0]


def _kind_of(overlap: NDArray[np.float64], same_class: NDArray[np.bool_]) -> tuple[str, int | None]:
    """Return the kind of a wrong detection and the object concerned, from its overlap with each object."""
    if not overlap.size:
        return "false positive", None
    own, other = np.where(same_class, overlap, 0), np.where(same_class, 0, overlap)
    if own.max() >= LIES_ON:
        return "duplicate", int(own.argmax())
    if other.max() >= LIES_ON:
        return "wrong class", int(other.argmax())
    if own.max() >= TOUCHES:
        return "badly placed", int(own.argmax())
    return "false positive", None
