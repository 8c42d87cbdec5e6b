"""The cases of the benchmark: our functions against the book's own, on the CPU, with the same inputs and weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import checks
from benchmarks.inputs import PREDICTIONS
from benchmarks.instrument import Case
from benchmarks.ours import SkippedCaseError, check_precision, our_epoch, our_predictions, our_train_step
from benchmarks.sides import Sides
from ssd_common import targets
from ssd_common.config import BOOK, Precision
from ssd_common.data.transforms import read_image

GOALS = {
    ("train_step_fp32", "torch"): 2.2,
    ("train_step_fp32", "mxnet"): 2.0,
    ("train_step_bf16", "torch"): 5.0,
    ("targets_1", "torch"): 3.0,
    ("targets_1", "mxnet"): 10.0,
    ("targets_20", "numpy"): 3.0,
    ("targets_20", "torch"): 15.0,
    ("targets_20", "mxnet"): 100.0,
    ("detection_1", "torch"): 20.0,
    ("detection_1", "mxnet"): 300.0,
    ("detection_32", "torch"): 20.0,
    ("detection_32", "mxnet"): 300.0,
    ("predict_files", "torch"): 8.0,
    ("predict_files", "mxnet"): 50.0,
    ("epoch", "torch"): 4.5,
    ("epoch", "mxnet"): 1.9,
}
"""How many times as fast as the book's code ours is to be."""

MANY = 32
"""Pictures of the case `detection_32`."""
STEP_TOLERANCE = {"fp32": 2e-2, "bf16": 0.2}
"""Of `same_step`. In float32, 6e-3 were measured between PyTorch's two orders of memory; in bfloat16, 4e-2."""


def train_step(sides: Sides, precision: Precision) -> Case:
    """Return the case of one whole training step: forward, targets, loss, backward, update, metrics."""
    b, book, inputs = sides.b, sides.book, sides.inputs
    images, labels = inputs.batch
    X, Y = b.data.to_device(images), b.data.to_device(labels)
    peer_X = b.data.to_device(np.ascontiguousarray(images))  # as the book's loader stacks them
    step = our_train_step(b, inputs.model, inputs.weights, precision)
    peer_net = book.make_net(inputs.model, inputs.weights)
    peer_trainer = book.make_trainer(peer_net, BOOK.train)

    def peer() -> checks.Step:
        return book.train_step(peer_net, peer_trainer, peer_X, Y), b.weights.get_weights(peer_net)

    compare = partial(checks.same_step, start=inputs.weights, tolerance=STEP_TOLERANCE[precision])
    name, start_thread = f"train_step_{precision}", book.start_thread
    return Case(name, b.name, lambda: step(X, Y), peer, compare, settle=True, peer_thread=start_thread)


def multibox_targets(sides: Sides, num_objects: int) -> Case:
    """Return the case of the targets of a batch: offsets, masks and class labels of every anchor."""
    b, inputs = sides.b, sides.inputs
    arrays = b.data.to_device(inputs.anchors), b.data.to_device(inputs.labels(num_objects))

    def read(target: Callable[..., Any]) -> list[Any]:
        return [b.data.to_numpy(array) for array in target(*arrays)]

    ours, peer = partial(read, b.targets.multibox_target), partial(read, sides.book.targets)
    return Case(f"targets_{num_objects}", b.name, ours, peer, checks.same_targets, settle=True)


def numpy_targets(sides: Sides, num_objects: int) -> Case:
    """Return the case of the numpy reference against the book's targets, which are those of its PyTorch edition."""
    case = multibox_targets(sides, num_objects)
    arrays = sides.inputs.anchors, sides.inputs.labels(num_objects)
    return dataclasses.replace(case, backend="numpy", ours=lambda: targets.multibox_target(*arrays))


def detection(sides: Sides, pictures: int) -> Case:
    """Return the case of `multibox_detection`: one call on predictions like trained ones, one on untrained ones."""
    b, inputs = sides.b, sides.inputs
    anchors = b.data.to_device(inputs.anchors)
    sets = [[b.data.to_device(array) for array in inputs.predictions(kind, pictures)] for kind in PREDICTIONS]

    def read(multibox_detection: Callable[..., Any]) -> list[Any]:
        return [b.data.to_numpy(multibox_detection(*predictions, anchors)) for predictions in sets]

    ours = partial(read, b.detection.multibox_detection)
    peer = partial(read, sides.book.d2l.multibox_detection)
    return Case(f"detection_{pictures}", b.name, ours, peer, checks.same_detections, settle=pictures == 1)


def predict_files(sides: Sides) -> Case:
    """Return the case of picture files to detections, with weights after a short training and the book's settings."""
    b, inputs = sides.b, sides.inputs
    weights, paths, size = inputs.trained_weights(b), inputs.files, inputs.model.image_size
    net, peer_net = b.weights.make_net(inputs.model, weights), sides.book.make_net(inputs.model, weights)
    exact = [i for i, path in enumerate(paths) if read_image(path).shape[:2] == (size, size)]
    return Case(
        "predict_files",
        b.name,
        lambda: our_predictions(b, net, paths, inputs.model),
        lambda: sides.book.predict_files(peer_net, paths, inputs.model),
        partial(checks.same_predictions, exact=exact),
    )


def epoch(sides: Sides) -> Case:
    """Return the case of one epoch from a cold start: reading and decoding the files is part of it on both sides.

    The book decodes the whole set before its first epoch and keeps it in memory, so later epochs are spared that.
    """
    b, book, inputs = sides.b, sides.book, sides.inputs
    folder = inputs.picture_folder
    precision: Precision = "bf16"
    try:
        check_precision(b, precision)
    except SkippedCaseError:
        precision = "fp32"
    run = our_epoch(b, inputs.model, inputs.weights, precision)
    peer_net = book.make_net(inputs.model, inputs.weights)
    peer_trainer = book.make_trainer(peer_net, BOOK.train)

    def peer() -> tuple[float, float]:
        correct, anchors, error, offsets = book.epoch(peer_net, peer_trainer, folder)
        b.weights.get_weights(peer_net)
        return 1 - correct / anchors, error / offsets

    note = f"ours trains in {precision}"
    return Case("epoch", b.name, lambda: run(folder), peer, checks.same_epoch, note=note, peer_thread=book.start_thread)


CASES: dict[str, Callable[[Sides], Case]] = {
    "train_step_fp32": partial(train_step, precision="fp32"),
    "train_step_bf16": partial(train_step, precision="bf16"),
    "targets_1": partial(multibox_targets, num_objects=1),
    "targets_20": partial(multibox_targets, num_objects=20),
    "detection_1": partial(detection, pictures=1),
    "detection_32": partial(detection, pictures=MANY),
    "predict_files": predict_files,
    "epoch": epoch,
}
"""What builds each case, by its name, in the order in which they run."""
NUMPY_CASES = {"targets_20": partial(numpy_targets, num_objects=20)}
