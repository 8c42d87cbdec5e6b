"""A process of a group other than the first: it trains and measures along, and writes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import load_checkpoint
from ssd_common.data import DataSource
from ssd_common.group import Group
from ssd_common.metrics import EpochMeter
from ssd_common.runs.stop import Stop, Stopped, stop_signals
from ssd_common.runs.train import agree_on_images, make_both, measure
from ssd_common.runs.watch import steps_per_epoch


def follow_run(backend: Backend, data_dir: Path | None, device: str, compile: bool | None, group: Group) -> None:
    """Train the run of process 0 until it ends.

    Args:
        backend: which framework.
        data_dir: as in `load_dataset`.
        device: as on the command line.
        compile: see the backend's `make_net`.
        group: as the backend's `distributed.join` returned it; its rank is not 0.

    Raises:
        Stopped: all processes stop, since one was told to.
        InputError: what process 0 says, or another process has ended.
    """
    with stop_signals() as stop:
        group.told = lambda: stop.signal
        _follow(backend, data_dir, backend.data.get_device(device), compile, group, stop)


def _follow(
    backend: Backend, data_dir: Path | None, device: Any, compile: bool | None, group: Group, stop: Stop
) -> None:
    stop.waits = stop.is_silent = True  # for process 0: all stop at the same step, and it says so
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.safetensors"
        path.write_bytes(group.broadcast())
        start = load_checkpoint(path)
    (measures_first,) = group.collect([])
    with group.together():
        source = DataSource(start.run.data, data_dir)
        data = source.load("train", start.run.limit or None)
        val = (DataSource(start.run.val_data, data_dir) if start.run.val_data else source).load("val")
    agree_on_images(data, val, group)
    steps = steps_per_epoch(data, start)
    net, trainer = make_both(backend, start, steps, device, compile)
    counts = iter([start.step % steps])  # of the epoch that goes on; the others begin at 0

    def new_meter() -> EpochMeter:
        return _Meter(group, next(counts, 0))

    model, config = start.config.model, start.config.train
    first = start.step // steps
    if measures_first:
        measure(backend, net, val, start.config, device, group)
    for _ in backend.train.train(net, trainer, data, model, config, first, device, new_meter=new_meter, group=group):
        measure(backend, net, val, start.config, device, group)


class _Meter(EpochMeter):
    """Counts the steps, and stops when any process was told to."""

    def __init__(self, group: Group, steps: int) -> None:
        super().__init__({}, steps)
        self._group = group

    def add(self, metrics: Mapping[str, SupportsFloat]) -> None:
        super().add(metrics)
        if self._group.signal:
            raise Stopped(self._group.signal)
