"""The cases of the benchmark: our functions against the book's own, on the CPU, with the same inputs and weights.

Each call ends by reading numbers, after a training step the weights among them: MXNet computes in the background.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import checks
from benchmarks.inputs import PREDICTIONS, TRAIN_FOLDER
from benchmarks.instrument import Case
from benchmarks.sides import Sides
from ssd_common import targets
from ssd_common.backends import Backend
from ssd_common.config import BOOK, ModelConfig, Precision, PredictConfig
from ssd_common.data import load_dataset
from ssd_common.data.transforms import image_size
from ssd_common.errors import InputError
from ssd_common.runs.predict import detect_in_files
from ssd_common.weights import Weights

GOALS = {
    ("train_step_fp32", "torch"): 2.2,
    ("train_step_fp32", "mxnet"): 2.0,
    ("train_step_bf16", "torch"): 5.0,
    ("predict_files", "torch"): 8.0,
    ("predict_files", "mxnet"): 50.0,
    ("epoch", "torch"): 4.5,
    ("epoch", "mxnet"): 1.9,
}
"""How many times as fast as the book's code ours is to be: a whole step, an epoch, files. Other cases have no goal."""

AS_THE_BOOK = PredictConfig(class_aware=False, clip=False, top_k=0)
"""The book's suppression: every box competes, whatever its class."""
STEP_TOLERANCE = {"fp32": 2e-2, "bf16": 0.2}
"""Of `same_step`."""


class SkippedCaseError(Exception):
    """A case cannot be measured; the message says why."""


def check_precision(b: Backend, precision: Precision) -> None:
    """Raise SkippedCaseError, with the backend's reason, if the CPU does not train in this precision."""
    try:
        b.options.check_precision(precision, b.data.get_device("cpu"))
    except InputError as error:
        raise SkippedCaseError(str(error)) from None


def our_train_step(
    b: Backend, model: ModelConfig, weights: Weights, precision: Precision = "fp32"
) -> Callable[[Any, Any], checks.Step]:
    """Return a function that trains our network on a batch, and returns the chapter's numbers and the new weights."""
    net = b.weights.make_net(model, weights)
    b.options.set_precision(net, precision)
    trainer = b.train.make_trainer(net, BOOK.train)

    def step(X: Any, Y: Any) -> checks.Step:
        sums = b.train.train_step(net, trainer, X, Y, BOOK.train.loss)
        numbers = tuple(float(sums[name]) for name in ("correct", "anchors", "abs_error", "offsets"))
        return numbers, b.weights.get_weights(net)

    return step


def train_step(sides: Sides, precision: Precision) -> Case:
    """Return the case of one whole training step: forward, targets, loss, backward, update, metrics.

    Raises:
        SkippedCaseError: the backend cannot train in this precision here.
    """
    b, book, inputs = sides.b, sides.book, sides.inputs
    check_precision(b, precision)
    images, labels = inputs.batch
    X, Y = b.data.to_device(images), b.data.to_device(labels)
    peer_X = b.data.to_device(np.ascontiguousarray(images))  # as the book's loader stacks them
    step = our_train_step(b, inputs.model, inputs.weights, precision)
    peer_net = book.make_net(inputs.model, inputs.weights)
    peer_trainer = book.make_trainer(peer_net, BOOK.train)

    def peer() -> checks.Step:
        return book.train_step(peer_net, peer_trainer, peer_X, Y), b.weights.get_weights(peer_net)

    compare = partial(checks.same_step, start=inputs.weights, tolerance=STEP_TOLERANCE[precision])
    name = f"train_step_{precision}"
    return Case(name, b.name, lambda: step(X, Y), peer, compare, settle=True, peer_thread=book.start_thread)


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
    """Return the case of image files to detections, with weights after a short training and the book's settings.

    Our side is what `tinyssd predict` runs, before it draws and writes.
    """
    b, inputs = sides.b, sides.inputs
    weights, paths, size = inputs.trained_weights(b), inputs.files, inputs.model.image_size
    net, peer_net = b.weights.make_net(inputs.model, weights), sides.book.make_net(inputs.model, weights)
    exact = [i for i, path in enumerate(paths) if image_size(path) == (size, size)]

    def ours() -> list[Any]:
        found = detect_in_files(b, net, paths, inputs.model, AS_THE_BOOK, on_unreadable=_fail)
        return [rows for _, _, rows in found]

    return Case(
        "predict_files",
        b.name,
        ours,
        lambda: sides.book.predict_files(peer_net, paths, inputs.model),
        partial(checks.same_predictions, exact=exact),
    )


def _fail(error: InputError) -> None:
    raise error


def epoch(sides: Sides) -> Case:
    """Return the case of one epoch from a cold start: reading and decoding the files is part of it on both sides.

    The book decodes the whole set before its first epoch and keeps it in memory, so later epochs are spared that.
    """
    b, book, inputs = sides.b, sides.book, sides.inputs
    folder = inputs.banana_folder
    precision: Precision = "bf16"
    try:
        check_precision(b, precision)
    except SkippedCaseError:
        precision = "fp32"
    config = dataclasses.replace(BOOK.train, epochs=1, precision=precision)
    net = b.weights.make_net(inputs.model, inputs.weights)
    trainer = b.train.make_trainer(net, config)
    peer_net = book.make_net(inputs.model, inputs.weights)
    peer_trainer = book.make_trainer(peer_net, BOOK.train)

    def ours() -> tuple[float, float]:
        (row,) = b.train.train(net, trainer, load_dataset("bananas", data_dir=folder), inputs.model, config)
        b.weights.get_weights(net)
        return row["class_error"], row["bbox_mae"]

    def peer() -> tuple[float, float]:
        correct, anchors, error, offsets = book.epoch(peer_net, peer_trainer, folder / TRAIN_FOLDER)
        b.weights.get_weights(peer_net)
        return 1 - correct / anchors, error / offsets

    note = f"tinyssd trains in {precision}"
    return Case("epoch", b.name, ours, peer, checks.same_epoch, note=note, peer_thread=book.start_thread)


CASES: dict[str, Callable[[Sides], Case]] = {
    "train_step_fp32": partial(train_step, precision="fp32"),
    "train_step_bf16": partial(train_step, precision="bf16"),
    "targets_1": partial(multibox_targets, num_objects=1),
    "targets_20": partial(multibox_targets, num_objects=20),
    "detection_1": partial(detection, pictures=1),
    "detection_32": partial(detection, pictures=32),
    "predict_files": predict_files,
    "epoch": epoch,
}
"""What builds each case, by its name, in the order in which they run."""
NUMPY_CASES = {"targets_20": partial(numpy_targets, num_objects=20)}
