"""What the verb `compare` does: train both backends alike, climb the ladder, write the report."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ssd_common import parity
from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.config import Preset
from ssd_common.config.settings import Settings
from ssd_common.config.tables import to_dict
from ssd_common.data.dataset import Dataset
from ssd_common.data.sampling import epoch_order, in_order
from ssd_common.figures import curves
from ssd_common.figures.detections import PICTURES_SHOWN, save_pictures
from ssd_common.machine import machine, versions
from ssd_common.output import write_json
from ssd_common.output.console import progress_bar
from ssd_common.parity import report
from ssd_common.parity.report_html import write_html
from ssd_common.runs.folder import RunFolder, format_baselines, trivial_baselines, write_settings
from ssd_common.runs.train import Trained, train_run
from ssd_common.weights import Weights

LADDER_BATCH = 2
"""Pictures a batch on the ladder: float64 is slow, and what is proved does not depend on it."""
DETECTION_BATCH = 10
"""Pictures a batch on rung 13."""


def compare(
    backends: Mapping[str, Backend],
    run: RunFolder,
    data: Dataset,
    val: Dataset,
    preset: Preset,
    weights: Weights,
    *,
    dtype: str,
    steps: int,
    pictures: int,
    rungs: range,
    isa: str,
    devices: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """Train the backends from the same weights on the same batches, climb the ladder, and write the run folder.

    Args:
        backends: torch and mxnet.
        run: where the results go; each backend has a run folder of its own inside.
        data: training pictures.
        val: validation pictures.
        preset: the configuration; with 0 epochs nothing is trained, and `weights` count as trained.
        weights: what both start from.
        dtype: of the ladder, "float64" or "float32".
        steps: of rung 11.
        pictures: of the validation split in which the trained weights detect, on rung 13.
        rungs: which rungs to climb; what they do not need is not decoded.
        isa: what `limit_instructions` was called with, for the report; it also decides what is judged in float32.
        devices: where each backend trains, as returned by its `get_device`; the ladder runs on the CPU.
        command: the command line, for the report.

    Returns:
        The report, as written to `report.json`.
    """
    console = run.console
    trained = {}
    if preset.train.epochs:
        for name, backend in backends.items():
            trained[name] = _train(name, backend, run, data, val, preset, weights, devices[name])
    batch = min(LADDER_BATCH, len(data))
    order = itertools.chain.from_iterable(
        epoch_order(len(data), batch, preset.train.seed, e) for e in itertools.count()
    )
    subject = parity.Subject(
        preset,
        weights,
        parity.LazyBatches(data, list(itertools.islice(order, steps)), preset.model),
        dtype,
        preset.train.seed,
        trained=trained["torch"].checkpoint.weights if trained else weights,
        pictures=parity.LazyBatches(val, in_order(min(pictures, len(val)), DETECTION_BATCH), preset.model),
        isa=isa,
    )
    rows = list(parity.climb(subject, backends, rungs, progress_bar(console, f"ladder, {dtype}, rung")))
    failed = [row.name for row in rows if not row.passed and not row.caused_by]
    # The same for every backend: they saw the same pictures.
    baselines = next((trivial_baselines(result.rows[-1]) for result in trained.values()), {})
    result: dict[str, Any] = {
        "title": "tinyssd: PyTorch and MXNet side by side",
        "command": command,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dtype": dtype,
        "isa": isa,
        "verdict": {"passed": not failed, "failed": failed},
        "ladder": [asdict(row) for row in rows],
        "training": {name: result.rows for name, result in trained.items()},
        "baselines": baselines,
        "versions": versions(),
        "machine": machine(),
        "config": to_dict(preset),
    }
    drawn = _draw(run.path, trained, val, baselines, rows)
    if parity.NUM_RUNGS in rungs:
        drawn |= _draw_same_weights(run.path, backends, subject, val)
    write_json(run.path / "report.json", result)
    write_html(run.path / "report.html", result, drawn)
    console.print(report.ladder_table(rows, console.width))
    if trained:
        last = {name: result.rows[-1] for name, result in trained.items()}
        console.print(report.training_table(last, baselines))
    return result


def _train(
    name: str, backend: Backend, run: RunFolder, data: Dataset, val: Dataset, preset: Preset, weights: Weights, dev: Any
) -> Trained:
    """Train one backend in a run folder of its own."""
    own = RunFolder(run.path / name, run.console)
    config = preset.train
    steps = math.ceil(len(data) / config.batch_size)
    own.log(f"{name}: {config.epochs} epochs of {steps} steps on {data.name}, {len(data)} pictures")
    spec = data.name.removesuffix(":train")
    val_spec = None if val.name == f"{spec}:val" else val.name
    write_settings(own, Settings(spec, len(data), preset, val_spec, name))
    start = Checkpoint(weights, preset.model, config, predict=preset.predict, data=data.name)
    result = train_run(backend, own, data, val, preset, start, dev)
    own.log(format_baselines(result.rows[-1]))
    own.close()
    return result


def _draw(
    path: Path,
    trained: Mapping[str, Trained],
    val: Dataset,
    baselines: Mapping[str, float],
    rows: Sequence[parity.Row],
) -> dict[str, Path]:
    """Draw the curves and the detections of both backends; return the pictures by caption."""
    drawn = {}
    for row in rows:
        if len(row.series) == 2:
            steps = path / "steps.png"
            curves.save_step_losses(steps, row.series, row.tolerance)
            drawn[f"Rung {row.rung}: the loss of every step in {row.dtype}, and its difference"] = steps
    if trained:
        results = {name: result.rows for name, result in trained.items()}
        curves.save_training_curves(path / "curves.png", results, baselines)
        drawn["Training curves of both backends, in float32"] = path / "curves.png"
        curves.save_curve_differences(path / "differences.png", results)
        drawn["The difference of their training curves"] = path / "differences.png"
        save_pictures(path / "detections.png", val, {name: result.detections for name, result in trained.items()})
        caption = "The best detection of each backend, after a training of its own, in the same validation pictures"
        drawn[caption] = path / "detections.png"
    return drawn


def _draw_same_weights(
    path: Path, backends: Mapping[str, Backend], subject: parity.Subject, val: Dataset
) -> dict[str, Path]:
    """Draw what both backends detect with the weights of the last rung; return the picture by its caption."""
    images = [val[i][0] for i in range(min(PICTURES_SHOWN, len(val)))]
    preset, detections = subject.preset, {}
    for name, backend in backends.items():
        net = backend.weights.make_net(preset.model, subject.trained)
        detections[name] = backend.predict.predict(net, images, preset.model, preset.predict)
    save_pictures(path / "same_weights.png", val, detections, mark_differences=True)
    return {"The best detection of each backend with the same trained weights": path / "same_weights.png"}
