"""The verb `train`."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Annotated, Literal

from tyro.conf import arg

from ssd_common.cli.flags import (
    Device,
    OptionalAugmentation,
    OptionalBackend,
    OptionalFloat,
    OptionalInt,
    OptionalPath,
    OptionalPreset,
    OptionalSpec,
    splits,
)
from ssd_common.errors import InputError
from ssd_common.output.console import new_console


def train(
    backend: OptionalBackend = None,
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
    schedule: Annotated[
        Literal["constant", "cosine", "one-cycle"] | None,
        arg(metavar="constant|cosine|one-cycle", help_behavior_hint=""),
    ] = None,
    cls_loss: Annotated[
        Literal["cross_entropy", "focal"] | None, arg(metavar="cross_entropy|focal", help_behavior_hint="")
    ] = None,
    bbox_loss: Annotated[Literal["l1", "smooth_l1"] | None, arg(metavar="l1|smooth_l1", help_behavior_hint="")] = None,
    alpha: OptionalFloat = None,
    gamma: OptionalFloat = None,
    sigma: OptionalFloat = None,
    negatives_per_positive: OptionalInt = None,
    cls_weight: OptionalFloat = None,
    bbox_weight: OptionalFloat = None,
    image_size: OptionalInt = None,
    init: Annotated[Literal["xavier", "torch"] | None, arg(metavar="xavier|torch", help_behavior_hint="")] = None,
    augment: OptionalAugmentation = None,
    seed: OptionalInt = None,
    limit: OptionalInt = None,
    precision: Annotated[Literal["fp32", "bf16"] | None, arg(metavar="fp32|bf16", help_behavior_hint="")] = None,
    compile: bool = False,
    device: Device = "auto",
    out: OptionalPath = None,
    weights: OptionalPath = None,
    resume: OptionalPath = None,
) -> int:
    """Train a detector and write a run folder.

    Args:
        backend: Framework to train in (default: that of --resume or of --config, or else torch).
        data: Data set: synthetic (the default), voc:DIR, yolo:DIR, coco:IMAGES,FILE.json, …; see tinyssd data list.
        val_data: Data set of the validation pictures (default: the val split of --data).
        data_dir: Folder of data sets that are files (default: the environment variable TINYSSD_DATA).
        preset: Configuration to start from: book (the default), straight-dope or improved.
        config: TOML file with a configuration, such as the config.toml of another run, instead of a preset.
        epochs: Passes over the training pictures (default: the preset's, and so for the next ones).
        batch_size: Pictures a step.
        lr: Learning rate.
        momentum: Momentum of stochastic gradient descent.
        weight_decay: L2 penalty on every parameter.
        schedule: How the learning rate changes from step to step; --lr is its highest value.
        cls_loss: Class loss.
        bbox_loss: Offset loss.
        alpha: Factor of the focal loss.
        gamma: Exponent of the focal loss.
        sigma: Smooth L1 is a square below 1 / sigma².
        negatives_per_positive: Hard negative mining: background anchors that count for each positive one, such as 3.
        cls_weight: Factor of the class loss.
        bbox_weight: Factor of the offset loss.
        image_size: Height and width of a picture for the network, a multiple of 64; anchors grow in number with it.
        init: Initial weights: xavier, or the default of PyTorch.
        augment: Random changes of the training pictures: flip, jitter (flip, shift, brightness, noise), ssd (the
            paper's crops, sizes and colours), straight-dope (its crops), or none.
        seed: Seed of the initial weights, of the order of the pictures and of their changes.
        limit: Use only the first so many training pictures.
        precision: Of the forward and backward pass; bf16 is faster where the machine has it (PyTorch only).
        compile: Compile the network first: torch.compile takes a minute, and pays on a GPU (MXNet always compiles).
        device: auto, cpu, gpu, or gpu:1.
        out: Run folder to write (default: runs/BACKEND-DATA).
        weights: Weights file to start from, as eval and predict take it.
        resume: Run folder to go on with, in either framework; what and how it trains stays, but for --epochs.
    """
    from ssd_common.backends import BACKENDS, load_backend
    from ssd_common.config import get_preset
    from ssd_common.config.augment import get_augmentation
    from ssd_common.config.settings import Settings, read_settings
    from ssd_common.figures import curves
    from ssd_common.figures.detections import save_pictures
    from ssd_common.runs.folder import RunFolder, format_baselines, new_folder, trivial_baselines, write_settings
    from ssd_common.runs.start import change_training, check_classes, first_checkpoint, resumed_checkpoint
    from ssd_common.runs.train import train_run
    from ssd_common.weights import count_parameters

    changes: dict[str, object] = {
        "batch_size": batch_size,
        "lr": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "cls_loss": cls_loss,
        "bbox_loss": bbox_loss,
        "alpha": alpha,
        "gamma": gamma,
        "sigma": sigma,
        "negatives_per_positive": negatives_per_positive,
        "cls_weight": cls_weight,
        "bbox_weight": bbox_weight,
        "image_size": image_size,
        "init": init,
        "augment": get_augmentation(augment) if augment else None,
        "seed": seed,
        "precision": precision,
    }
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
        backend = backend or settings.backend
    else:
        if config and preset:
            raise InputError("--preset and --config exclude each other; leave one out")
        if weights and image_size:
            raise InputError("--image-size cannot be changed with --weights, whose file has its own; leave it out")
        if weights and init:
            raise InputError("--init draws the initial weights, which --weights reads from a file; leave one out")
        settings = read_settings(config) if config else Settings("synthetic", None, get_preset(preset or "book"))
        if settings.backend not in (None, *BACKENDS):
            raise InputError(f"{config}: unknown backend {settings.backend!r}; the backends are {', '.join(BACKENDS)}")
        backend = backend or settings.backend
        changed = change_training(settings.preset, {**changes, "epochs": epochs})
        loss = changed.train.loss
        if loss.cls_loss != "focal" and (alpha, gamma) != (None, None):
            raise InputError("--alpha and --gamma belong to the focal loss; add --cls-loss focal, or leave them out")
        if loss.bbox_loss != "smooth_l1" and sigma is not None:
            raise InputError("--sigma belongs to the smooth L1 loss; add --bbox-loss smooth_l1, or leave it out")
        if data not in (None, settings.data):  # another data set has other validation pictures, and another number
            settings = Settings(data, None, settings.preset)
        limit, val_data = settings.limit if limit is None else limit, val_data or settings.val_data
        settings = Settings(settings.data, limit, changed, val_data)
    backend = backend or "torch"
    training, validation = splits(settings.data, data_dir, settings.limit, settings.val_data)
    if resume is not None:
        check_classes(resume, start.model, training)
    framework = load_backend(backend)
    where = framework.data.get_device(device)  # before a folder is made
    framework.precision.check_precision(settings.preset.train.precision, where)
    if resume is None:
        start = first_checkpoint(settings.preset, training, weights, get_preset(preset) if preset else None)
        rows = []
    chosen = dataclasses.replace(settings.preset, model=start.model, predict=start.predict)
    name = f"{backend}-{training.name.partition(':')[0]}"
    with closing(RunFolder(resume or new_folder(out, name), new_console(), rows)) as run:
        write_settings(run, dataclasses.replace(settings, preset=chosen, backend=backend))
        run.log(
            f"{backend}: {count_parameters(start.model):,} parameters, {start.model.num_anchors} anchors; "
            f"{training.name} has {len(training)} pictures, {validation.name} {len(validation)}"
        )
        own_model = dataclasses.replace(settings.preset.model, class_names=start.model.class_names)
        if weights and (preset or config) and own_model != start.model:
            run.log(f"anchors, image size and mean are those of {weights}")
        trained = train_run(framework, run, training, validation, chosen, start, where, compile or None)
        if trained.rows:
            run.log(format_baselines(trained.rows[-1]))
            baselines = trivial_baselines(trained.rows[-1])
            curves.save_training_curves(run.path / "results.png", {backend: trained.rows}, baselines)
            save_pictures(run.path / "val_detections.png", validation, {backend: trained.detections})
        run.log(f"wrote {run.path}")
    return 0
