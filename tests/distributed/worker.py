"""What a process of a test's job does: `python -m tests.distributed.worker BACKEND FOLDER`; images are in FOLDER/in."""

import dataclasses
import sys
from pathlib import Path
from types import MethodType

import numpy as np

from ssd_common.backends import load_backend
from ssd_common.checkpoints import load_weights
from ssd_common.checkpoints.pretrained import FILE
from ssd_common.config import LossConfig, TrainConfig
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.errors import InputError
from ssd_common.group import ALONE
from ssd_common.runs.predict import predict_files

TRAINED = load_weights(FILE)  # initial weights without batch normalisation train nothing but overflows
MODEL = dataclasses.replace(TRAINED.config.model, image_size=64)
TRAIN = TrainConfig(epochs=3, batch_size=8, lr=0.01, momentum=0.9, loss=LossConfig(negatives_per_positive=3))
DATA = SyntheticDataset(num_images=27, image_size=64)  # batches of 8, 8, 8 and 3: the last has not one for each of four


def freeze_batch_norm(backend, net):
    """Let batch normalisation use its running statistics, in training, too."""
    if backend.name == "torch":
        from torch.nn import BatchNorm2d

        for layer in net.modules():
            if isinstance(layer, BatchNorm2d):
                layer.eval()
                layer.train = MethodType(lambda self, mode=True: self, layer)
    else:
        from mxnet.gluon.nn import BatchNorm

        net.apply(lambda layer: isinstance(layer, BatchNorm) and layer._kwargs.update(use_global_stats=True))


def train(backend, group=ALONE):
    """Return what 12 steps in float64 leave, by name: weights, velocities, and the metrics of every epoch."""
    net = backend.weights.make_net(MODEL, TRAINED.weights, dtype="float64")
    freeze_batch_norm(backend, net)
    trainer = backend.train.make_trainer(net, TRAIN)

    def in_float64(batches):
        return ((images.astype(np.float64), labels.astype(np.float64)) for images, labels in batches)

    rows = list(backend.train.train(net, trainer, DATA, MODEL, TRAIN, progress=in_float64, group=group))
    left = {f"velocity.{name}": value for name, value in backend.weights.get_velocity(net, trainer).items()}
    left |= {
        name: [row[name] for row in rows] for name in rows[0] if name not in ("examples_per_second", "data_seconds")
    }
    return left | backend.weights.get_weights(net)


class Spoilt(SyntheticDataset):
    """One of its images, in the second batch, cannot be read."""

    def __getitem__(self, index):
        if index == 12:
            raise InputError("image 12 cannot be read")
        return super().__getitem__(index)


def measure(backend, group=ALONE):
    """Return what an evaluation gives, by name, and which error ends that of a dataset with a damaged image."""
    net = backend.weights.make_net(MODEL, TRAINED.weights)
    metrics, detections, truths = backend.evaluate.evaluate(net, DATA, MODEL, batch_size=8, group=group)
    left = {name: value for name, value in metrics.items() if name not in ("examples_per_second", "data_seconds")}
    left |= {f"detections {i}": rows for i, rows in enumerate(detections)}
    left |= {f"{name} {i}": value for i, true in enumerate(truths) for name, value in true._asdict().items()}
    try:
        backend.evaluate.evaluate(net, Spoilt(num_images=27, image_size=64), MODEL, batch_size=8, group=group)
    except InputError as error:
        left["error"] = f"{type(error).__name__}: {error}"
    return left


def predict(backend, folder, out, group=ALONE):
    """Return the images whose lines were written, in their order, and the error at the end."""
    left = {"images": [], "error": ""}
    try:
        for path, _ in predict_files(backend, TRAINED, sorted((folder / "in").iterdir()), out, 0.5, "cpu", group=group):
            left["images"].append(path.name)
    except InputError as error:
        left["error"] = f"{type(error).__name__}: {error}"
    return left


def work(backend, folder, group=ALONE):
    """Return all that is compared with one process, by name."""
    predicted = predict(backend, folder, folder / "out", group)
    return {"trained": train(backend, group), "measured": measure(backend, group), "predicted": predicted}


if __name__ == "__main__":
    backend, folder = load_backend(sys.argv[1]), Path(sys.argv[2])
    group = backend.distributed.join()
    for name, left in work(backend, folder, group).items():
        np.savez(folder / f"{name}.{group.rank}.npz", **left)
    backend.distributed.leave(group)
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert not any("gloo" in name for name in threads), f"one that outlives Python's end can abort: {threads}"
