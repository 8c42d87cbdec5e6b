"""How the benchmark calls our side: through the public functions of a backend, in the precision that a case asks for.

Each call ends by reading numbers, after a training step the weights among them: MXNet computes in the background.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ssd_common.backends import Backend
from ssd_common.bench_checks import Step
from ssd_common.bench_inputs import PictureFolder
from ssd_common.config import BOOK, ModelConfig, PredictConfig
from ssd_common.data.transforms import read_image
from ssd_common.weights import Weights

AS_THE_BOOK = PredictConfig(class_aware=False, clip=False, top_k=None)
"""The book's suppression: every box competes, whatever its class."""


class SkippedCaseError(Exception):
    """A case cannot be measured; the message says why."""


def our_train_step(b: Backend, model: ModelConfig, weights: Weights, precision: str) -> Callable[[Any, Any], Any]:
    """Return a function that trains our network on a batch, and returns the chapter's numbers and the new weights.

    Raises:
        SkippedCaseError: the backend trains in float32 only, and another precision is asked for.
    """
    if precision != "fp32" and not takes_precision(b):
        raise SkippedCaseError(f"its training takes no precision: {precision} cannot be measured")
    net = b.weights.make_net(model, weights, **_precision(b.weights.make_net, precision))
    trainer = b.train.make_trainer(net, BOOK.train, **_precision(b.train.make_trainer, precision))
    options = _precision(b.train.train_step, precision)

    def step(X: Any, Y: Any) -> Step:
        sums = b.train.train_step(net, trainer, X, Y, BOOK.train.loss, **options)
        values = {name: float(value) for name, value in sums.items()}  # as EpochMeter does after every step
        numbers = tuple(values[name] for name in ("correct", "anchors", "abs_error", "offsets"))
        return numbers, b.weights.get_weights(net)

    return step


def our_epoch(b: Backend, model: ModelConfig, weights: Weights, precision: str) -> Callable[[Path], Any]:
    """Return a function that trains our network for an epoch on a folder of pictures, and returns its two errors."""
    net = b.weights.make_net(model, weights, **_precision(b.weights.make_net, precision))
    trainer = b.train.make_trainer(net, BOOK.train, **_precision(b.train.make_trainer, precision))
    config, options = dataclasses.replace(BOOK.train, epochs=1), _precision(b.train.train, precision)

    def run(folder: Path) -> tuple[float, float]:
        (row,) = b.train.train(net, trainer, PictureFolder(folder), model, config, **options)
        b.weights.get_weights(net)
        return row["class_error"], row["bbox_mae"]

    return run


def our_predictions(b: Backend, net: Any, paths: Sequence[Path], model: ModelConfig) -> list[Any]:
    """Return the detections in picture files."""
    images = [read_image(path) for path in paths]
    return list(b.predict.predict(net, images, model, AS_THE_BOOK))


def takes_precision(b: Backend) -> bool:
    """Return whether one of the functions that train has a parameter `precision`."""
    functions = (b.weights.make_net, b.train.make_trainer, b.train.train_step)
    return any(_precision(function, "bf16") for function in functions)


def _precision(function: Callable[..., Any], precision: str) -> dict[str, str]:
    """Return the keyword that tells `function` the precision, if it has one."""
    return {"precision": precision} if "precision" in inspect.signature(function).parameters else {}
