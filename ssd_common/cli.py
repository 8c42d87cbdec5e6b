"""The command line: `tinyssd train | eval | predict | compare | data | info`."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from ssd_common.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from ssd_common.data.dataset import Dataset

# Everything else is imported by the verb that needs it: `tinyssd --help` must not wait for numpy, or for a framework.

PROGRAM = "tinyssd"
DESCRIPTION = "One detector, written twice: the single shot multibox detector in PyTorch and in MXNet."

# Flags as the help shows them; values are checked where they are used, with the same message as in Python.
BackendName = Annotated[str, arg(metavar="torch|mxnet")]
PresetName = Annotated[str, arg(metavar="book|straight-dope")]
DataSpec = Annotated[str, arg(metavar="SPEC")]
OptionalSpec = Annotated[str | None, arg(metavar="SPEC", help_behavior_hint="")]
Device = Annotated[str, arg(metavar="auto|cpu|gpu|gpu:1")]
OptionalPath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
OptionalInt = Annotated[int | None, arg(metavar="INT", help_behavior_hint="")]
OptionalFloat = Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")]
DEMO_PICTURES, DEMO_EPOCHS, DEMO_BATCH = 320, 3, 8  # small batches: more steps in the same time


def train(
    backend: BackendName = "torch",
    data: OptionalSpec = None,
    data_dir: OptionalPath = None,
    preset: Annotated[str | None, arg(metavar="book|straight-dope", help_behavior_hint="")] = None,
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
        data: Data set: synthetic (the default) or pikachu.
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
        weights: Weights file to start from.
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
        changes |= {"data": data, "preset": preset, "config": config, "limit": limit, "out": out, "weights": weights}
        for name, value in changes.items():
            if value is not None:
                raise InputError(f"--{name.replace('_', '-')} cannot be changed with --resume; leave it out")
        settings, start, rows = resumed_checkpoint(resume, epochs)
    else:
        if config and preset:
            raise InputError("--preset and --config exclude each other; leave one out")
        settings = read_settings(config) if config else Settings("synthetic", None, get_preset(preset or "book"))
        changed = change_training(settings.preset, {**changes, "epochs": epochs})
        settings = Settings(data or settings.data, settings.limit if limit is None else limit, changed)
    training, validation = _splits(settings.data, data_dir, settings.limit)
    framework = load_backend(backend)
    where = framework.data.get_device(device)  # before a folder is made
    if resume is None:
        start, rows = first_checkpoint(settings.preset, training, weights), []
    chosen = dataclasses.replace(settings.preset, model=start.model)
    name = f"{backend}-{training.name.partition(':')[0]}"
    with closing(RunFolder(resume or new_folder(out, name), _console(), rows)) as run:
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


def evaluate(
    weights: Annotated[Path, arg(metavar="FILE")],
    backend: BackendName = "torch",
    data: OptionalSpec = None,
    data_dir: OptionalPath = None,
    limit: OptionalInt = None,
    device: Device = "auto",
    json: OptionalPath = None,
) -> int:
    """Measure a detector on a data set.

    Args:
        weights: Weights file.
        backend: Framework to run in.
        data: Data set, its val split unless named as SPEC:SPLIT (default: the one the weights were trained on).
        data_dir: Folder of data sets that are files (default: the environment variable TINYSSD_DATA).
        limit: Use only the first so many pictures.
        device: auto, cpu, gpu, or gpu:1.
        json: File to write the metrics to.
    """
    from ssd_common import report
    from ssd_common.backends import load_backend
    from ssd_common.config import PredictConfig
    from ssd_common.data import load_dataset
    from ssd_common.weights import load_checkpoint

    _check_file("--json", json)
    checkpoint = load_checkpoint(weights)
    pictures = load_dataset(data or checkpoint.data.partition(":")[0], "val", data_dir=data_dir, limit=limit)
    if pictures.class_names != checkpoint.model.class_names:
        raise InputError(
            f"{weights} knows {', '.join(checkpoint.model.class_names)}; "
            f"data set {pictures.name} has {', '.join(pictures.class_names)}"
        )
    framework = load_backend(backend)
    where = framework.data.get_device(device)
    net = framework.weights.make_net(checkpoint.model, checkpoint.weights, where)
    loss = checkpoint.train.loss
    metrics, _ = framework.evaluate.evaluate(net, pictures, checkpoint.model, PredictConfig(), loss, device=where)
    console = _console()
    console.print(f"{pictures.name}, {len(pictures)} pictures, {backend}", highlight=False, markup=False)
    for name in ("ap", "ap50", "ap75", "class_error", "bbox_mae"):
        baseline = f"  (trivial baseline {metrics[f'baseline_{name}']:.6f})" if f"baseline_{name}" in metrics else ""
        console.print(f"  {name:<12}{metrics[name]:.6f}{baseline}", highlight=False, markup=False)
    if json is not None:
        report.write_json(json, {"data": pictures.name, "weights": str(weights), "backend": backend, **metrics})
        console.print(f"wrote {json}", highlight=False, markup=False)
    return 0


def predict(
    pictures: Annotated[Positional[list[Path]], arg(metavar="PICTURE_OR_FOLDER...")],
    weights: Annotated[Path, arg(metavar="FILE")],
    backend: BackendName = "torch",
    score_threshold: float = 0.5,
    device: Device = "auto",
    out: Annotated[Path, arg(metavar="DIR")] = Path("out"),
) -> int:
    """Draw the objects that a detector finds in pictures, and write detections.json.

    Args:
        pictures: Picture files, or folders of them.
        weights: Weights file.
        backend: Framework to run in.
        score_threshold: Smallest score of an object that is shown and written.
        device: auto, cpu, gpu, or gpu:1.
        out: Folder to write to.
    """
    from ssd_common.backends import load_backend
    from ssd_common.config import PredictConfig
    from ssd_common.prediction import find_pictures, predict_files
    from ssd_common.runs import check_output_folder
    from ssd_common.weights import load_checkpoint

    if not 0 <= score_threshold <= 1:
        raise InputError(f"--score-threshold must be between 0 and 1, got {score_threshold}")
    if not pictures:
        raise InputError("predict needs pictures: name files or folders")
    check_output_folder(out)
    paths, checkpoint = find_pictures(pictures), load_checkpoint(weights)
    framework, console = load_backend(backend), _console()
    found = predict_files(framework, checkpoint, PredictConfig(), paths, out, score_threshold, device)
    for path, objects in found:
        text = ", ".join(f"{item['label']} {item['score']:.2f}" for item in objects) or "nothing"
        console.print(f"{path}: {text}", highlight=False, markup=False, soft_wrap=True)
    count = f"{len(paths)} picture" + "s" * (len(paths) != 1)
    console.print(f"wrote {out}: {count} and detections.json", highlight=False, markup=False, soft_wrap=True)
    return 0


def compare(
    data: DataSpec = "synthetic",
    data_dir: OptionalPath = None,
    preset: PresetName = "book",
    epochs: int = DEMO_EPOCHS,
    batch_size: int = DEMO_BATCH,
    lr: OptionalFloat = None,
    seed: OptionalInt = None,
    limit: Annotated[int | None, arg(metavar="INT")] = DEMO_PICTURES,
    dtype: Literal["float64", "float32"] = "float64",
    steps: int = 20,
    rungs: str = "1-11",
    weights: OptionalPath = None,
    device: Device = "auto",
    out: OptionalPath = None,
    json: OptionalPath = None,
    html: OptionalPath = None,
    check: FlagCreatePairsOff[bool] = False,
) -> int:
    """Train both frameworks alike, climb the parity ladder, and write a report.

    Args:
        data: Data set: synthetic or pikachu.
        data_dir: Folder of data sets that are files (default: the environment variable TINYSSD_DATA).
        preset: Configuration: book or straight-dope.
        epochs: Passes over the training pictures; 0 climbs the ladder only.
        batch_size: Pictures a step.
        lr: Learning rate (default: the preset's).
        seed: Seed of the initial weights and of the order of the pictures.
        limit: Use only the first so many training pictures.
        dtype: Precision of the ladder.
        steps: Steps of the ladder's last rung.
        rungs: Rungs to climb, such as 7-11 or 3.
        weights: Weights file to start from.
        device: Where to train: auto, cpu, gpu, or gpu:1. The ladder runs on the CPU.
        out: Run folder to write (default: runs/compare-DATA).
        json: File to write the report to as well, as JSON.
        html: File to write the report to as well, as HTML.
        check: Exit with 1 if a rung fails.
    """
    import shutil

    from ssd_common.backends import BACKENDS, load_backend
    from ssd_common.compare import compare as compare_backends
    from ssd_common.config import get_preset
    from ssd_common.experiment import change_training, first_checkpoint
    from ssd_common.parity import parse_rungs
    from ssd_common.runs import RunFolder, new_folder

    if steps < 1:
        raise InputError(f"--steps must be at least 1, got {steps}")
    _check_file("--json", json)
    _check_file("--html", html)
    climbed = parse_rungs(rungs)
    changes = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed}
    chosen = change_training(get_preset(preset), changes)
    training, validation = _splits(data, data_dir, limit)
    backends = {name: load_backend(name) for name in BACKENDS}
    start = first_checkpoint(chosen, training, weights)
    chosen = dataclasses.replace(chosen, model=start.model)
    devices = {name: framework.data.get_device(device) for name, framework in backends.items()}  # before a folder
    with closing(RunFolder(new_folder(out, f"compare-{training.name.partition(':')[0]}"), _console(), [])) as run:
        result = compare_backends(
            backends,
            run,
            training,
            validation,
            chosen,
            start.weights,
            dtype=dtype,
            steps=steps,
            rungs=climbed,
            devices=devices,
            command=" ".join([PROGRAM, *sys.argv[1:]]),
        )
        for copy, name in ((json, "report.json"), (html, "report.html")):
            if copy is not None:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run.path / name, copy)
        failed = result["verdict"]["failed"]
        run.log(f"the ladder failed at: {', '.join(failed)}" if failed else "every rung of the ladder passed")
        run.log(f"wrote {run.path}: report.html, report.json, curves and detections")
    return 1 if check and failed else 0


def list_data() -> int:
    """List the data sets."""
    from ssd_common.data import DATASETS

    console = _console()
    for name, text in DATASETS.items():
        console.print(f"{name:<11}{text}", highlight=False, markup=False, soft_wrap=True)
    return 0


def info() -> int:
    """Show versions, devices, and the size of the book's model."""
    from ssd_common.backends import BACKENDS, load_backend, machine, versions
    from ssd_common.config import BOOK
    from ssd_common.weights import count_parameters

    lines = [f"{name:<14}{version}" for name, version in {**versions(), **machine()}.items()]
    for name in BACKENDS:
        try:
            lines.append(f"{name + ' runs on':<14}{load_backend(name).data.get_device('auto')}")
        except InputError as error:
            lines.append(f"{name + ' runs on':<14}nothing: {error}")
    model = BOOK.model
    lines.append(f"{'parameters':<14}{count_parameters(model):,} with {model.num_classes} class")
    lines.append("anchors")
    for i, size in enumerate(model.feature_map_sizes):
        per_unit = model.anchors.per_unit(i)
        sizes = ", ".join(map(str, model.anchors.sizes[i]))
        lines.append(f"  scale {i}: {size:>2} x {size:<2} x {per_unit} = {size * size * per_unit:>4}   sizes {sizes}")
    lines.append(f"  in all: {model.num_anchors}")
    console = _console()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a check failed, 2 bad usage or bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    command = tyro.extras.SubcommandApp()
    for name, verb in (
        ("train", train),
        ("eval", evaluate),
        ("predict", predict),
        ("compare", compare),
        ("info", info),
    ):
        command.command(name=name)(verb)
    command.command(name="data")(list_data)
    try:
        code = command.cli(prog=PROGRAM, description=DESCRIPTION, args=[a for a in arguments if a != "--debug"])
    except (InputError, OSError) as error:
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        if debug:
            traceback.print_exc()
        else:
            print(f"{PROGRAM}: {message}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _splits(data: str, data_dir: Path | None, limit: int | None) -> tuple[Dataset, Dataset]:
    """Return the training pictures, at most `limit`, and the validation pictures of a data set."""
    from ssd_common.data import load_dataset

    if ":" in data:
        raise InputError(f"--data {data}: training uses both splits; name the data set alone")
    return load_dataset(data, "train", data_dir=data_dir, limit=limit), load_dataset(data, "val", data_dir=data_dir)


def _check_file(flag: str, path: Path | None) -> None:
    """Raise InputError, before any work is done, if the file to be written is a folder."""
    if path is not None and path.is_dir():
        raise InputError(f"{flag} {path}: a folder; name a file")


def _console() -> Console:
    """Return the console that results are printed to; a file or a pipe is as wide as the widest table."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110)
