"""Rungs 7 to 11 of the ladder: the networks with the same weights and the same batches.

The reference is PyTorch in float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssd_common import losses
from ssd_common.backends import Backend
from ssd_common.config import TrainConfig
from ssd_common.parity.rungs import Array, Results, Subject, max_difference, worst
from ssd_common.schedule import learning_rate
from ssd_common.weights import Weights

SCHEDULE_STEPS = 600
"""Steps of the training whose first ones the ladder takes: the highest rate is too much for batches of two images."""

Compute = Callable[[Backend, Subject, str], Any]


@dataclass(frozen=True)
class Outputs:
    """The class logits and offsets of a network: with running statistics, and with those of the batch."""

    inference: list[Array]
    training: list[Array]


def measure_logits(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute the class logits and offsets of the first batch, in inference and in training."""

    def compute(b: Backend, subject: Subject, dtype: str) -> Outputs:
        X, _ = _batch(b, subject, dtype)
        found = []
        for training in (False, True):  # a new network each: training moves the running statistics
            _, *outputs = b.predict.forward(_net(b, subject, dtype), X, training)
            found.append([b.data.to_numpy(array) for array in outputs])
        return Outputs(*found)

    return _compute(subject, backends, compute)


def inference_difference(found: Outputs, reference: Outputs) -> float:
    """Return the largest difference relative to the largest number, of logits or offsets, in inference."""
    return _relative_difference(found.inference, reference.inference)


def training_difference(found: Outputs, reference: Outputs) -> float:
    """Return the largest difference relative to the largest number, of logits or offsets, in training."""
    return _relative_difference(found.training, reference.training)


def _relative_difference(found: list[Array], reference: list[Array]) -> float:
    return worst(max_difference(f, r) / np.abs(r).max() for f, r in zip(found, reference, strict=True))


