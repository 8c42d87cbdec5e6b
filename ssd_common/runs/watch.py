"""From step to step of a training run: what is saved, what is told, and when it stops."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsFloat

import numpy as np

from ssd_common.backends import Backend, Net, Trainer
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.data.annotated import image_names
from ssd_common.data.dataset import Dataset, counted
from ssd_common.data.sampling import Batch, epoch_order
from ssd_common.errors import InputError
from ssd_common.group import ALONE, Group
from ssd_common.metrics import EpochMeter
from ssd_common.output.console import progress_bar, quoted
from ssd_common.runs.folder import RunFolder
from ssd_common.runs.stop import Stop

SAVE_EVERY = 10.0
"""Minutes from one save in the middle of an epoch to the next."""
BEYOND_REASON = 100
"""A loss this many times that of the first batch, and at least this, is not one of a network that learns."""
LARGEST_WEIGHT = 1e15
"""No weight and no running variance of a network that learns comes near."""


class Watch:
    """Looks at a training run after each step: saves it every so often, warns, and stops it if it diverges or is told.

    `new_meter` and `batches` are for the `train` of a backend.

    Args:
        backend: which framework.
        net: the network.
        trainer: its optimiser.
        run: the folder.
        data: the training images.
        start: what the run starts from, in this process.
        save_every: minutes between two saves inside an epoch; 0 for none.
        stop: whether it was told to stop.
        group: the processes that train together.
    """

    def __init__(
        self,
        backend: Backend,
        net: Net,
        trainer: Trainer,
        run: RunFolder,
        data: Dataset,
        start: Checkpoint,
        save_every: float,
        stop: Stop,
        group: Group = ALONE,
    ) -> None:
        self._backend, self._net, self._trainer, self._run, self._data = backend, net, trainer, run, data
        self._save_every, self._stop, self._saved_at = save_every, stop, time.monotonic()
        self._group = group
        if group.size > 1:
            group.told = lambda: stop.signal
        self.checkpoint = start
        self.steps_per_epoch = steps_per_epoch(data, start)
        self._step = start.step
        self._meter = EpochMeter()
        self._usual = run.rows[0]["loss"] if run.rows else math.nan  # a loss that is nothing to worry about
        self._is_sound, self._has_warned = True, False

    def new_meter(self) -> EpochMeter:
        """Return the meter of the epoch that begins, or that goes on."""
        trained = self._step % self.steps_per_epoch
        self._meter = _Meter(self._after_step, self.checkpoint.sums if trained else {}, trained)
        return self._meter

    def batches(self, made: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches of an epoch, with a progress bar; a signal waits for the end of the step at work."""
        self._stop.waits = True
        try:
            for batch in progress_bar(self._run.console, f"{self._backend.name} epoch")(made):
                self._batch = batch
                yield batch
        except InputError:  # an image that cannot be read
            self.save()
            raise
        finally:
            self._stop.waits = False
        self._stop.check()

    def _after_step(self, metrics: Mapping[str, float]) -> None:
        self._step += 1
        is_end = self._meter.steps == self.steps_per_epoch
        loss = (metrics["cls_loss"] + metrics["bbox_loss"]) / metrics["examples"]
        if math.isnan(self._usual):
            self._usual = loss
        weights = self._backend.weights.get_weights(self._net)
        largest = float(np.max([np.abs(value).max() for value in weights.values()]))  # nan if one is
        if not math.isfinite(loss):
            self._diverge(f"the loss is {loss}")
        if not largest <= LARGEST_WEIGHT:
            self._diverge(f"the largest weight is {largest:.1e}")
        limit = BEYOND_REASON * max(1.0, self._usual)
        if is_end and (mean := self._meter.summary()["loss"]) > limit:
            self._diverge(f"the mean loss is {mean:.1e}, in the beginning it was {self._usual:.1e},")
        self._is_sound = is_end or loss <= limit
        if loss > limit and not self._has_warned:
            self._has_warned = True
            was = f"in the beginning it was {self._usual:.1e}: --lr may be too high"
            self._run.log(f"warning: {self._backend.name}: the loss is {loss:.1e} in {self._place()}, {was}")
        is_due = self._save_every and time.monotonic() - self._saved_at >= 60 * self._save_every
        told = self._group.signal if self._group.size > 1 else self._stop.signal  # all processes stop at the same step
        if is_end or is_due or told:
            self.save()
        if told:
            self._stop.signal = told
            self._stop.check()

    def save(self) -> None:
        """Write `last.safetensors`, unless it holds this step already, or the loss is beyond reason."""
        if self._step > self.checkpoint.step and self._is_sound:
            weights = self._backend.weights.get_weights(self._net)
            velocity = self._backend.weights.get_velocity(self._net, self._trainer)
            epoch, sums = self._step // self.steps_per_epoch, dict(self._meter.sums)
            self.checkpoint = Checkpoint(weights, self.checkpoint.run, velocity, epoch, self._step, sums)
            self._run.save(self.checkpoint, best=False)
        self._saved_at = time.monotonic()

    def _position(self) -> tuple[int, int]:
        """Return the epoch and the step in it that is at work, both from 0."""
        return divmod(self._step - 1, self.steps_per_epoch)

    def _place(self) -> str:
        """Return where the step at work is: "epoch 2, step 3 of 12"."""
        epoch, step = self._position()
        return f"epoch {epoch + 1}, step {step + 1} of {self.steps_per_epoch}"

    def _diverge(self, what: str) -> None:
        """Keep the batch at work, and raise InputError."""
        epoch, step = self._position()
        train = self.checkpoint.config.train
        indices = epoch_order(len(self._data), train.batch_size, train.seed, epoch)[step]
        names = image_names(self._data, indices.tolist())
        content, (images, labels) = io.BytesIO(), self._batch
        np.savez(content, images=images, labels=labels, indices=indices, names=np.array(names))
        path = self._run.write("diverged.npz", content.getvalue())
        self._run.log(f"{what} in {self._place()}; the images: {', '.join(names)}")
        names = names[:3] + [f"{len(names) - 3} more"] * (len(names) > 3)
        again = f"tinyssd train --resume {quoted(str(self._run.path))} --lr {train.lr / 10:g}"
        raise InputError(
            f"{self._backend.name}: {what} in {self._place()} (images {', '.join(names)}; the batch is in {path}): "
            f"lower --lr; {again} starts a new run from the weights after {self._run.saved}, the last that are saved"
        )


