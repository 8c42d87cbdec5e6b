"""A training run from its first line to its run folder, for either backend.

At the end of an epoch the weights are saved first. Then the validation images are measured, `best.safetensors` is
written if this epoch is the best, and the epoch's row is added to `results.csv`. A run that is stopped in between has
the weights but not the row. When it goes on, it measures first, and adds the row that it would have had; only its
`examples_per_second` (nan) and `data_seconds` (0) are not known any more. After a stop inside an epoch these two count
from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ssd_common.backends import Backend, Net, Trainer
from ssd_common.checkpoints.checkpoint import Checkpoint, encode_checkpoint
from ssd_common.config import Config
from ssd_common.data import Dataset
from ssd_common.data.annotated import AnnotatedDataset, describe_skipped
from ssd_common.data.dataset import counted
from ssd_common.data.ground_truth import GroundTruth
from ssd_common.detection import Detections
from ssd_common.errors import InputError
from ssd_common.evaluation.average_precision import mean_average_precision
from ssd_common.group import ALONE, Group
from ssd_common.metrics import EpochMeter
from ssd_common.output.console import progress_bar
from ssd_common.runs.folder import Row, RunFolder, format_row
from ssd_common.runs.stop import Stop
from ssd_common.runs.watch import SAVE_EVERY, Watch, steps_per_epoch
from ssd_common.schedule import learning_rate

EVALUATED = ("class_error", "bbox_mae", "baseline_class_error", "baseline_bbox_mae", "ap50", "ap")


@dataclass
class Trained:
    """What a training run left in memory."""

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
    save_every: float = SAVE_EVERY,
    stop: Stop | None = None,
    group: Group = ALONE,
) -> Trained:
    """Train a network from a checkpoint on, filling the run folder.

    Args:
        backend: which framework.
        run: the folder; its rows are those of the epochs before.
        data: training images.
        val: validation images. Those that are files are all read before the first step, which takes as long as to read
            them for one evaluation; as far as memory is meant for them, they are kept.
        start: weights, velocity and step to start from, and the configuration.
        device: as returned by the backend's `get_device`.
        compile: see the backend's `make_net`.
        save_every: minutes between two saves inside an epoch; 0 for none.
        stop: where a signal tells the run to stop, see `stoppable`.
        group: the processes that train together, of which this is the first; it alone writes.

    Raises:
        InputError: the run diverges, an image cannot be read, or no image has a good box.
        Stopped: it was told to stop.
    """
    config = start.config.train
    steps = steps_per_epoch(data, start)
    unmeasured = len(run.rows) < start.epoch  # the weights were saved, and no more
    undrawn = bool(run.rows) and start.epoch >= config.epochs  # only the images are missing
    if group.size > 1:
        group.broadcast(encode_checkpoint(start, str(run.path)))
        group.collect([unmeasured or undrawn])
    if not run.rows and not start.step:  # a run that is stopped in its first epoch can go on, too
        run.save(start, best=True)
        run.write_rows()
    run.write_config(start.run)  # last: where it is, there are weights
    run.saved = counted(start.step, "step")
    with group.together():
        if start.epoch < config.epochs and isinstance(val, AnnotatedDataset):
            for index in progress_bar(run.console, "validation images")(range(len(val))):
                val[index]
    agree_on_images(data, val, group)
    net, trainer = make_both(backend, start, steps, device, compile)
    trained = Trained(start, run.rows, [])
    if unmeasured:
        _finish_epoch(backend, net, run, data, val, device, trained, _summary(start), group)
    elif undrawn:
        known = _summary(start) if start.sums else {}
        run.rows[-1] = known | run.rows[-1] | _evaluate(backend, net, val, device, trained, group)
    watch = Watch(backend, net, trainer, run, data, start, save_every, stop or Stop(), group)
    for row in backend.train.train(
        net,
        trainer,
        data,
        start.config.model,
        config,
        start.epoch,
        device,
        watch.batches,
        new_meter=watch.new_meter,
        group=group,
    ):
        trained.checkpoint = watch.checkpoint
        _finish_epoch(backend, net, run, data, val, device, trained, row, group)
        if row["epoch"] == math.ceil(start.step / steps) + 1:  # the first whole one: all the images have been read
            for line in filter(None, (describe_skipped(data), describe_skipped(val))):
                run.log(line)
    return trained


def agree_on_images(data: Dataset, val: Dataset, group: Group) -> None:
    """Raise InputError in all processes unless each has as many images."""
    for images in (data, val):
        group.agree(len(images), f"images of {images.name}")


def make_both(
    backend: Backend, start: Checkpoint, steps: int, device: Any, compile: bool | None
) -> tuple[Net, Trainer]:
    """Return the network and the optimiser of a checkpoint; an epoch has `steps`, for the rest see `train_run`."""
    config = start.config.train
    net = backend.weights.make_net(start.config.model, start.weights, device, compile=compile)
    trainer = backend.train.make_trainer(net, config)
    if start.step:  # MXNet keeps velocities times the rate: they round as in a run that was not stopped
        last = learning_rate(config, start.step - 1, config.epochs * steps)
        backend.train.set_learning_rate(trainer, last)
    backend.weights.set_velocity(net, trainer, start.velocity)
    return net, trainer


def _summary(start: Checkpoint) -> Row:
    """Return the row of the last epoch of a checkpoint, as far as it is known from training."""
    return {"epoch": start.epoch, **EpochMeter(start.sums).summary()}


def _finish_epoch(
    backend: Backend,
    net: Net,
    run: RunFolder,
    data: Dataset,
    val: Dataset,
    device: Any,
    trained: Trained,
    row: Row,
    group: Group,
) -> None:
    """Measure an epoch whose weights are saved, and complete what the folder has of it; the row last."""
    if row.get("baseline_class_error") == 0:  # every anchor of every image is background
        raise InputError(f"{data.name}: no good box to learn from; tinyssd data check says what is wrong")
    row |= _evaluate(backend, net, val, device, trained, group)
    if all(_score(row) >= _score(earlier) for earlier in run.rows):
        run.save(trained.checkpoint, best=True)
    run.log(format_row(row, trained.checkpoint.config.train.epochs))
    run.record(row)


def measure(
    backend: Backend, net: Net, val: Dataset, config: Config, device: Any, group: Group
) -> tuple[dict[str, float], list[Detections], list[GroundTruth]]:
    """Return what `evaluate` of a backend measures, for the network of process 0: the others take its weights first.

    In training, batch normalisation has other running statistics in each process.
    """
    if group.size > 1:
        weights = group.weighted_sum(backend.weights.get_weights(net), float(group.rank == 0))
        backend.weights.set_weights(net, weights)
    train = config.train
    return backend.evaluate.evaluate(
        net, val, config.model, config.predict, train.loss, train.batch_size, device, group=group
    )


def _evaluate(backend: Backend, net: Net, val: Dataset, device: Any, trained: Trained, group: Group) -> Row:
    """Return what the validation images measure, by column, and keep the detections."""
    config = trained.checkpoint.config
    metrics, trained.detections, truths = measure(backend, net, val, config, device, group)
    metrics |= mean_average_precision(trained.detections, truths, config.model.num_classes)
    return {f"val_{name}": metrics[name] for name in EVALUATED}


def _score(row: Row) -> tuple[float, float]:
    """Return what makes one epoch better than another: average precision, then the lower loss."""
    precision = row.get("val_ap")
    return (-1.0 if precision is None or math.isnan(precision) else precision, -row["loss"])
