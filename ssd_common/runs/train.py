"""A training from its first line to its run folder, for either backend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.data import Dataset
from ssd_common.data.annotated import describe_skipped
from ssd_common.detection import Detections
from ssd_common.errors import InputError
from ssd_common.evaluation.average_precision import mean_average_precision
from ssd_common.output.console import progress_bar
from ssd_common.runs.folder import Row, RunFolder, format_row
from ssd_common.schedule import learning_rate

EVALUATED = ("class_error", "bbox_mae", "baseline_class_error", "baseline_bbox_mae", "ap50", "ap")


@dataclass
class Trained:
    """What a training left in memory."""

    checkpoint: Checkpoint
    rows: list[Row]
    detections: list[Detections]
    """Of each validation image, at the last epoch."""


def train_run(
    backend: Backend,
    run: RunFolder,
    data: Dataset,
    val: Dataset,
    start: Checkpoint,
    device: Any,
    compile: bool | None = None,
) -> Trained:
    """Train a network from a checkpoint on, filling the run folder epoch by epoch.

    Args:
        backend: which framework.
        run: the folder; its rows are those of the epochs before.
        data: training images.
        val: validation images.
        start: weights, velocity and epoch to start from, and the configuration.
        device: as returned by the backend's `get_device`.
        compile: see the backend's `make_net`.

    Raises:
        InputError: the loss or a weight is no longer a finite number, or no image has a good box.
    """
    model, config = start.config.model, start.config.train
    net = backend.weights.make_net(model, start.weights, device, compile=compile)
    trainer = backend.train.make_trainer(net, config)
    steps_per_epoch = math.ceil(len(data) / config.batch_size)
    if start.step:  # MXNet keeps velocities times the rate: they round as in a run that was not stopped
        last = learning_rate(config, start.step - 1, config.epochs * steps_per_epoch)
        backend.train.set_learning_rate(trainer, last)
    backend.weights.set_velocity(net, trainer, start.velocity)
    trained = Trained(start, run.rows, [])
    if not run.rows:  # a run that is stopped in its first epoch can go on, too
        run.write_rows()
        run.save(start, best=True)
    bar = progress_bar(run.console, f"{backend.name} epoch")
    for row in backend.train.train(net, trainer, data, model, config, start.epoch, device, bar):
        if not math.isfinite(row["loss"]):
            raise InputError(f"{backend.name}: the loss is {row['loss']} in epoch {row['epoch']}; lower --lr")
        if row.get("baseline_class_error") == 0:  # every anchor of every image is background
            raise InputError(f"{data.name}: no good box to learn from; tinyssd data check says what is wrong")
        weights = backend.weights.get_weights(net)
        if not all(np.isfinite(value).all() for value in weights.values()):
            raise InputError(f"{backend.name}: weights are no longer finite in epoch {row['epoch']}; lower --lr")
        metrics, trained.detections, truths = backend.evaluate.evaluate(
            net, val, model, start.config.predict, config.loss, config.batch_size, device
        )
        metrics |= mean_average_precision(trained.detections, truths, model.num_classes)
        row |= {f"val_{name}": metrics[name] for name in EVALUATED}
        velocity = backend.weights.get_velocity(net, trainer)
        trained.checkpoint = Checkpoint(weights, start.run, velocity, row["epoch"], row["epoch"] * steps_per_epoch)
        best = all(_score(row) >= _score(earlier) for earlier in run.rows)
        run.record(row)
        run.save(trained.checkpoint, best)
        run.log(format_row(row, config.epochs))
        if row["epoch"] == start.epoch + 1:  # all the images have been read
            for line in filter(None, (describe_skipped(data), describe_skipped(val))):
                run.log(line)
    return trained


def _score(row: Row) -> tuple[float, float]:
    """Return what makes one epoch better than another: average precision, then the lower loss."""
    precision = row.get("val_ap")
    return (-1.0 if precision is None or math.isnan(precision) else precision, -row["loss"])
