"""Numbers about detections: average precision, mistakes, agreement of two sides."""

from ssd_common.evaluation.agreement import differing
from ssd_common.evaluation.average_precision import (
    coco_average_precision,
    mean_average_precision,
    mean_over_classes,
    precision_recall,
    voc_average_precision,
)  # fmt: skip
from ssd_common.evaluation.mistakes import KINDS, SCORE_THRESHOLD, Mistake, count_mistakes, find_mistakes

__all__ = [
    "KINDS", "SCORE_THRESHOLD", "Mistake", "coco_average_precision", "count_mistakes", "differing", "find_mistakes",
    "mean_average_precision", "mean_over_classes", "precision_recall", "voc_average_precision",
]  # fmt: skip
