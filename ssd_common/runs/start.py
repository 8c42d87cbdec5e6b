"""What a training run starts from: a configuration with changes, weights, or a run that goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ssd_common.checkpoints.convert import load_weights
from ssd_common.config import Config, ModelConfig, RunConfig, read_run_config
from ssd_common.config.tables import differences
from ssd_common.data.dataset import Dataset
from ssd_common.errors import InputError
from ssd_common.output.console import quoted
from ssd_common.runs.folder import BEST, CONFIG, IMAGES, LAST, Row, read_rows
from ssd_common.weights import initial_weights


def change_config(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return a configuration with values of its training, of its losses or of its model changed.

    Args:
        config: the configuration.
        changes: new values by name of the field of `TrainConfig`, `LossConfig` or `ModelConfig`; those that are None
            change nothing.

    Raises:
        InputError: a value is out of range.
    """

    def changed(part: Any, **more: Any) -> Any:
        names = {field.name for field in dataclasses.fields(part)}
        own = {name: value for name, value in changes.items() if name in names and value is not None}
        return dataclasses.replace(part, **own, **more)

    train = changed(config.train, loss=changed(config.train.loss))
    return dataclasses.replace(config, train=train, model=changed(config.model))


def first_checkpoint(
    run_config: RunConfig, data: Dataset, weights: Path | None, named: Config | None = None
) -> Checkpoint:
    """Return what a training run starts from: seeded initial weights, or those of a file.

    Args:
        run_config: of the run; its model, with the classes of the data, if there is no file.
        data: what it trains on.
        weights: the file.
        named: the preset that was asked for, if one was: a file that carries no model of its own takes it from there,
            or else from the chapter that it comes from.

    Raises:
        InputError: the file cannot be used, or its classes are not those of the data.
    """
    config = run_config.config
    if weights is None:
        model = dataclasses.replace(config.model, class_names=data.class_names)
        config, values = dataclasses.replace(config, model=model), initial_weights(model, config.train)
    else:
        loaded = load_weights(weights, named, strict=False)
        hint = "; for a file without names, tinyssd convert --class-names gives it some"
        check_classes(weights, loaded.config.model, data, hint)
        config = dataclasses.replace(loaded.config, train=config.train)
        values = loaded.weights
    return Checkpoint(values, dataclasses.replace(run_config, config=config))


def check_classes(path: Path, model_config: ModelConfig, data: Dataset, hint: str = "") -> None:
    """Raise InputError if the classes of a model are not those of the data, in the same order.

    Args:
        path: of its weights or of its run.
        model_config: the model.
        data: what it trains on.
        hint: added to the message.
    """
    if model_config.class_names != data.class_names:
        raise InputError(
            f"{path}: its classes are {', '.join(model_config.class_names)}; "
            f"those of dataset {data.name} are {', '.join(data.class_names)}{hint}"
        )


def check_run(folder: Path) -> None:
    """Raise InputError unless a folder is a run that can go on."""
    if not folder.is_dir():
        raise InputError(f"{folder}: {'a file' if folder.exists() else 'no such folder'}; name the folder of a run")
    if not (folder / CONFIG).exists() and not (folder / LAST).exists():
        raise InputError(f"{folder / CONFIG}: no such configuration file; is its folder a run?")


def changed_by(folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return in which values, `epochs` aside, a run would not be the same with changes, see `change_config`."""
    config = read_run_config(folder / CONFIG).config
    changed = differences(change_config(config, changes), config)
    changed.pop("train.epochs", None)
    return changed


def _last_checkpoint(folder: Path) -> Checkpoint:
    """Return the last checkpoint of a run; if there is none that can be read, the error says how to go on without."""
    try:
        return load_checkpoint(folder / LAST)
    except InputError as error:
        if not ((folder / BEST).is_file() and (folder / CONFIG).is_file()):
            raise
        raise InputError(f"{error}; {new_run(folder, BEST)} starts a new run from the best weights") from None


def new_run(folder: Path, weights: str) -> str:
    """Return the command that starts a new run from the configuration and some weights of another."""
    config, file = (quoted(str(folder / name)) for name in (CONFIG, weights))
    return f"tinyssd train --config {config} --weights {file}"


def resumed_checkpoint(folder: Path, epochs: int | None) -> tuple[Checkpoint, list[Row]]:
    """Return the last checkpoint and the rows of a run that goes on; of the last epoch the row may be missing.

    A run that was killed when it began may have its configuration and no weights yet, or the other way round.

    Args:
        folder: the run folder.
        epochs: epochs in all; None for the number that the run was started with.

    Raises:
        InputError: the folder is not a run, or it has all its epochs and images; or its `config.toml` is not what the
            weights were trained with; or its table has other epochs than they.
    """
    check_run(folder)
    table, file = folder / "results.csv", folder / CONFIG
    rows = read_rows(table) if table.exists() else []
    if (folder / LAST).exists() or rows:
        start = _last_checkpoint(folder)
        run_config = read_run_config(file) if file.exists() else start.run
    else:
        run_config = read_run_config(file)
        start = Checkpoint(initial_weights(run_config.config.model, run_config.config.train), run_config)
    changed = differences(run_config.config, start.config)
    changed.pop("train.epochs", None)  # a run that was asked for more epochs, and stopped before it had one of them
    for name, value in changed.items():
        raise InputError(f"{file}: {name} is {value}, which is not what the weights were trained with; put it back")
    if epochs is not None:
        run_config = dataclasses.replace(run_config, config=change_config(run_config.config, {"epochs": epochs}))
    is_measured = len(rows) >= start.epoch
    if start.epoch >= run_config.config.train.epochs and is_measured and all((folder / n).exists() for n in IMAGES):
        raise InputError(f"{folder}: all {start.epoch} epochs are trained; ask for more with --epochs")
    found = [row["epoch"] for row in rows] + ([start.epoch] if start.sums and not is_measured else [])
    if found != list(range(1, start.epoch + 1)):
        raise InputError(
            f"{table}: not the rows of the epochs 1 to {start.epoch}, which {folder / LAST} has seen; put back the "
            f"file that was changed, or start a new run: {new_run(folder, LAST)}"
        )
    return dataclasses.replace(start, run=run_config), rows
