"""The verb `compare`."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, arg

from ssd_common.cli.flags import (
    PROGRAM,
    DataSpec,
    Device,
    Int,
    OptionalFloat,
    OptionalInt,
    OptionalPath,
    OptionalPreset,
    OptionalSpec,
    splits,
)
from ssd_common.errors import InputError
from ssd_common.output.console import new_console
from ssd_common.output.folders import check_file

DEMO_PICTURES, DEMO_EPOCHS, DEMO_BATCH = 320, 3, 8  # small batches: more steps in the same time


def compare(
    data: DataSpec = "synthetic",
    val_data: OptionalSpec = None,
    data_dir: OptionalPath = None,
    preset: OptionalPreset = None,
    epochs: Int = DEMO_EPOCHS,
    batch_size: Int = DEMO_BATCH,
    lr: OptionalFloat = None,
    seed: OptionalInt = None,
    image_size: OptionalInt = None,
    limit: Int = DEMO_PICTURES,
    dtype: Literal["float64", "float32"] = "float64",
    isa: Literal["native", "avx2"] = "native",
    steps: Int = 20,
    pictures: Int = 100,
    rungs: Annotated[str | None, arg(metavar="FIRST-LAST", help_behavior_hint="")] = None,
    weights: OptionalPath = None,
    device: Device = "auto",
    out: OptionalPath = None,
    json: OptionalPath = None,
    html: OptionalPath = None,
    with_onnx: FlagCreatePairsOff[bool] = False,
    check: FlagCreatePairsOff[bool] = False,
) -> int:
    """Train both frameworks in the same way, run the checks of the parity ladder, and write a report.

    Args:
        data: Dataset: synthetic, voc:DIR, yolo:DIR, coco:IMAGES,FILE.json, …; see tinyssd data list.
        val_data: Dataset of the validation images (default: the val split of --data).
        data_dir: Folder of the datasets that are files (default: the environment variable TINYSSD_DATA).
        preset: Configuration: book (the default), straight-dope or improved. Both frameworks start from the same
            initial weights. With book, they are those of the MXNet edition of the book.
        epochs: Passes over the training images; 0 runs only the ladder.
        batch_size: Images per step.
        lr: Learning rate (default: the preset's).
        seed: Seed of the initial weights and of the order of the images.
        image_size: Height and width of the network's input, a multiple of 64 (default: the preset's).
        limit: Use only the first INT training images.
        dtype: Precision of the ladder.
        isa: Instructions that both frameworks may use: all that the processor has (native), or at most AVX2 (avx2).
            With avx2, both frameworks add numbers in the same order, and the ladder has narrower tolerances in float32.
        steps: Training steps of rung 11; rung 12 uses the first 8 of them.
        pictures: Validation images of rung 13.
        rungs: Rungs to run, such as 7-11 or 3 (default: all; rung 13 needs --weights or --epochs above 0).
        weights: Weights file to start from, in any format that eval and predict accept (default with --epochs 0 on
            synthetic: the detector that comes with tinyssd).
        device: Where to train: auto, cpu, gpu, or gpu:1. The ladder runs on the CPU.
        out: Run folder to write (default: runs/compare-DATA).
        json: Also write the report to this file, as JSON.
        html: Also write the report to this file, as HTML.
        with_onnx: Also export both networks and run the files in ONNX Runtime (rungs 14 and 15).
        check: Exit with 1 if a rung fails.
    """
    import shutil

    from ssd_common.backends import BACKENDS, load_backend
    from ssd_common.checkpoints.pretrained import NAME, which_weights
    from ssd_common.config import RunConfig, get_preset
    from ssd_common.machine import limit_instructions
    from ssd_common.onnx_files import check_packages
    from ssd_common.parity.ladder import LAST_ONNX_RUNG, NUM_RUNGS, parse_rungs
    from ssd_common.runs.compare import compare_backends
    from ssd_common.runs.folder import RunFolder, new_folder
    from ssd_common.runs.start import change_config, first_checkpoint

    for name, number in (("steps", steps), ("pictures", pictures)):
        if number < 1:
            raise InputError(f"--{name} must be at least 1, got {number}")
    check_file("--json", json)
    check_file("--html", html)
    if weights is None and not epochs and (data, preset, image_size) == ("synthetic", None, None):
        weights = NAME  # a detector of these very images comes with the package
    has_trained = bool(weights or epochs)
    last_rung = LAST_ONNX_RUNG if with_onnx else NUM_RUNGS
    if with_onnx:
        check_packages("onnx", "onnxscript", "onnxruntime")
        if not rungs and not has_trained:
            raise InputError("--with-onnx needs trained weights: --weights, or --epochs above 0; or name --rungs 14-15")
    climbed = parse_rungs(rungs or f"1-{last_rung if has_trained else NUM_RUNGS - 1}", last_rung)
    if NUM_RUNGS in climbed and not has_trained:
        raise InputError(f"--rungs {rungs}: rung {NUM_RUNGS} needs trained weights: --weights, or --epochs above 0")
    changes = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "image_size": image_size}
    if weights and image_size:
        raise InputError("--image-size cannot be changed with --weights, whose file has its own; leave it out")
    config = change_config(get_preset(preset or "book"), changes)
    run_config = RunConfig(config, preset or "book", data=data, val_data=val_data or "", limit=limit)
    training, validation = splits(data, data_dir, limit, val_data)
    if 12 in climbed and steps < 2:
        raise InputError("--steps 1: rung 12 changes the framework between two steps; ask for 2, or for --rungs 1-11")
    limit_instructions(isa)
    backends = {name: load_backend(name) for name in BACKENDS}
    said, weights = which_weights(weights) if weights else ([], None)
    start = first_checkpoint(run_config, training, weights, get_preset(preset) if preset else None)
    devices = {name: framework.data.get_device(device) for name, framework in backends.items()}  # before a folder
    with RunFolder(new_folder(out, f"compare-{training.name.partition(':')[0]}"), new_console(lasting=True)) as run:
        for line in said:
            run.log(line)
        result = compare_backends(
            backends,
            run,
            training,
            validation,
            start,
            dtype=dtype,
            steps=steps,
            pictures=pictures,
            rungs=climbed,
            isa=isa,
            devices=devices,
            command=" ".join([PROGRAM, *sys.argv[1:]]),
        )
        for copy, name in ((json, "report.json"), (html, "report.html")):
            if copy is not None and copy.resolve() != (run.path / name).resolve():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run.path / name, copy)
        failed = result["verdict"]["failed"]
        passed = (
            "every rung of the ladder passed" if len(climbed) >= NUM_RUNGS else "every rung that was climbed passed"
        )
        run.log(f"the ladder failed at: {', '.join(failed)}" if failed else passed)
        run.log(f"wrote {run.path}: report.html, report.json, curves and detections")
    return 1 if check and failed else 0
