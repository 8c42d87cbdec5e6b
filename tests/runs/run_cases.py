"""A backend that plays back losses and scores, and runs of it."""

from types import SimpleNamespace
from unittest import mock

import numpy as np

from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ssd_common.config import Config, ModelConfig, RunConfig, TrainConfig
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.runs.train import EVALUATED, train_run

MODEL = ModelConfig(image_size=64)
BATCH = np.zeros((1, 3, 64, 64), np.float32), np.full((1, 1, 5), -1, np.float32)
SUMS = {"examples": 1, "cls_loss": 1, "bbox_loss": 0, "correct": 1, "positives": 1, "anchors": 9}
SUMS |= {"abs_error": 1, "abs_offsets": 1, "offsets": 9}
"""What a batch of one image measures."""


def scripted_backend(weights, scores, on_step=lambda: None):
    """Return a backend whose epochs have the given training losses, one a step, and validation average precision.

    Args:
        weights: what it has trained, whenever it is asked.
        scores: for each epoch the loss of every step, or of its only one, and the precision; an exception is raised.
        on_step: called in each step.
    """
    rows = iter(scores)
    current = {}

    def train(net, trainer, data, model, config, first_epoch, device, progress, new_meter, group):
        for epoch, (losses, current["ap"]) in enumerate(rows, start=first_epoch + 1):
            meter = new_meter()
            losses = np.atleast_1d(losses)
            for _, loss in zip(progress([BATCH] * len(losses)), losses, strict=True):
                on_step()
                meter.add(SUMS | {"cls_loss": loss})
            yield {"epoch": epoch, **meter.summary()}

    def evaluate(net, val, model, config, loss, batch_size, device, group):
        if isinstance(current["ap"], Exception):
            raise current["ap"]
        return dict.fromkeys(EVALUATED, 0.0), [current["ap"]], []

    current["ap"] = 0.0
    return SimpleNamespace(
        name="scripted",
        data=SimpleNamespace(get_device=lambda name: None),
        weights=SimpleNamespace(
            make_net=lambda *_, **__: None,
            get_weights=lambda net: weights,
            get_velocity=lambda *_: {},
            set_velocity=lambda *_: None,
        ),
        train=SimpleNamespace(make_trainer=lambda *_: None, set_learning_rate=lambda *_: None, train=train),
        evaluate=SimpleNamespace(evaluate=evaluate),
    )


def play(run, weights, scores, start=0, begin=None, on_step=lambda: None, **options):
    """Train on as many images as an epoch has losses, one a step; begin after `start` epochs of one step each."""
    data = SyntheticDataset(num_images=np.size(scores[0][0]) if scores else 1)
    backend = scripted_backend(weights, scores, on_step)
    scored = mock.patch("ssd_common.runs.train.mean_average_precision", lambda found, *_: {"ap": found[0], "ap50": 0.0})
    config = Config(MODEL, TrainConfig(epochs=9, batch_size=1))
    begin = begin or Checkpoint(weights, RunConfig(config, data="synthetic"), epoch=start, step=start)
    with scored:
        return train_run(backend, run, data, data, begin, "cpu", **options)


def kept_epochs(run):
    """Return the epochs of the weights that a run folder has."""
    return {path.stem: load_checkpoint(path).epoch for path in (run.path / "weights").iterdir()}
