"""The verb `train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from ssd_common.cli.flags import (
    Device,
    Minutes,
    OptionalAugmentation,
    OptionalBackend,
    OptionalFloat,
    OptionalInt,
    OptionalPath,
    OptionalPreset,
    OptionalSpec,
    splits,
)
from ssd_common.cli.group import joined
from ssd_common.errors import InputError
from ssd_common.output.console import new_console

if TYPE_CHECKING:
    from ssd_common.config import RunConfig


@dataclass(frozen=True)
class TrainingFlags:
    """Each flag changes one value of the configuration. Without the flag, the preset's value is used."""

    epochs: OptionalInt = None
    """Passes over the training images."""
    batch_size: OptionalInt = None
    """Images per step."""
    lr: OptionalFloat = None
    """Learning rate."""
    momentum: OptionalFloat = None
    """Momentum of stochastic gradient descent."""
    weight_decay: OptionalFloat = None
    """L2 penalty on every parameter."""
    schedule: Annotated[
        Literal["constant", "cosine", "one-cycle"] | None,
        arg(metavar="constant|cosine|one-cycle", help_behavior_hint=""),
    ] = None
    """Change of the learning rate from step to step; --lr is its highest value."""
    cls_loss: Annotated[
        Literal["cross_entropy", "focal"] | None, arg(metavar="cross_entropy|focal", help_behavior_hint="")
    ] = None
    """Class loss."""
    bbox_loss: Annotated[Literal["l1", "smooth_l1"] | None, arg(metavar="l1|smooth_l1", help_behavior_hint="")] = None
    """Offset loss."""
    alpha: OptionalFloat = None
    """Factor of the focal loss."""
    gamma: OptionalFloat = None
    """Exponent of the focal loss."""
    sigma: OptionalFloat = None
    """Smooth L1 is quadratic for errors below 1 / sigma²."""
    negatives_per_positive: OptionalInt = None
    """Hard negative mining: background anchors in the loss for each positive anchor, such as 3; 0 uses all."""
    cls_weight: OptionalFloat = None
    """Factor of the class loss."""
    bbox_weight: OptionalFloat = None
    """Factor of the offset loss."""
    image_size: OptionalInt = None
    """Height and width of the network's input, a multiple of 64; a larger input has more anchors."""
    init: Annotated[Literal["xavier", "torch"] | None, arg(metavar="xavier|torch", help_behavior_hint="")] = None
    """Initial weights: xavier, or torch for PyTorch's default."""
    augment: OptionalAugmentation = None
    """Random changes of the training images: flip, jitter (flip, shift, brightness, noise), ssd (crops, sizes and
    colours of the SSD paper), straight-dope (crops of The Straight Dope), or none."""
    seed: OptionalInt = None
    """Seed of the initial weights, the order of the images and their random changes."""
    precision: Annotated[Literal["fp32", "bf16"] | None, arg(metavar="fp32|bf16", help_behavior_hint="")] = None
    """Precision of the forward and backward pass; bf16 is faster if the processor supports it (PyTorch only)."""

    def changes(self) -> dict[str, object]:
        """Return the new values by the name of the field that they change."""
        from ssd_common.config import get_augmentation

        given = {name: value for name, value in vars(self).items() if value is not None}
        return given | ({"augment": get_augmentation(given["augment"])} if "augment" in given else {})


