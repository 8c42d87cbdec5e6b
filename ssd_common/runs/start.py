"""What a training starts from: a preset with changes, weights, or a run that is to go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ssd_common.checkpoints.convert import load_weights
from ssd_common.config import ModelConfig, Preset
from ssd_common.config.settings import Settings, read_settings
from ssd_common.data.dataset import Dataset
from ssd_common.errors import InputError
from ssd_common.runs.folder import Row, read_rows
from ssd_common.weights import initial_weights


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
