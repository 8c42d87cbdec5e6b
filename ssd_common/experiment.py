"""A training from its first line to its run folder, for either backend."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssd_common import plotting
from ssd_common.agreement import differing
from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ssd_common.checkpoints.convert import load_weights
from ssd_common.config import ModelConfig, Preset
from ssd_common.config.settings import Settings, read_settings
from ssd_common.data.dataset import Dataset, describe_skipped
from ssd_common.detection import Detections
from ssd_common.errors import InputError
from ssd_common.output.console import progress_bar
from ssd_common.runs import Row, RunFolder, read_rows
from ssd_common.schedule import learning_rate
from ssd_common.weights import initial_weights

EVALUATED = ("class_error", "bbox_mae", "baseline_class_error", "baseline_bbox_mae", "ap50", "ap")
PICTURES_SHOWN = 5  # of the validation split


def change_training(preset: Preset, changes: Mapping[str, Any]) -> Preset:
    """Return a preset with settings of its training, of its losses or of its model changed.

    Args:
        preset: the preset.
        changes: new values by name of the field of `TrainConfig`, `LossConfig` or `ModelConfig`; those that are None
            change nothing.

    Raises:
        InputError: a value is out of range.
    """

    def changed(config: Any, **more: Any) -> Any:
        names = {field.name for field in dataclasses.fields(config)}
        own = {name: value for name, value in changes.items() if name in names and value is not None}
        return dataclasses.replace(config, **own, **more)

    train = changed(preset.train, loss=changed(preset.train.loss))
    return dataclasses.replace(preset, train=train, model=changed(preset.model))


def first_checkpoint(preset: Preset, data: Dataset, weights: Path | None, named: Preset | None = None) -> Checkpoint:
    """Return what a training starts from: seeded initial weights, or those of a file.

    Args:
        preset: of the training, and of the model if there is no file.
        data: what it trains on.
        weights: the file.
        named: the preset that was asked for, if one was: a file that carries no model of its own takes it from there,
            or else from the chapter that it comes from.

    Raises:
        InputError: the file cannot be used, or its classes are not those of the data.
    """
    if weights is None:
        model = dataclasses.replace(preset.model, class_names=data.class_names)
        return Checkpoint(
            initial_weights(model, preset.train), model, preset.train, predict=preset.predict, data=data.name
        )
    loaded = load_weights(weights, named, strict=False)
    hint = "; for a file without names, tinyssd convert --class-names gives it some"
    check_classes(weights, loaded.model, data, hint)
    return Checkpoint(loaded.weights, loaded.model, preset.train, predict=loaded.predict, data=data.name)


def check_classes(path: Path, model: ModelConfig, data: Dataset, hint: str = "") -> None:
    """Raise InputError if the classes of a model are not those of the data, in the same order.

    Args:
        path: of its weights or of its run.
        model: the model.
        data: what it is to be trained on.
        hint: added to the message.
    """
    if model.class_names != data.class_names:
        raise InputError(
            f"{path}: its classes are {', '.join(model.class_names)}; "
            f"those of data set {data.name} are {', '.join(data.class_names)}{hint}"
        )


def resumed_checkpoint(folder: Path, epochs: int | None) -> tuple[Settings, Checkpoint, list[Row]]:
    """Return the settings, the last checkpoint and the rows of a run that is to go on.

    Args:
        folder: the run folder.
        epochs: epochs in all; None for the number that the run was started with.

    Raises:
        InputError: the folder is not a run, or it has all its epochs.
    """
    settings = read_settings(folder / "config.toml")
    start = load_checkpoint(folder / "weights" / "last.safetensors")
    train = settings.preset.train if epochs is None else dataclasses.replace(settings.preset.train, epochs=epochs)
    if start.epoch >= train.epochs:
        raise InputError(f"{folder}: all {start.epoch} epochs are trained; ask for more with --epochs")
    settings = dataclasses.replace(settings, preset=dataclasses.replace(settings.preset, train=train))
    rows = read_rows(folder / "results.csv")[: start.epoch]
    if [row["epoch"] for row in rows] != list(range(1, start.epoch + 1)):
        raise InputError(
            f"{folder / 'results.csv'}: not the rows of the epochs 1 to {start.epoch}, which the weights have seen; "
            "put the file back, or start a new run with --weights"
        )
    return settings, start, rows


@dataclass
class Trained:
    """What a training left in memory."""

    checkpoint: Checkpoint
    rows: list[Row]
    detections: list[Detections]
    """Of each validation picture, at the last epoch."""


def train_run(
    backend: Backend,
    run: RunFolder,
    data: Dataset,
    val: Dataset,
    preset: Preset,
    start: Checkpoint,
    device: Any,
    compile: bool | None = None,
) -> Trained:
    """Train a network from a checkpoint on, filling the run folder epoch by epoch.

    Args:
        backend: which framework.
        run: the folder; its rows are those of the epochs before.
        data: training pictures.
        val: validation pictures.
        preset: the configuration.
        start: weights, momentum and epoch to start from.
        device: as returned by the backend's `get_device`.
        compile: see the backend's `make_net`.

    Raises:
        InputError: the loss or a weight is no longer a finite number, or no picture has a good box.
    """
    model, config = preset.model, preset.train
    net = backend.weights.make_net(model, start.weights, device, compile=compile)
    trainer = backend.train.make_trainer(net, config)
    steps_per_epoch = math.ceil(len(data) / config.batch_size)
    if start.step:  # MXNet keeps velocities times the rate: they round as in a run that was not stopped
        last = learning_rate(config, start.step - 1, config.epochs * steps_per_epoch)
        backend.train.set_learning_rate(trainer, last)
    backend.weights.set_momentum(net, trainer, start.momentum)
    trained = Trained(start, run.rows, [])
    if not run.rows:  # a run that is stopped in its first epoch can go on, too
        run.write_rows()
        run.save(start, best=True)
    bar = progress_bar(run.console, f"{backend.name} epoch")
    for row in backend.train.train(net, trainer, data, model, config, start.epoch, device, bar):
        if not math.isfinite(row["loss"]):
            raise InputError(f"{backend.name}: the loss is {row['loss']} in epoch {row['epoch']}; lower --lr")
        if row.get("baseline_class_error") == 0:  # every anchor of every picture is background
            raise InputError(f"{data.name}: no good box to learn from; tinyssd data check says what is wrong")
        metrics, trained.detections, _ = backend.evaluate.evaluate(
            net, val, model, preset.predict, config.loss, config.batch_size, device
        )
        row |= {f"val_{name}": metrics[name] for name in EVALUATED}
        weights = backend.weights.get_weights(net)
        if not all(np.isfinite(value).all() for value in weights.values()):
            raise InputError(f"{backend.name}: weights are no longer finite in epoch {row['epoch']}; lower --lr")
        trained.checkpoint = Checkpoint(
            weights=weights,
            model=model,
            train=config,
            predict=preset.predict,
            momentum=backend.weights.get_momentum(net, trainer),
            epoch=row["epoch"],
            step=row["epoch"] * steps_per_epoch,
            data=data.name,
        )
        best = all(_score(row) >= _score(earlier) for earlier in run.rows)
        run.record(row)
        run.save(trained.checkpoint, best)
        run.log(format_row(row, config.epochs))
        if row["epoch"] == start.epoch + 1:  # all the pictures have been read
            for line in filter(None, (describe_skipped(data), describe_skipped(val))):
                run.log(line)
    return trained


def format_row(row: Row, epochs: int) -> str:
    """Return the line that is printed at the end of an epoch."""
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  loss {row['loss']:.4f}"
        f"  class error {row['class_error']:.2e}  bbox MAE {row['bbox_mae']:.2e}"
        f"  |  val: class error {row['val_class_error']:.2e}  bbox MAE {row['val_bbox_mae']:.2e}"
        f"  AP50 {row['val_ap50']:.3f}  AP {row['val_ap']:.3f}"
        f"  |  {row['examples_per_second']:.1f} examples/s + {row['data_seconds']:.1f} s data"
    )


def trivial_baselines(row: Row) -> dict[str, float]:
    """Return what all background and zero offsets score, by name of each quantity whose baseline the row has."""
    names = {
        "class_error": "baseline_class_error",
        "bbox_mae": "baseline_bbox_mae",
        "val_class_error": "val_baseline_class_error",
        "val_bbox_mae": "val_baseline_bbox_mae",
    }
    return {quantity: row[name] for quantity, name in names.items() if name in row}


def format_baselines(row: Row) -> str:
    """Return the line that says what predicting nothing would score."""
    scores = trivial_baselines(row)
    return (
        f"trivial baselines: all background and zero offsets score class error {scores['class_error']:.2e}, "
        f"bbox MAE {scores['bbox_mae']:.2e} in training, "
        f"{scores['val_class_error']:.2e}, {scores['val_bbox_mae']:.2e} in validation"
    )


def save_pictures(
    path: Path, val: Dataset, detections: Mapping[str, Sequence[Detections]], mark_differences: bool = False
) -> None:
    """Draw the first validation pictures with their true boxes and as many of the best detections, or else one.

    There is a row of pictures for each backend.

    Args:
        path: of the PNG.
        val: the validation pictures.
        detections: of each picture, by backend.
        mark_differences: of two backends, mark a detection that the other does not have (see `differing`).
    """
    count = min(PICTURES_SHOWN, len(val))
    examples = [val[i] for i in range(count)]
    best = [max(1, len(labels)) for _, labels in examples]
    marks = None
    if mark_differences:
        pairs = [differing(*pair) for pair in zip(*(found[:count] for found in detections.values()), strict=True)]
        marks = [pair[side][:k].tolist() for side in (0, 1) for pair, k in zip(pairs, best, strict=True)]
    plotting.save_detection_grid(
        path,
        [image for _ in detections for image, _ in examples],
        [found[:k] for of_backend in detections.values() for found, k in zip(of_backend, best, strict=False)],
        val.class_names,
        truths=[labels for _ in detections for _, labels in examples],
        titles=[name for name in detections for _ in examples],
        columns=count,
        threshold=0.0,
        differs=marks,
    )


def _score(row: Row) -> tuple[float, float]:
    """Return what makes one epoch better than another: average precision, then the lower loss."""
    precision = row.get("val_ap")
    return (-1.0 if precision is None or math.isnan(precision) else precision, -row["loss"])
