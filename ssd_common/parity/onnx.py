"""Rungs 14 and 15 of the ladder: the ONNX file of each framework in ONNX Runtime, against the framework itself.

ONNX Runtime has no float64 convolution: both rungs are float32, on any ladder. What they hold against each other is one
network, so they stand on no other rung.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.config import RunConfig
from ssd_common.onnx_files import decode_onnx, encode_onnx, make_graph
from ssd_common.parity.rungs import Array, Distance, Results, Rung, Subject, max_difference, worst

NEAR = 1e-3
"""Two detections of one class whose corners differ by less are the same box; two that are kept lie farther apart."""

SHOWN = 0.5
"""The lowest score that `tinyssd predict` draws."""


@dataclass(frozen=True)
class Witness:
    """What one side returns for all images."""

    outputs: list[list[Array]]
    """Anchors, logits and offsets of each batch."""
    detections: list[Array]
    """Rows `[class_id, score, xmin, ymin, xmax, ymax]` of each image."""


def measure_file(name: str, subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Export the trained weights with one framework, and run its files and the framework on the same images."""
    b, config, weights = backends[name], subject.config, subject.trained or subject.weights
    weights = {key: value.astype("float32") for key, value in weights.items()}
    net = b.weights.make_net(config.model, weights)
    graph = make_graph(b, checkpoint := Checkpoint(weights, RunConfig(config)))
    raw, whole = (
        decode_onnx(encode_onnx(graph, b, checkpoint, with_detection=detects), f"{name}'s export")
        for detects in (False, True)
    )
    native, onnx = Witness([], []), Witness([], [])
    for images, _ in subject.pictures:
        X = np.ascontiguousarray(images, np.float32)
        onnx.outputs.append(raw.forward(X))
        onnx.detections.extend(whole.detect(X))
        arrays = b.predict.forward(net, b.data.to_device(X))
        native.outputs.append([b.data.to_numpy(array) for array in arrays])
        native.detections.extend(b.predict.detect(*arrays, config.predict))
    return Results({"onnx": onnx}, native, f"{name} float32")


def output_difference(first: Witness, second: Witness) -> float:
    """Return the largest difference of anchors, logits or offsets, over the largest of the second's."""
    return worst(
        max_difference([batch[i] for batch in first.outputs], reference)
        / max(1.0, max(float(np.abs(array).max()) for array in reference))
        for i in range(3)
        for reference in [[batch[i] for batch in second.outputs]]
    )


def shown_otherwise(first: Witness, second: Witness) -> float:
    """Return how many of the detections that `tinyssd predict` draws only one side has, or has in another class."""
    return _count_otherwise(_shown(first), _shown(second))


def share_kept_otherwise(first: Witness, second: Witness) -> float:
    """Return how many detections only one side has, over the number of the second's; NaN if there are none at all."""
    of_all = sum(map(len, second.detections))
    return _count_otherwise(first, second) / of_all if of_all else float("nan")


def row_difference(first: Witness, second: Witness) -> float:
    """Return the largest difference of a score or a corner, over the detections that both sides have."""
    return worst(max_difference(a[i, 1:], b[j, 1:]) for a, b in _images(first, second) for i, j in _pairs(a, b))


def _count_otherwise(first: Witness, second: Witness) -> float:
    return float(sum(len(a) + len(b) - 2 * len(_pairs(a, b)) for a, b in _images(first, second)))


def _images(first: Witness, second: Witness) -> list[tuple[Array, Array]]:
    return [*zip(first.detections, second.detections, strict=True)]


def _pairs(first: Array, second: Array) -> list[tuple[int, int]]:
    """Return the detections of an image that two sides have, as pairs of rows; each row is in one pair at most."""
    distances = np.abs(first[:, None, 2:] - second[None, :, 2:]).max(axis=2, initial=0)  # (len(first), len(second))
    distances[first[:, None, 0] != second[None, :, 0]] = np.inf
    pairs = []
    for i in range(len(first) if len(second) else 0):
        j = int(distances[i].argmin())
        if distances[i, j] < NEAR:
            pairs.append((i, j))
            distances[:, j] = np.inf
    return pairs


def _shown(side: Witness) -> Witness:
    """Return a side with the detections of a score from `SHOWN` on."""
    return Witness(side.outputs, [rows[rows[:, 1] >= SHOWN] for rows in side.detections])


_NOTE = (
    "ONNX Runtime computes convolutions in float32 only. So these rungs are float32 on any ladder, and the reference "
    "is the framework whose exporter wrote the file. Where two scores are equal, or an overlap or a score is the "
    "threshold, to the last digit, rounding decides which box is kept."
)
_ROWS: tuple[tuple[str, str, float, Distance], ...] = (
    ("outputs", "largest difference / largest output", 1e-5, output_difference),
    ("shown", f"detections from score {SHOWN:g} on, kept or classed otherwise", 0, shown_otherwise),
    ("kept", "detections kept or classed otherwise, of all", 1e-2, share_kept_otherwise),
    ("rows", "largest difference of a score or corner", 1e-5, row_difference),
)
ONNX_RUNGS = tuple(
    Rung(number, f"{name}'s file: {what}", quantity, tolerance, tolerance, measure, distance=distance, note=_NOTE)
    for number, name in ((14, "torch"), (15, "mxnet"))
    for measure in [partial(measure_file, name)]
    for what, quantity, tolerance, distance in _ROWS
)
"""Of each framework's file four rows, in float32."""
