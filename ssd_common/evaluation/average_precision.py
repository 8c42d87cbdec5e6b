"""Average precision: Pascal VOC's two definitions in plain numpy, COCO's through faster-coco-eval.

A detection finds an object of its class if their overlap (IoU) reaches a threshold. Down the detections of a class, the
highest score first, precision is the share that found an object, recall the share of the objects that were found;
average precision is the area below that curve.

| | VOC07 | VOC12 | COCO |
|---|---|---|---|
| IoU threshold | 0.5 | 0.5 | the mean over 0.50, 0.55, …, 0.95 |
| the area | mean of 11 recalls, 0, 0.1, …, 1 | exact | mean of 101 recalls, 0, 0.01, …, 1 |
| a detection takes | the object that it overlaps most | the same | of the objects left, the one that it overlaps most |
| detections of a class that count in an image | all | all | the 100 best |

An ignored object is neither found nor missed, and a detection that takes it is neither right nor wrong: in VOC one that
overlaps no other object more, in COCO one that finds nothing else and lies in it with that share of its own area.

The area of an object, for COCO's small, medium and large, is counted in pixels of the original image, as COCO does: a
face that covers 40 × 40 pixels of a photograph stays medium whatever size a network resizes the photograph to, and two
networks are measured on the same objects. It is the area of the box; COCO's own annotations give that of the outline,
which is less. VOC's programs count a pixel at both ends of a box, `xmax - xmin + 1`: that is the same overlap if the
corners are the outer edges of those pixels, `xmin - 1` in its files.

Sources: Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", 2010, section 4.2, and the development
kits of 2007 and 2012; Lin et al., "Microsoft COCO", 2014, and pycocotools.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssd_common.boxes import box_iou
from ssd_common.data.ground_truth import GroundTruth
from ssd_common.detection import Detections

FALSE, IGNORED = -1, -2
"""What `match_objects` says of a detection that found no object, and of one that does not count."""
COCO_DETECTIONS = 100
"""Of each class in an image."""
FAR = 1e6
"""Where a corner at infinity is taken to be, in widths or heights of the image."""


class PrecisionRecall(NamedTuple):
    """The detections of one class in all images, the highest score first, and what they found."""

    scores: NDArray[np.floating]
    """`(n,)`."""
    found: NDArray[np.int64]
    """`(n,)`: how many objects the detections down to this one have found."""
    num_objects: int
    """To be found."""

    @property
    def precision(self) -> NDArray[np.float64]:
        """`(n,)`: share of the detections down to this one that found an object."""
        return self.found / np.arange(1, len(self.found) + 1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """`(n,)`: share of the objects that the detections down to this one have found."""
        return self.found / self.num_objects


def match_objects(
    boxes: NDArray[np.floating],
    objects: NDArray[np.floating],
    ignored: NDArray[np.floating],
    iou_threshold: float = 0.5,
) -> NDArray[np.int64]:
    """Return which object each detection of one class in one image finds, as Pascal VOC counts.

    Each detection looks at the object that it overlaps most. The first detection of an object finds it, any further
    one is false.

    Args:
        boxes: `(n, 4)` corners of the detections, the highest score first.
        objects: `(m, 4)` corners.
        ignored: `(k, 4)` corners of the objects that may be found or not.
        iou_threshold: the smallest overlap that counts.

    Returns:
        `(n,)` indices into `objects`, or `FALSE`, or `IGNORED`.
    """
    matches = np.full(len(boxes), FALSE)
    everything = np.concatenate((objects, ignored)).astype(np.float64)
    if not len(everything):
        return matches
    overlap = box_iou(boxes.astype(np.float64), everything)  # (n, m + k)
    nearest = overlap.argmax(axis=1)
    for i in np.flatnonzero(overlap.max(axis=1) >= iou_threshold):
        if nearest[i] >= len(objects):
            matches[i] = IGNORED
        elif nearest[i] not in matches[:i]:
            matches[i] = nearest[i]
    return matches


def precision_recall(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], class_id: int, iou_threshold: float = 0.5
) -> PrecisionRecall:
    """Return how precision and recall of one class develop down its detections.

    Of equal scores the earlier image comes first, then the earlier row.

    Args:
        detections: of each image, in any order.
        truths: of each image.
        class_id: the class.
        iou_threshold: the smallest overlap of a detection and the object that it finds.
    """
    scores, matches, num_objects = [np.zeros(0)], [np.zeros(0, np.int64)], 0
    for detected, truth in zip(detections, truths, strict=True):
        rows = of_class(detected, class_id)
        rows = rows[np.argsort(-rows[:, 1], kind="stable")]
        objects = of_class(truth.labels, class_id)
        scores.append(rows[:, 1])
        matches.append(
            match_objects(rows[:, 2:], objects[:, 1:], of_class(truth.ignored, class_id)[:, 1:], iou_threshold)
        )
        num_objects += len(objects)
    score, match = np.concatenate(scores), np.concatenate(matches)
    order = np.argsort(-score, kind="stable")
    order = order[match[order] != IGNORED]
    return PrecisionRecall(score[order], np.cumsum(match[order] != FALSE), num_objects)


def of_class(rows: NDArray[np.floating], class_id: int) -> NDArray[np.floating]:
    """Return the rows, of labels or of detections, of one class."""
    return rows[rows[:, 0] == class_id]


def voc07_average_precision(curve: PrecisionRecall) -> float:
    """Return the mean, over recalls 0, 0.1, …, 1, of the best precision at that recall or above; NaN without objects.

    Source: the VOC paper, section 4.2; the rule of the challenges up to 2009.
    """
    if not curve.num_objects:
        return float("nan")
    # Whole numbers: 3 of 10 objects are a recall of 0.3, but 3 / 10 < 3 * 0.1 in floating point.
    reached = (10 * curve.found >= level * curve.num_objects for level in range(11))
    return float(np.mean([curve.precision[rows].max(initial=0) for rows in reached]))


def voc12_average_precision(curve: PrecisionRecall) -> float:
    """Return the exact area below the best precision at each recall or above; NaN without objects.

    Source: the development kit of VOC 2012, `VOCap`; the rule of the challenges from 2010 on.
    """
    if not curve.num_objects:
        return float("nan")
    return float((best_precision(curve) * np.diff(curve.recall, prepend=0)).sum())


def best_precision(curve: PrecisionRecall) -> NDArray[np.float64]:
    """Return `(n,)` the highest precision at the recall of each detection or above: the curve without its dips."""
    return np.maximum.accumulate(curve.precision[::-1])[::-1]


def voc_average_precision(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], num_classes: int
) -> dict[str, NDArray[np.float64]]:
    """Return Pascal VOC's average precision of each class: `voc07` and `voc12`.

    Args:
        detections: of each image; all count.
        truths: of each image.
        num_classes: object classes.

    Returns:
        `(num_classes,)` arrays, 0…1; NaN for a class without objects.
    """
    curves = [precision_recall(detections, truths, class_id) for class_id in range(num_classes)]
    return {
        "voc07": np.array([voc07_average_precision(curve) for curve in curves]),
        "voc12": np.array([voc12_average_precision(curve) for curve in curves]),
    }


def coco_average_precision(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], num_classes: int
) -> dict[str, NDArray[np.float64]]:
    """Return COCO's average precision of each class: `ap` and, of one threshold or size, `ap50`, …, `ap_large`.

    Args:
        detections: of each image; the 100 best of each class count.
        truths: of each image. The area of an object is that of its box, in pixels of the original image: up to
            32² it is small, up to 96² medium, and one that lies on a border is on both sides of it.
        num_classes: object classes.

    Returns:
        `(num_classes,)` arrays, 0…1; NaN for a class without objects, or without objects of the size.

    Source: faster-coco-eval, which computes what pycocotools computes, and where that fails (no detection) 0.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id, (detected, truth) in enumerate(zip(detections, truths, strict=True)):
        for iscrowd, labels in enumerate((truth.labels, truth.ignored)):
            for box in _coco_boxes(labels, truth.size):
                annotations.append(box | {"id": len(annotations) + 1, "image_id": image_id, "iscrowd": iscrowd})
        counted = _best_of_each_class(detected)
        for box, score in zip(_coco_boxes(counted, truth.size), counted[:, 1].tolist(), strict=True):
            results.append(box | {"id": len(results) + 1, "image_id": image_id, "score": score})
    common = {
        "images": [{"id": image_id} for image_id in range(len(truths))],
        "categories": [{"id": class_id} for class_id in range(num_classes)],
    }
    evaluation = COCOeval_faster(
        COCO(common | {"annotations": annotations}),
        COCO(common | {"annotations": results}),
        iouType="bbox",
        print_function=lambda *_: None,
    )
    evaluation.params.maxDets = [COCO_DETECTIONS]
    # "All" and "large" end at 1e10 pixels: a box beyond that, of a network that does not clip, would be no mistake.
    evaluation.params.areaRng = [[low, math.inf if high == 1e10 else high] for low, high in evaluation.params.areaRng]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]  # (10 thresholds, 101 recalls, num_classes, 4 sizes)
    precision = np.where(precision < 0, np.nan, precision).mean(axis=1)
    ap, small, medium, large = np.moveaxis(precision.mean(axis=0), -1, 0)
    of_size = {"ap_small": small, "ap_medium": medium, "ap_large": large}
    return {"ap": ap, "ap50": precision[0, :, 0], "ap75": precision[5, :, 0]} | of_size


