"""The verb `train`."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Annotated, Literal

from tyro.conf import arg

from ssd_common.cli.flags import (
    BackendName,
    Device,
    OptionalFloat,
    OptionalInt,
    OptionalPath,
    OptionalPreset,
    OptionalSpec,
    new_console,
    splits,
)
from ssd_common.errors import InputError


def train(
    backend: BackendName = "torch",
    data: OptionalSpec = None,
    val_data: OptionalSpec = None,
    data_dir: OptionalPath = None,
    preset: OptionalPreset = None,
    config: OptionalPath = None,
    epochs: OptionalInt = None,
    batch_size: OptionalInt = None,
    lr: OptionalFloat = None,
    momentum: OptionalFloat = None,
    weight_decay: OptionalFloat = None,
    init: Annotated[Literal["xavier", "torch"] | None, arg(metavar="xavier|torch", help_behavior_hint="")] = None,
    seed: OptionalInt = None,
    limit: OptionalInt = None,
    device: Device = "auto",
    out: OptionalPath = None,
    weights: OptionalPath = None,
    resume: OptionalPath = None,
) -> int:
    """Train a detector and write a run folder.

    Args:
        backend: Framework to train in.
        data: Data set: synthetic (the default), voc:DIR, yolo:DIR, coco:IMAGES,FILE.json, …; see tinyssd data list.
        val_data: Data set of the validation pictures (default: the val split of --data).
        data_dir: Folder of data sets that are files (default: the environment variable TINYSSD_DATA).
        preset: Configuration to start from: book (the default) or straight-dope.
        config: TOML file with a configuration, such as the config.toml of another run, instead of a preset.
        epochs: Passes over the training pictures (default: the preset's, and so for the next ones).
        batch_size: Pictures a step.
        lr: Learning rate.
        momentum: Momentum of stochastic gradient descent.
        weight_decay: L2 penalty on every parameter.
        init: Initial weights: xavier, or the default of PyTorch.
        seed: Seed of the initial weights and of the order of the pictures.
        limit: Use only the first so many training pictures.
        device: auto, cpu, gpu, or gpu:1.
        out: Run folder to write (default: runs/BACKEND-DATA).
        weights: Weights file to start from, as eval and predict take it.
        resume: Run folder to go on with, in either framework; only --backend, --epochs, --data-dir, --device count.
    """
    from ssd_common import plotting
    from ssd_common.backends import load_backend
    from ssd_common.config import get_preset
    from ssd_common.experiment import (
        Settings,
        change_training,
        first_checkpoint,
        format_baselines,
        read_settings,
        resumed_checkpoint,
        save_pictures,
        train_run,
        trivial_baselines,
        write_settings,
    )
    from ssd_common.runs import RunFolder, new_folder
    from ssd_common.weights import count_parameters

    changes: dict[str, object] = {"batch_size": batch_size, "lr": lr, "momentum": momentum, "init": init, "seed": seed}
    changes["weight_decay"] = weight_decay
    if resume is not None:
        changes |= {
            "data": data,
            "val_data": val_data,
            "preset": preset,
            "config": config,
            "limit": limit,
            "out": out,
            "weights": weights,
        }
        for name, value in changes.items():
            if value is not None:
                raise InputError(f"--{name.replace('_', '-')} cannot be changed with --resume; leave it out")
        settings, start, rows = resumed_checkpoint(resume, epochs)
    else:
        if config and preset:
            raise InputError("--preset and --config exclude each other; leave one out")
        settings = read_settings(config) if config else Settings("synthetic", None, get_preset(preset or "book"))
        changed = change_training(settings.preset, {**changes, "epochs": epochs})
        if data is not None:  # another data set has other validation pictures
            settings = Settings(data, settings.limit, settings.preset)
        limit, val_data = settings.limit if limit is None else limit, val_data or settings.val_data
        settings = Settings(settings.data, limit, changed, val_data)
    training, validation = splits(settings.data, data_dir, settings.limit, settings.val_data)
    framework = load_backend(backend)
    where = framework.data.get_device(device)  # before a folder is made
    if resume is None:
        start = first_checkpoint(settings.preset, training, weights, get_preset(preset) if preset else None)
        rows = []
    chosen = dataclasses.replace(settings.preset, model=start.model, predict=start.predict)
    name = f"{backend}-{training.name.partition(':')[0]}"
    with closing(RunFolder(resume or new_folder(out, name), new_console(), rows)) as run:
        write_settings(run, dataclasses.replace(settings, preset=chosen), backend)
        run.log(
            f"{backend}: {count_parameters(start.model):,} parameters, {start.model.num_anchors} anchors; "
            f"{training.name} has {len(training)} pictures, {validation.name} {len(validation)}"
        )
        trained = train_run(framework, run, training, validation, chosen, start, where)
        if trained.rows:
            run.log(format_baselines(trained.rows[-1]))
            baselines = trivial_baselines(trained.rows[-1])
            plotting.save_training_curves(run.path / "results.png", {backend: trained.rows}, baselines)
            save_pictures(run.path / "val_detections.png", validation, {backend: trained.detections})
        run.log(f"wrote {run.path}")
    return 0