def train(
    backend: OptionalBackend = None,
    data: OptionalSpec = None,
    val_data: OptionalSpec = None,
    data_dir: OptionalPath = None,
    preset: OptionalPreset = None,
    config: OptionalPath = None,
    configuration: OmitArgPrefixes[TrainingFlags] = TrainingFlags(),
    limit: OptionalInt = None,
    compile: bool = False,
    device: Device = "auto",
    out: OptionalPath = None,
    weights: OptionalPath = None,
    resume: OptionalPath = None,
    save_every: Minutes = 10.0,
    distributed: FlagCreatePairsOff[bool] = False,
) -> int:
    """Train a detector and write a run folder.

    Args:
        backend: Framework to train in (default: the framework in --resume or --config, otherwise torch).
        data: Dataset: synthetic (the default), voc:DIR, yolo:DIR, coco:IMAGES,FILE.json, …; see tinyssd data list.
        val_data: Dataset of the validation images (default: the val split of --data).
        data_dir: Folder of the datasets that are files (default: the environment variable TINYSSD_DATA).
        preset: Configuration to start from: book (the default), straight-dope or improved. In each framework, book has
            the initial weights of that edition of the book: PyTorch's default, and Xavier in MXNet.
        config: TOML file with a configuration, instead of a preset; for example the config.toml of another run.
        configuration: Each flag changes one value of the configuration.
        limit: Use only the first INT training images.
        compile: Compile the network first. torch.compile takes a minute; it helps on a GPU. MXNet always compiles.
        device: Where to train: auto, cpu, gpu, or gpu:1.
        out: Run folder to write (default: runs/BACKEND-DATA).
        weights: Weights file to start from, in any format that eval and predict accept.
        resume: Run folder to continue, in either framework. The configuration stays the same, except for --epochs; any
            other change, such as --lr, starts a new run from the last weights of that folder.
        save_every: Minutes between two saves inside an epoch; 0 saves only at the end of an epoch. SIGINT (Ctrl-C),
            SIGTERM and SIGHUP save, too.
        distributed: Work together with the other processes that torchrun or tinyssd launch has started.
    """
    from contextlib import ExitStack

    from ssd_common.backends import BACKENDS, load_backend
    from ssd_common.config import get_preset
    from ssd_common.figures import save_pictures, save_training_curves
    from ssd_common.machine import threads
    from ssd_common.runs.folder import CONFIG, IMAGES, LAST, RunFolder, format_baselines, new_folder, trivial_baselines
    from ssd_common.runs.follow import follow_run
    from ssd_common.runs.start import changed_by, check_classes, check_run, first_checkpoint, resumed_checkpoint
    from ssd_common.runs.stop import stoppable
    from ssd_common.runs.train import train_run
    from ssd_common.weights import count_parameters

    with ExitStack() as stack:
        group, backend = stack.enter_context(joined(distributed, backend, device))
        if group.rank:
            follow_run(load_backend(backend or ""), data_dir, device, compile or None, group)
            return 0
        console = new_console(lasting=True)
        if not 0 <= save_every < float("inf"):
            raise InputError(f"--save-every must be a number of minutes, or 0 for never, got {save_every}")
        if out is not None and resume is None:
            new_folder(out, "")  # refused at once, before anything is read
        remarks = []
        if resume is not None:
            own = {"data": data, "val_data": val_data, "preset": preset, "config": config, "limit": limit}
            for name, value in {**own, "weights": weights}.items():
                if value is not None:
                    raise InputError(f"--{name.replace('_', '-')} cannot be changed with --resume; leave it out")
            check_run(resume)
            changed = changed_by(resume, configuration.changes()) if configuration.changes().keys() - {"epochs"} else {}
            if changed:
                remarks = [f"a new run from the weights of {resume}, with {_listed(changed)}"]
                config, weights, resume = resume / CONFIG, resume / LAST, None
            elif out is not None:
                raise InputError("--out cannot be changed with --resume; leave it out")
        if resume is not None:
            run = stack.enter_context(RunFolder(resume, console))  # nobody else writes what is read now
            start, run.rows = resumed_checkpoint(resume, configuration.epochs)
            run_config = start.run
        else:
            run_config = _run_config(backend, data, val_data, limit, preset, config, configuration, weights)
        file = config or (resume / CONFIG if resume else None)
        if file and not backend and run_config.backend not in ("", *BACKENDS):
            raise InputError(f"{file}: unknown backend {run_config.backend!r}; the backends are {', '.join(BACKENDS)}")
        backend = backend or run_config.backend or "torch"
        try:
            training, validation = splits(
                run_config.data, data_dir, run_config.limit or None, run_config.val_data or None
            )
        except InputError as error:
            if file and data is None:  # a relative path, perhaps, that is meant from another folder
                raise InputError(f"{file}: data = {run_config.data!r}: {error}") from None
            raise
        if resume is not None:
            check_classes(resume, start.config.model, training)
        framework = load_backend(backend)
        where = framework.data.get_device(device)  # before a folder is made
        framework.options.check_precision(run_config.config.train.precision, where)
        if resume is None:
            start = first_checkpoint(run_config, training, weights, get_preset(preset) if preset else None)
            name = f"{backend}-{training.name.partition(':')[0]}"
            run = stack.enter_context(RunFolder(new_folder(out, name), console))
        elif run_config.threads not in (0, threads()):
            remarks = [
                f"trained with {run_config.threads} threads before, now with {threads()}: the numbers are rounded "
                f"differently; OMP_NUM_THREADS={run_config.threads} goes on to the same bits"
            ]
        start = dataclasses.replace(start, run=dataclasses.replace(start.run, backend=backend, threads=threads()))
        model = start.config.model
        run.log(
            f"{backend}: {count_parameters(model):,} parameters, {model.num_anchors} anchors; "
            f"{training.name} has {len(training)} images, {validation.name} {len(validation)}"
        )
        run.log(f"configuration: {start.run.describe()}")
        own_model = dataclasses.replace(run_config.config.model, class_names=model.class_names)
        if weights and (preset or config) and own_model != model:
            remarks.append(f"anchors, image size and mean are those of {weights}")
        for remark in remarks:
            run.log(remark)
        flags = ["--data-dir", str(data_dir)] if data_dir else []
        flags += (["--device", device] if device != "auto" else []) + (["--compile"] if compile else [])
        stop = stack.enter_context(stoppable(run, flags))
        trained = train_run(
            framework, run, training, validation, start, where, compile or None, save_every, stop, group
        )
        if trained.rows:
            run.log(format_baselines(trained.rows[-1]))
            baselines = trivial_baselines(trained.rows[-1])
            curves, pictures = (run.path / name for name in IMAGES)
            save_training_curves(curves, {backend: trained.rows}, baselines)
            save_pictures(pictures, validation, {backend: trained.detections})
        run.log(f"wrote {run.path}")
    return 0


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _run_config(
    backend: str | None,
    data: str | None,
    val_data: str | None,
    limit: int | None,
    preset: str | None,
    config: Path | None,
    flags: TrainingFlags,
    weights: Path | None,
) -> RunConfig:
    """Return the configuration of a new run; the arguments are the flags of `train`."""
    from ssd_common.config import RunConfig, get_preset, read_run_config
    from ssd_common.runs.start import change_config

    if config and preset:
        raise InputError("--preset and --config exclude each other; leave one out")
    if weights and flags.image_size:
        raise InputError(
            "--image-size cannot be changed with --weights or --resume, which have their own; leave it out"
        )
    if weights and flags.init:
        raise InputError(
            "--init draws the initial weights, which --weights reads from a file, as --resume does; leave one out"
        )
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    name = preset or "book"
    base = read_run_config(config) if config else RunConfig(get_preset(name, backend or "torch"), based_on=name)
    changed = change_config(base.config, flags.changes())
    loss = changed.train.loss
    if loss.cls_loss != "focal" and (flags.alpha, flags.gamma) != (None, None):
        raise InputError("--alpha and --gamma belong to the focal loss; add --cls-loss focal, or leave them out")
    if loss.bbox_loss != "smooth_l1" and flags.sigma is not None:
        raise InputError("--sigma belongs to the smooth L1 loss; add --bbox-loss smooth_l1, or leave it out")
    if data not in (None, base.data):  # another dataset has other validation images, and another number
        base = dataclasses.replace(base, data=data or "", val_data="", limit=0)
    return dataclasses.replace(
        base,
        config=changed,
        data=base.data or "synthetic",
        val_data=val_data or base.val_data,
        limit=base.limit if limit is None else limit,
    )
