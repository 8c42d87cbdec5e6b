"""The verbs `eval` and `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from ssd_common.cli.flags import (
    Device,
    Float,
    OptionalBackend,
    OptionalInt,
    OptionalPath,
    OptionalPreset,
    OptionalSpec,
)
from ssd_common.cli.group import joined
from ssd_common.errors import InputError
from ssd_common.output.console import new_console, print_lines
from ssd_common.output.folders import check_file

Weights = Annotated[Path, arg(metavar="FILE", help_behavior_hint="")]


def evaluate(
    weights: Weights = Path("pretrained"),
    backend: OptionalBackend = None,
    preset: OptionalPreset = None,
    data: OptionalSpec = None,
    data_dir: OptionalPath = None,
    limit: OptionalInt = None,
    device: Device = "auto",
    out: OptionalPath = None,
    json: OptionalPath = None,
    distributed: FlagCreatePairsOff[bool] = False,
) -> int:
    """Measure a detector on a dataset: average precision of COCO and of Pascal VOC, and the chapter's errors.

    Args:
        weights: Weights file in any format that convert reads (default: the detector that comes with tinyssd).
        backend: Framework to use (default: torch).
        preset: Configuration for a weights file without one (default: that of the chapter the file comes from).
        data: Dataset; its val split, unless SPEC:SPLIT names another (default: the dataset used to train the weights).
        data_dir: Folder of the datasets that are files (default: the environment variable TINYSSD_DATA).
        limit: Use only the first INT images.
        device: Where to run: auto, cpu, gpu, or gpu:1.
        out: Folder to write precision_recall.png, worst_errors.png and metrics.json to.
        json: File to write the metrics to.
        distributed: Work together with the other processes that torchrun or tinyssd launch has started.
    """
    from ssd_common.backends import load_backend
    from ssd_common.checkpoints.checkpoint import weights_digest
    from ssd_common.checkpoints.convert import load_weights
    from ssd_common.checkpoints.pretrained import which_weights
    from ssd_common.config import get_preset
    from ssd_common.data import load_dataset
    from ssd_common.data.annotated import describe_skipped
    from ssd_common.data.specs import validation_spec
    from ssd_common.evaluation.mistakes import find_mistakes
    from ssd_common.output.folders import check_output_folder
    from ssd_common.output.json_file import write_json
    from ssd_common.runs.evaluate import FILES, evaluation_tables, summarise, write_evaluation

    with joined(distributed, backend, device) as (group, backend):
        with group.together():
            if not group.rank:
                check_file("--json", json)
                if out is not None:
                    check_output_folder(out)
            said, weights = which_weights(weights)
            checkpoint = load_weights(weights, get_preset(preset) if preset else None)
            data = data or validation_spec(checkpoint.run.data, checkpoint.run.val_data)
            if data is None:
                raise InputError(
                    f"{weights} does not say which images it was not trained on: name a dataset with --data"
                )
            pictures = load_dataset(data, "val", data_dir=data_dir, limit=limit)
            if pictures.class_names != checkpoint.config.model.class_names:
                raise InputError(
                    f"{weights} knows {', '.join(checkpoint.config.model.class_names)}; "
                    f"dataset {pictures.name} has {', '.join(pictures.class_names)}"
                )
            if not len(pictures):
                raise InputError(f"dataset {pictures.name} has no images; there is nothing to measure")
            backend = backend or "torch"
            framework = load_backend(backend)
            where = framework.data.get_device(device)
            net = framework.weights.make_net(checkpoint.config.model, checkpoint.weights, where)
        group.agree([len(pictures), weights_digest(checkpoint.weights)], "images or weights")
        loss = checkpoint.config.train.loss
        measured = framework.evaluate.evaluate(
            net, pictures, checkpoint.config.model, checkpoint.config.predict, loss, device=where, group=group
        )
    if group.rank:
        return 0
    metrics, detections, truths = measured
    mistakes = find_mistakes(detections, truths)
    summary = {"data": pictures.name, "weights": str(weights), "backend": backend}
    summary |= summarise(metrics, detections, truths, pictures.class_names, mistakes)
    console = new_console()
    heading = f"{pictures.name}, {len(pictures)} images, {summary['objects']} objects, {backend}"
    print_lines([*said, heading], console)
    console.print()
    console.print(evaluation_tables(summary))
    if skipped := describe_skipped(pictures):
        print_lines([skipped], console)
    written = []
    if out is not None:
        write_evaluation(out, summary, pictures, detections, truths, mistakes)
        written.append(f"{out}: {', '.join(FILES)}")
    if json is not None:
        write_json(json, summary)
        written.append(str(json))
    if written:
        print_lines([f"wrote {'; '.join(written)}"], console)
    return 0


def predict(
    pictures: Annotated[Positional[list[Path]], arg(metavar="IMAGE_OR_FOLDER...", help_behavior_hint="")],
    weights: Weights = Path("pretrained"),
    backend: OptionalBackend = None,
    preset: OptionalPreset = None,
    score_threshold: Float = 0.5,
    device: Device = "auto",
    out: Annotated[Path, arg(metavar="DIR")] = Path("out"),
    distributed: FlagCreatePairsOff[bool] = False,
) -> int:
    """Draw the objects that a detector finds in images, and write detections.json.

    The command adds the objects of each image to detections.jsonl. If you stop the command and run it again, it
    continues after the last finished image. For other weights, another threshold or the other framework, name
    another folder with --out.

    Args:
        pictures: Image files, or folders of image files.
        weights: Weights file in any format that convert reads, or an ONNX file that export wrote (default: the detector
            that comes with tinyssd).
        backend: Framework to use (default: torch). Leave this out for an ONNX file, which runs in ONNX Runtime.
        preset: Configuration for a weights file without one (default: that of the chapter the file comes from).
        score_threshold: Objects with a lower score are not drawn and not written.
        device: Where to run: auto, cpu, gpu, or gpu:1.
        out: Folder to write to.
        distributed: Work together with the other processes that torchrun or tinyssd launch has started.
    """
    from ssd_common.backends import load_backend
    from ssd_common.checkpoints.checkpoint import Checkpoint
    from ssd_common.checkpoints.convert import load_weights
    from ssd_common.checkpoints.pretrained import which_weights
    from ssd_common.config import get_preset
    from ssd_common.output.folders import check_output_folder
    from ssd_common.runs.predict import find_pictures, predict_files

    console, sha256, new = new_console(), "", 0
    with joined(distributed, backend, device) as (group, backend):
        with group.together():
            if not 0 <= score_threshold <= 1:
                raise InputError(f"--score-threshold must be between 0 and 1, got {score_threshold}")
            if not pictures:
                raise InputError("predict needs images: name files or folders")
            check_output_folder(out)
            said, weights = which_weights(weights)
            print_lines([] if group.rank else said, console)  # before what takes seconds: a large folder, the framework
            paths = find_pictures(pictures, out)
            if weights.suffix.lower() == ".onnx":
                if distributed:
                    raise InputError(f"{weights}: an ONNX file runs in one process: leave launch and --distributed out")
                if backend or preset:
                    raise InputError(f"{weights}: an ONNX file runs in ONNX Runtime; leave --backend and --preset out")
                from ssd_common.onnx_files import load_onnx, onnx_backend

                net = load_onnx(weights)
                framework, checkpoint, sha256 = onnx_backend(net), Checkpoint({}, net.run), net.sha256
            else:
                checkpoint = load_weights(weights, get_preset(preset) if preset else None)
                framework = load_backend(backend or "torch")
        found = predict_files(framework, checkpoint, paths, out, score_threshold, device, sha256, group)
        for path, objects in found:
            new += 1
            text = ", ".join(f"{item['label']} {item['score']:.2f}" for item in objects) or "nothing"
            print_lines([f"{path}: {text}"], console)
    if group.rank:
        return 0
    count = f"{len(paths)} image" + "s" * (len(paths) != 1)
    earlier = f" ({len(paths) - new} of them earlier)" if new < len(paths) else ""
    text = f"wrote {out}: {count}{earlier}, detections.jsonl and detections.json"
    print_lines([text], console)
    return 0
