"""A report to be printed, written and drawn."""

from __future__ import annotations

import base64
from dataclasses import asdict, replace
from typing import Any

from ssd_common.parity.rungs import Row

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


ANCHORS = Row(
    rung=1,
    name="anchors",
    quantity="largest absolute difference",
    dtype="float64",
    errors={"numpy": None, "torch": 2.34e-13, "mxnet": 0.0},
    difference=3.4e-13,
    reference="numpy float64",
    tolerance=1e-12,
    passed=True,
    note="",
)
NAMES = ("anchors", "IoU", "assignment", "offsets", "NMS keep set", "detection rows", "logits with the same weights")
NAMES += ("loss", "every gradient", "one SGD step", "twenty steps")
NAMES += ("a checkpoint of one framework resumed in the other", "detections on real images")
LADDER = [replace(ANCHORS, rung=number, name=name) for number, name in enumerate(NAMES, 1)]
TRAINED = [replace(ANCHORS, rung=13, name=f"trained: {name}") for name in ("kept", "scores", "boxes", "AP")]
FAILED = [replace(row, passed=False, note="three ties [bold]") if row.rung == 5 else row for row in LADDER]
AFTER_7 = [replace(row, passed=row.rung < 7, caused_by=(7,) if row.rung > 7 else ()) for row in LADDER[:9]]
"""Rung 7 fails, and 8 and 9 because of it."""


def full_report(rows: list[Row] = LADDER, **changes: Any) -> dict[str, Any]:
    epochs = [{"epoch": 1.0, "loss": 0.5, "val_ap": None}, {"epoch": 2.0, "loss": 0.25, "val_ap": 0.274}]
    failed = [row.name for row in rows if not row.passed and not row.caused_by]
    return {
        "title": "Side by side",
        "command": "tinyssd compare --check",
        "created": "2025-01-31",
        "dtype": "float64",
        "verdict": {"passed": all(row.passed for row in rows), "failed": failed},
        "ladder": [asdict(row) | {"caused_by": list(row.caused_by)} for row in rows],  # JSON has no tuples
        "training": {"torch": epochs, "mxnet": epochs},
        "baselines": {"class_error": 4.8e-3, "bbox_mae": 5.2e-3},
        "versions": {"torch": "2.12.1"},
        "machine": {"cores": 2},
        "config": {"train": {"lr": 0.25}},
        **changes,
    }
