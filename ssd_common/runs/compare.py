"""What the verb `compare` does: train both backends alike, climb the ladder, write the report."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ssd_common import parity
from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.config import Config
from ssd_common.config.tables import to_dict
from ssd_common.data.dataset import Dataset
from ssd_common.data.sampling import epoch_order, in_order
from ssd_common.figures import curves
from ssd_common.figures.detections import save_pictures
from ssd_common.machine import machine, threads, versions
from ssd_common.output import write_json
from ssd_common.output.console import progress_bar
from ssd_common.parity import report
from ssd_common.parity.report_html import write_html
from ssd_common.runs.folder import RunFolder, format_baselines, trivial_baselines
from ssd_common.runs.stop import stoppable
from ssd_common.runs.train import Trained, train_run
from ssd_common.runs.watch import steps_per_epoch
from ssd_common.weights import Weights

LADDER_BATCH = 2
"""Images a batch on the ladder: float64 is slow, and what is proved does not depend on it."""
SCENES = 6
"""Validation images in which the detections with the same weights are drawn."""
SHOWN = 0.5
"""The lowest score that is drawn there."""
DETECTION_BATCH = 10
"""Images a batch on rung 13."""


def compare_backends(
    backends: Mapping[str, Backend],
    run: RunFolder,
    data: Dataset,
    val: Dataset,
    start: Checkpoint,
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
        data: training images.
        val: validation images.
        start: what both start from, and the configuration; with 0 epochs nothing is trained, and its weights count as
            trained.
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
    console, config, weights = run.console, start.config, start.weights
    trained = {}
    if config.train.epochs:
        for name, backend in backends.items():
            trained[name] = _train(name, backend, run, data, val, start, devices[name])
    final = trained["torch"].checkpoint.weights if trained else weights
    same = {}
    if parity.NUM_RUNGS in rungs and not trained:  # then the detector is the first that is shown
        same = _draw_same_weights(run, backends, config, final, val)
    batch = min(LADDER_BATCH, len(data))
    order = itertools.chain.from_iterable(
        epoch_order(len(data), batch, config.train.seed, e) for e in itertools.count()
    )
    subject = parity.Subject(
        config,
        weights,
        parity.LazyBatches(data, list(itertools.islice(order, steps)), config.model),
        dtype,
        config.train.seed,
        trained=final,
        pictures=parity.LazyBatches(val, in_order(min(pictures, len(val)), DETECTION_BATCH), config.model),
        isa=isa,
    )
    rows = list(parity.climb(subject, backends, rungs, progress_bar(console, f"ladder, {dtype}, rung")))
    failed = [row.name for row in rows if not row.passed and not row.caused_by]
    # The same for every backend: they saw the same images.
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
        "config": {"name": start.run.based_on, **to_dict(config)},
    }
    drawn = same | _draw(run.path, trained, val, baselines, rows)
    if parity.NUM_RUNGS in rungs and trained:
        drawn |= _draw_same_weights(run, backends, config, final, val)
    write_json(run.path / "report.json", result)
    write_html(run.path / "report.html", result, drawn)
    console.print(report.ladder_table(rows, console.width))
    if trained:
        last = {name: result.rows[-1] for name, result in trained.items()}
        console.print(report.training_table(last, baselines))
    return result


def _train(
    name: str, backend: Backend, run: RunFolder, data: Dataset, val: Dataset, start: Checkpoint, device: Any
) -> Trained:
    """Train one backend in a run folder of its own."""
    train_config = start.config.train
    steps = steps_per_epoch(data, start)
    start = dataclasses.replace(start, run=dataclasses.replace(start.run, backend=name, threads=threads()))
    with RunFolder(run.path / name, run.console) as own:
        own.log(f"{name}: {train_config.epochs} epochs of {steps} steps on {data.name}, {len(data)} images")
        with stoppable(own) as stop:
            result = train_run(backend, own, data, val, start, device, stop=stop)
        own.log(format_baselines(result.rows[-1]))
    return result


def _draw(
    path: Path,
    trained: Mapping[str, Trained],
    val: Dataset,
    baselines: Mapping[str, float],
    rows: Sequence[parity.Row],
) -> dict[str, Path]:
    """Draw the curves and the detections of both backends; return the images by caption."""
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
        caption = "The best detection of each backend, after a training of its own, in the same validation images"
        drawn[caption] = path / "detections.png"
    return drawn


def _draw_same_weights(
    run: RunFolder, backends: Mapping[str, Backend], config: Config, weights: Weights, val: Dataset
) -> dict[str, Path]:
    """Draw and print what both backends detect with the same weights; return the image by its caption."""
    images, detections = [val[i].image for i in range(min(SCENES, len(val)))], {}
    for name, backend in backends.items():
        net = backend.weights.make_net(config.model, weights)
        found = backend.predict.predict(net, images, config.model, config.predict)
        detections[name] = [rows[rows[:, 1] >= SHOWN] for rows in found]
    path = run.path / "same_weights.png"
    save_pictures(path, val, detections, mark_differences=True, count=len(images))
    for name, found in detections.items():
        scores = " ".join(f"{score:.2f}" for rows in found for score in rows[:, 1])
        run.log(f"{name}: {sum(map(len, found))} objects in {len(images)} new images, scores {scores or 'none'}")
    caption = f"What each backend detects with the same weights, from a score of {SHOWN:g} on"
    return {caption: path}
