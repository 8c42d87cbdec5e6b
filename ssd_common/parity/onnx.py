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
from ssd_common.parity.rungs import Array, Results, Rung, Subject, max_difference, worst

NEAR = 1e-3
"""Two detections of one class whose corners differ by less are the same box; two that are kept lie farther apart."""


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


def kept_otherwise(first: Witness, second: Witness) -> float:
    """Return how many detections only one side has, or has in another class; NaN if neither detects anything."""
    count = sum(len(a) + len(b) - 2 * len(_pairs(a, b)) for a, b in _images(first, second))
    return float(count) if any(map(len, (*first.detections, *second.detections))) else float("nan")


def row_difference(first: Witness, second: Witness) -> float:
    """Return the largest difference of a score or a corner, over the detections that both sides have."""
    return worst(max_difference(a[i, 1:], b[j, 1:]) for a, b in _images(first, second) for i, j in _pairs(a, b))


def _images(first: Witness, second: Witness) -> list[tuple[Array, Array]]:
    return [*zip(first.detections, second.detections, strict=True)]


def _pairs(first: Array, second: Array) -> list[tuple[int, int]]:
    """Return the detections of an image that two sides have, as pairs of rows; each row is in one pair at most."""
    pairs, left = [], [*range(len(second))]
    for i, row in enumerate(first):
        distances = [np.abs(second[j, 2:] - row[2:]).max() if second[j, 0] == row[0] else np.inf for j in left]
        if distances and min(distances) < NEAR:
            pairs.append((i, left.pop(int(np.argmin(distances)))))
    return pairs


_NOTE = (
    "ONNX Runtime computes convolutions in float32 only. So these rungs are float32 on any ladder, and the reference is "
    "the framework whose exporter wrote the file."
)
ONNX_RUNGS = tuple(
    Rung(number, f"{name}'s file: {what}", quantity, tolerance, tolerance, measure, distance=distance, note=_NOTE)
    for number, name in ((14, "torch"), (15, "mxnet"))
    for measure in [partial(measure_file, name)]
    for what, quantity, tolerance, distance in (
        ("outputs", "largest difference / largest output", 1e-5, output_difference),
        ("kept", "detections kept or classed otherwise", 0, kept_otherwise),
        ("rows", "largest difference of a score or corner", 1e-5, row_difference),
    )
)
"""Of each framework's file three rows, in float32."""