class _Meter(EpochMeter):
    """Reads every step at once, and calls a function with what it measured."""

    def __init__(self, after_step: Any, sums: Mapping[str, float], steps: int) -> None:
        super().__init__(sums, steps)
        self._after_step = after_step

    def add(self, metrics: Mapping[str, SupportsFloat]) -> None:
        measured = {name: float(value) for name, value in metrics.items()}
        super().add(measured)
        self._read()
        self._after_step(measured)


def steps_per_epoch(data: Dataset, start: Checkpoint) -> int:
    """Return how many batches an epoch has.

    Raises:
        InputError: the checkpoint was trained on another number of images. Of one that was stopped inside an epoch only
            the number of its batches is known.
    """
    steps = math.ceil(len(data) / start.config.train.batch_size)
    if start.step and start.step // steps != start.epoch:
        raise InputError(
            f"{data.name}: has {counted(len(data), 'image')} now, and so {counted(steps, 'step')} an epoch, but "
            f"{counted(start.epoch, 'epoch')} and {counted(start.step, 'step')} are trained: put the images back, or "
            "start a new run with --weights"
        )
    seen = int(start.sums.get("examples", 0)) if start.step % steps == 0 else 0
    if seen not in (0, len(data)):
        raise InputError(
            f"{data.name}: has {counted(len(data), 'image')} now, but {seen} in the last epoch that was trained: "
            "put the images back, or start a new run with --weights"
        )
    return steps