def mean_average_precision(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], num_classes: int
) -> dict[str, float]:
    """Return COCO's average precisions, each a mean over the classes; the arguments of `coco_average_precision`."""
    return mean_over_classes(coco_average_precision(detections, truths, num_classes))


def mean_over_classes(per_class: Mapping[str, NDArray[np.floating]]) -> dict[str, float]:
    """Return the mean of each average precision over the classes that have it; NaN if none has."""
    means = {}
    for name, values in per_class.items():
        present = values[~np.isnan(values)]
        means[name] = float(present.mean()) if present.size else float("nan")
    return means


def _best_of_each_class(detected: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the detections of one image that COCO counts; the others would only take memory."""
    ordered = detected[np.argsort(-detected[:, 1], kind="stable")]
    classes = np.unique(ordered[:, 0])
    return np.concatenate([ordered[:0], *(of_class(ordered, c)[:COCO_DETECTIONS] for c in classes)])


def _coco_boxes(rows: NDArray[np.floating], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return labels or detections, whose last four columns are corners, as COCO writes boxes, in pixels."""
    corners, scale = np.nan_to_num(rows[:, -4:].astype(np.float64), posinf=FAR, neginf=-FAR), size[::-1]
    position, sides = corners[:, :2] * scale, (corners[:, 2:] - corners[:, :2]) * scale
    # Corners are float32 fractions: 32 pixels come back as 31.9999995, on one side of a border that COCO means to hit.
    areas = np.round(sides, 3).prod(axis=1).tolist()
    boxes = np.hstack((position, sides)).tolist()
    class_ids = rows[:, 0].astype(int).tolist()
    return [
        {"category_id": class_id, "bbox": box, "area": area}
        for class_id, box, area in zip(class_ids, boxes, areas, strict=True)
    ]
