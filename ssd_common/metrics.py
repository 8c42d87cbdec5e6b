"""Metrics that mean something: training metrics beside trivial baselines, throughput, and average precision."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsFloat, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

READ_EVERY = 8
"""Steps whose sums are added up on the device before they are read: to read is to wait until the device is done."""


class EpochMeter:
    """Adds up what the batches of one epoch measured, and the seconds that data and steps took."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self._unread: dict[str, Any] = {}
        self._steps = 0
        self.data_seconds = 0.0
        self.step_seconds = 0.0

    def time_data(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches; waiting for them counts as data time, everything until the next as step time."""
        source = iter(batches)
        while True:
            start = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                start = time.perf_counter()
                self._read()
                self.step_seconds += time.perf_counter() - start
                return
            ready = time.perf_counter()
            yield batch
            self.data_seconds += ready - start
            self.step_seconds += time.perf_counter() - ready

    def add(self, metrics: Mapping[str, SupportsFloat]) -> None:
        """Add the sums of one batch, as `batch_metrics` of a backend returns them: numbers, or arrays of one number."""
        for name, value in metrics.items():
            self._unread[name] = self._unread[name] + value if name in self._unread else value
        self._steps += 1
        if self._steps % READ_EVERY == 0:
            self._read()

    def _read(self) -> None:
        for name, value in self._unread.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self._unread = {}

    def summary(self) -> dict[str, float]:
        """Return the epoch's metrics.

        `loss`, `cls_loss` and `bbox_loss` are means over pictures. `class_error` is the share of anchors classified
        wrongly, `bbox_mae` the mean absolute error over all offsets, masked ones included as in the book. Their
        `baseline_…` is what predicting background everywhere, and zero offsets, scores on the same batches.
        `examples_per_second` divides by the sum of the step times (the book divides by the last step alone).
        """
        self._read()
        sums = self.sums
        return {
            "loss": (sums["cls_loss"] + sums["bbox_loss"]) / sums["examples"],
            "cls_loss": sums["cls_loss"] / sums["examples"],
            "bbox_loss": sums["bbox_loss"] / sums["examples"],
            "class_error": 1 - sums["correct"] / sums["anchors"],
            "bbox_mae": sums["abs_error"] / sums["offsets"],
            "baseline_class_error": sums["positives"] / sums["anchors"],
            "baseline_bbox_mae": sums["abs_offsets"] / sums["offsets"],
            "examples_per_second": sums["examples"] / self.step_seconds if self.step_seconds else float("nan"),
            "data_seconds": self.data_seconds,
        }


def average_precision(
    detections: Sequence[NDArray[np.floating]],
    truths: Sequence[NDArray[np.floating]],
    num_classes: int,
    image_size: int = 256,
) -> dict[str, float]:
    """Return COCO's average precision: `ap` (mean over IoU 0.50:0.95), `ap50`, `ap75`.

    Args:
        detections: of each picture, `(n, 6)` `[class_id, score, xmin, ymin, xmax, ymax]`, corners 0…1; the 100 best
            count.
        truths: of each picture, `(m, 5)` `[class_id, xmin, ymin, xmax, ymax]`, corners 0…1; rows of -1 are padding.
        num_classes: object classes. Those without any object do not count.
        image_size: pixels that 0…1 stands for.

    Returns:
        Values 0…1; NaN if there is no object in any picture.

    Source: faster-coco-eval, which computes what pycocotools computes.
    """
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id, (detected, true) in enumerate(zip(detections, truths, strict=True), start=1):
        for row in true:
            if row[0] >= 0:
                box = _xywh(row[1:5], image_size)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": int(row[0]) + 1,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
        results += [
            {
                "image_id": image_id,
                "category_id": int(row[0]) + 1,
                "bbox": _xywh(row[2:6], image_size),
                "score": float(row[1]),
            }
            for row in detected
        ]
    if not annotations:
        return {"ap": float("nan"), "ap50": float("nan"), "ap75": float("nan")}
    if not results:
        return {"ap": 0.0, "ap50": 0.0, "ap75": 0.0}
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(
        {
            "images": [{"id": i + 1, "width": image_size, "height": image_size} for i in range(len(truths))],
            "categories": [{"id": i + 1, "name": str(i)} for i in range(num_classes)],
            "annotations": annotations,
        }
    )
    evaluation = COCOeval_faster(truth, truth.loadRes(results), iouType="bbox", print_function=lambda *_: None)
    evaluation.run()
    ap, ap50, ap75 = (float(value) for value in evaluation.stats[:3])
    return {"ap": ap, "ap50": ap50, "ap75": ap75}


def _xywh(corners: NDArray[np.floating], scale: int) -> list[float]:
    """Return `[x, y, width, height]` in pixels."""
    x1, y1, x2, y2 = (float(value) * scale for value in corners)
    return [x1, y1, x2 - x1, y2 - y1]
