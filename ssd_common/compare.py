"""What the verb `compare` does: train both backends alike, climb the ladder, write the report."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

from ssd_common import parity, plotting, report
from ssd_common.backends import Backend, machine, versions
from ssd_common.config import Preset, to_dict
from ssd_common.data.dataset import Dataset
from ssd_common.data.sampling import Batch, batches, epoch_order
from ssd_common.experiment import (
    Settings,
    Trained,
    format_baselines,
    save_pictures,
    train_run,
    trivial_baselines,
    write_settings,
)
from ssd_common.report_html import write_html
from ssd_common.runs import RunFolder, progress_bar
from ssd_common.weights import Checkpoint, Weights

LADDER_BATCH = 2
"""Pictures a batch on the ladder: float64 is slow, and what is proved does not depend on it."""


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
    rungs: range,
    devices: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """Train the backends from the same weights on the same batches, climb the ladder, and write the run folder.

    Args:
        backends: torch and mxnet.
        run: where the results go; each backend has a run folder of its own inside.
        data: training pictures.
        val: validation pictures.
        preset: the configuration; with 0 epochs nothing is trained.
        weights: initial weights.
        dtype: of the ladder, "float64" or "float32".
        steps: of the last rung.
        rungs: which rungs to climb.
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
    rows = list(_climb(backends, console, data, preset, weights, dtype, steps, rungs))
    failed = [row.name for row in rows if not row.passed]
    # The same for every backend: they saw the same pictures.
    baselines = next((trivial_baselines(result.rows[-1]) for result in trained.values()), {})
    result: dict[str, Any] = {
        "title": "tinyssd: PyTorch and MXNet side by side",
        "command": command,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dtype": dtype,
        "verdict": {"passed": not failed, "failed": failed},
        "ladder": [asdict(row) for row in rows],
        "training": {name: result.rows for name, result in trained.items()},
        "baselines": baselines,
        "versions": versions(),
        "machine": machine(),
        "config": to_dict(preset),
    }
    pictures = _draw(run.path, trained, val, baselines)
    report.write_json(run.path / "report.json", result)
    write_html(run.path / "report.html", result, pictures)
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
    write_settings(own, Settings(data.name.partition(":")[0], len(data), preset), name)
    start = Checkpoint(weights, preset.model, config, data=data.name)
    result = train_run(backend, own, data, val, preset, start, dev)
    own.log(format_baselines(result.rows[-1]))
    own.close()
    return result


def _climb(
    backends: Mapping[str, Backend],
    console: Console,
    data: Dataset,
    preset: Preset,
    weights: Weights,
    dtype: str,
    steps: int,
    rungs: range,
) -> Iterator[parity.Row]:
    """Yield the rows of the ladder, showing which rung is being climbed."""
    batch = min(LADDER_BATCH, len(data))
    order = itertools.chain.from_iterable(
        epoch_order(len(data), batch, preset.train.seed, e) for e in itertools.count()
    )
    first: list[Batch] = list(batches(data, itertools.islice(order, steps), preset.model))
    subject = parity.Subject(preset, weights, first, dtype, preset.train.seed)
    numbers = progress_bar(console, f"ladder, {dtype}, rung")(rungs)
    for number in numbers:
        yield from parity.climb(subject, backends, range(number, number + 1))


def _draw(path: Path, trained: Mapping[str, Trained], val: Dataset, baselines: Mapping[str, float]) -> dict[str, Path]:
    """Draw the curves and the detections of both backends; return the pictures by caption."""
    if not trained:
        return {}
    curves, detections = path / "curves.png", path / "detections.png"
    plotting.save_training_curves(curves, {name: result.rows for name, result in trained.items()}, baselines)
    save_pictures(detections, val, {name: result.detections for name, result in trained.items()})
    return {
        "Training curves of both backends": curves,
        "The best detection of each backend in the same validation pictures": detections,
    }