def measure_loss(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute the loss of every image of the first batch; numpy computes it from PyTorch's predictions."""
    config = subject.config.train.loss
    in_numpy = {}

    def compute(b: Backend, subject: Subject, dtype: str) -> Array:
        net, (X, Y) = _net(b, subject, dtype), _batch(b, subject, dtype)
        anchors, cls_preds, bbox_preds = b.predict.forward(net, X, training=True)
        bbox_labels, bbox_masks, cls_labels = b.targets.multibox_target(anchors, Y)
        arrays = (cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks)
        cls, labels, bbox, offsets, masks = (b.data.to_numpy(array) for array in arrays)
        in_numpy[b.name, dtype] = losses.calc_loss(cls, labels, bbox, offsets, masks, config)
        loss: Array = b.data.to_numpy(b.losses.calc_loss(*arrays, config))
        return loss

    results = _compute(subject, backends, compute)
    sides = {"numpy": in_numpy["torch", subject.dtype], **results.sides}
    return dataclasses.replace(results, sides=sides)


def measure_gradients(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute the gradient of every parameter, for the first batch."""

    def compute(b: Backend, subject: Subject, dtype: str) -> Weights:
        net, (X, Y) = _net(b, subject, dtype), _batch(b, subject, dtype)
        b.train.forward_backward(net, X, Y, subject.config.train.loss)
        gradients: Weights = b.weights.get_gradients(net)
        return gradients

    return _compute(subject, backends, compute)


def worst_gradient(found: Weights, reference: Weights) -> float:
    """Return the norm of the difference of a tensor's gradients over the norm of the second, the worst of all tensors.

    Batch normalisation takes away whatever the bias of the convolution before it adds: its exact gradient is 0, so
    rounding is measured against the gradient of that convolution's weight.
    """

    def norm_of(name: str) -> float:
        weight = reference[f"{name.rsplit('.', 1)[0]}.weight"]
        return _norm(weight if name.startswith("blk_") and weight.ndim == 4 else reference[name])

    if found.keys() != reference.keys():
        return float("inf")
    # A block without positive anchors has offsets whose gradient is exactly 0 on both sides.
    return worst(_norm(found[name] - reference[name]) / (norm_of(name) or 1) for name in reference)


def whole_gradient(found: Weights, reference: Weights) -> float:
    """Return the norm of the difference of two gradients over the norm of the second, all tensors taken together."""
    if found.keys() != reference.keys():
        return float("inf")
    differences = [_norm(found[name] - reference[name]) for name in reference]
    return float(np.linalg.norm(differences) / np.linalg.norm([_norm(values) for values in reference.values()]))


def measure_one_step(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute every parameter after one step.

    Not the running statistics: PyTorch keeps the unbiased variance of the batches, MXNet the biased one, and MXNet
    stores their momentum of 0.9 as float32.
    """

    def compute(b: Backend, subject: Subject, dtype: str) -> list[Array]:
        config = as_mxnet_stores_it(subject.config.train)
        net = _net(b, subject, dtype)
        run_steps(b, net, b.train.make_trainer(net, config), subject, config, dtype, range(1))
        return [value for name, value in b.weights.get_weights(net).items() if "running" not in name]

    return _compute(subject, backends, compute)


def measure_steps(subject: Subject, backends: Mapping[str, Backend]) -> Results:
    """Compute the loss at every step of a training run."""

    def compute(b: Backend, subject: Subject, dtype: str) -> Array:
        config = config_of_steps(subject)
        net = _net(b, subject, dtype)
        return np.array(run_steps(b, net, b.train.make_trainer(net, config), subject, config, dtype))

    results = _compute(subject, backends, compute)
    return dataclasses.replace(results, series={name: losses.tolist() for name, losses in results.sides.items()})


def _compute(subject: Subject, backends: Mapping[str, Backend], compute: Compute) -> Results:
    """Return the result of each backend, and that of PyTorch in float64."""
    sides = {name: compute(backend, subject, subject.dtype) for name, backend in backends.items()}
    is_reference = subject.dtype == "float64"
    reference = sides["torch"] if is_reference else compute(backends["torch"], subject, "float64")
    return Results(sides, reference, "torch float64")


def _net(b: Backend, subject: Subject, dtype: str) -> Any:
    return b.weights.make_net(subject.config.model, subject.weights, dtype=dtype)


def _batch(b: Backend, subject: Subject, dtype: str, step: int = 0) -> tuple[Any, Any]:
    images, labels = subject.batches[step]
    return b.data.to_device(images, dtype=dtype), b.data.to_device(labels, dtype=dtype)


def run_steps(
    b: Backend,
    net: Any,
    trainer: Any,
    subject: Subject,
    config: TrainConfig,
    dtype: str,
    steps: Iterable[int] | None = None,
) -> list[float]:
    """Train a network on some of the subject's batches, by default all, and return the mean loss of each.

    The learning rate is that of the first steps of a schedule, rounded as `as_mxnet_stores_it` rounds it.
    """
    mean_losses, num_steps = [], max(SCHEDULE_STEPS, len(subject.batches))
    for step in range(len(subject.batches)) if steps is None else steps:
        b.train.set_learning_rate(trainer, float(np.float32(learning_rate(config, step, num_steps))))
        metrics = b.train.train_step(net, trainer, *_batch(b, subject, dtype, step), config.loss)
        mean_losses.append((float(metrics["cls_loss"]) + float(metrics["bbox_loss"])) / metrics["examples"])
    return mean_losses


def _norm(values: Array) -> float:
    return float(np.linalg.norm(values.astype(np.float64).ravel()))


def as_mxnet_stores_it(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the numbers of the optimiser rounded to float32, as MXNet keeps them.

    A learning rate of 0.2 is 0.200000003 there; with 0.2 on one side only, two float64 training runs drift apart.
    """
    return dataclasses.replace(
        config,
        lr=float(np.float32(config.lr)),
        momentum=float(np.float32(config.momentum)),
        weight_decay=float(np.float32(config.weight_decay)),
    )


def config_of_steps(subject: Subject) -> TrainConfig:
    """Return the configuration of a run of several steps: as MXNet stores it, in float32 with all background.

    Of two background anchors that are hard alike, rounding says which one counts, and the next loss is another one: in
    float32 a hundredth was measured after two to six steps. In float64 no two were alike.
    """
    config = as_mxnet_stores_it(subject.config.train)
    if subject.dtype == "float64":
        return config
    return dataclasses.replace(config, loss=dataclasses.replace(config.loss, negatives_per_positive=0))
