"""How the benchmark calls our side: through the public functions of a backend, in the precision that a case asks for.

Each call ends by reading numbers, after a training step the weights among them: MXNet computes in the background.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.checks import Step
from benchmarks.inputs import PictureFolder
from ssd_common.backends import Backend
from ssd_common.config import BOOK, ModelConfig, Precision, PredictConfig
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError
from ssd_common.weights import Weights

AS_THE_BOOK = PredictConfig(class_aware=False, clip=False, top_k=None)
"""The book's suppression: every box competes, whatever its class."""


class SkippedCaseError(Exception):
    """A case cannot be measured; the message says why."""


def our_train_step(b: Backend, model: ModelConfig, weights: Weights, precision: Precision) -> Callable[[Any, Any], Any]:
    """Return a function that trains our network on a batch, and returns the chapter's numbers and the new weights.

    Raises:
        SkippedCaseError: the backend cannot train in this precision here.
    """
    check_precision(b, precision)
    net = b.weights.make_net(model, weights)
    b.precision.set_precision(net, precision)
    trainer = b.train.make_trainer(net, BOOK.train)

    def step(X: Any, Y: Any) -> Step:
        sums = b.train.train_step(net, trainer, X, Y, BOOK.train.loss)
        numbers = tuple(float(sums[name]) for name in ("correct", "anchors", "abs_error", "offsets"))
        return numbers, b.weights.get_weights(net)

    return step


def our_epoch(b: Backend, model: ModelConfig, weights: Weights, precision: Precision) -> Callable[[Path], Any]:
    """Return a function that trains our network for an epoch on a folder of pictures, and returns its two errors."""
    net = b.weights.make_net(model, weights)
    config = dataclasses.replace(BOOK.train, epochs=1, precision=precision)
    trainer = b.train.make_trainer(net, config)

    def run(folder: Path) -> tuple[float, float]:
        (row,) = b.train.train(net, trainer, PictureFolder(folder), model, config)
        b.weights.get_weights(net)
        return row["class_error"], row["bbox_mae"]

    return run


def our_predictions(b: Backend, net: Any, paths: Sequence[Path], model: ModelConfig) -> list[Any]:
    """Return the detections in picture files."""
    images = [read_image(path) for path in paths]
    return list(b.predict.predict(net, images, model, AS_THE_BOOK))


def check_precision(b: Backend, precision: Precision) -> None:
    """Raise SkippedCaseError, with the backend's reason, if the CPU does not train in this precision."""
    try:
        b.precision.check_precision(precision, b.data.get_device("cpu"))
    except InputError as error:
        raise SkippedCaseError(str(error)) from None
