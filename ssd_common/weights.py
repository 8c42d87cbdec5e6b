"""Weights outside any framework: canonical names and shapes, seeded initial values, and the weights file.

The canonical name of a parameter is its place in the network: `blk_1.3.weight` is the fourth layer of block 1. These
are the names of the book's PyTorch edition; both backends have the same structure and map onto them one to one.
Convolution weights are `(out, in, height, width)`, as in both frameworks.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from ssd_common.config import BASE_CHANNELS, BLOCK_CHANNELS, NUM_BLOCKS, ModelConfig, PredictConfig, TrainConfig
from ssd_common.config_tables import from_dict, to_dict
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

Weights = dict[str, NDArray[np.floating]]

FORMAT = "tinyssd-weights-1"
_MOMENTUM = "momentum/"  # prefix of the optimiser's tensors in a weights file
_STATISTICS = ("running_mean", "running_var")


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and running statistic of a model by canonical name, in forward order."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, out_channels: int, in_channels: int) -> None:
        shapes[f"{name}.weight"] = (out_channels, in_channels, 3, 3)
        shapes[f"{name}.bias"] = (out_channels,)

    def down_sample(name: str, out_channels: int, in_channels: int) -> None:
        for first in (0, 3):  # convolution, batch normalisation, ReLU; twice
            convolution(f"{name}.{first}", out_channels, in_channels)
            for part in ("weight", "bias", *_STATISTICS):
                shapes[f"{name}.{first + 1}.{part}"] = (out_channels,)
            in_channels = out_channels

    channels = 3
    for i in range(NUM_BLOCKS):
        if i == 0:
            for j, out_channels in enumerate(BASE_CHANNELS):
                down_sample(f"blk_0.{j}", out_channels, channels)
                channels = out_channels
        elif i < NUM_BLOCKS - 1:
            down_sample(f"blk_{i}", BLOCK_CHANNELS, channels)
            channels = BLOCK_CHANNELS
        per_unit = config.anchors.per_unit(i)
        convolution(f"cls_{i}", per_unit * (config.num_classes + 1), channels)
        convolution(f"bbox_{i}", per_unit * 4, channels)
    return shapes


def count_parameters(config: ModelConfig) -> int:
    """Return the number of trained values of a model, running statistics not counted."""
    return sum(math.prod(s) for name, s in parameter_shapes(config).items() if not name.endswith(_STATISTICS))


def initial_weights(config: ModelConfig, train: TrainConfig, dtype: str = "float32") -> Weights:
    """Return the initial value of every parameter, the same for both backends.

    Each tensor has its own random stream, from the seed and its name. Biases of Xavier are 0; batch normalisation
    starts as the identity.

    Args:
        config: the model.
        train: `init`, `init_magnitude` and `seed` are used. "xavier" draws weights from ±sqrt(magnitude / mean(fan_in,
            fan_out)), "torch" draws weights and biases from ±1 / sqrt(fan_in).
        dtype: of the result; the values are drawn in float64 and rounded to float32 in any case.

    Source: Gluon's `init.Xavier` and the default of PyTorch's `nn.Conv2d`.
    """
    weights = {}
    shapes = parameter_shapes(config)
    for name, shape in shapes.items():
        layer, part = name.rsplit(".", 1)
        kernel = shapes[f"{layer}.weight"]
        rng = np.random.default_rng([train.seed, zlib.crc32(name.encode())])
        if len(kernel) == 1:  # batch normalisation
            value = np.full(shape, 1.0 if part in ("weight", "running_var") else 0.0)
        else:
            fan_out, fan_in = kernel[0] * 9, kernel[1] * 9
            if train.init == "torch":
                value = rng.uniform(-1, 1, shape) / math.sqrt(fan_in)
            elif part == "weight":
                value = rng.uniform(-1, 1, shape) * math.sqrt(train.init_magnitude * 2 / (fan_in + fan_out))
            else:
                value = np.zeros(shape)
        weights[name] = value.astype(np.float32).astype(dtype)
    return weights


def check_weights(
    weights: Weights, config: ModelConfig, source: str, source_names: Mapping[str, str] | None = None
) -> None:
    """Raise InputError, naming the tensor, unless `weights` are those of the model and finite.

    Args:
        weights: numpy arrays by canonical name.
        config: the model.
        source: the file they come from, for messages.
        source_names: what the file itself calls each tensor, by canonical name; by default the same.
    """
    shapes = parameter_shapes(config)
    for name, shape in shapes.items():
        tensor = f"{source}: tensor {(source_names or {}).get(name, name)}"
        if name not in weights:
            raise InputError(f"{tensor} is missing; is it a TinySSD of {config.num_classes} classes?")
        if weights[name].shape != shape:
            raise InputError(f"{tensor} should be {shape}, found {weights[name].shape}")
        if not np.isfinite(weights[name]).all():
            raise InputError(f"{tensor} holds values that are not finite")
    unknown = sorted(set(weights) - set(shapes))
    if unknown:
        raise InputError(f"{source}: tensor {unknown[0]} does not belong to the model")


@dataclass(frozen=True)
class Checkpoint:
    """All that a weights file holds: enough to predict, and to go on training in either framework."""

    weights: Weights
    model: ModelConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    momentum: Weights = field(default_factory=dict)
    """Velocity `v` of each parameter, in PyTorch's convention `v = momentum * v + gradient`; empty without momentum."""
    epoch: int = 0
    """Epochs trained."""
    step: int = 0
    """Batches trained."""
    data: str = ""
    """The data set it was trained on, as given on the command line."""
    predict: PredictConfig = field(default_factory=PredictConfig)
    """How its predictions become detections, unless told otherwise."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as safetensors, with its configuration and a sha256 of everything in the metadata.

    The file is written beside `path` and renamed: a reader, or a crash, never sees half of it.

    Args:
        path: ends in `.safetensors`.
        checkpoint: its weights must be those of its model.

    Raises:
        InputError: the weights are not those of the model, or not finite.
    """
    check_weights(checkpoint.weights, checkpoint.model, str(path))
    tensors = dict(checkpoint.weights)
    tensors |= {_MOMENTUM + name: value for name, value in checkpoint.momentum.items()}
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}  # safetensors scrambles others
    metadata = {
        "format": FORMAT,
        "model": json.dumps(to_dict(checkpoint.model), sort_keys=True),
        "train": json.dumps(to_dict(checkpoint.train), sort_keys=True),
        "epoch": str(checkpoint.epoch),
        "step": str(checkpoint.step),
        "data": checkpoint.data,
        "predict": json.dumps(to_dict(checkpoint.predict), sort_keys=True),
    }
    metadata["sha256"] = _digest(tensors, metadata)
    write_atomically(path, to_safetensors(tensors, metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a file that `save_checkpoint` wrote.

    Raises:
        InputError: the file is missing, is not a weights file of this package, or its content is not what was written.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: a safetensors file, but not a weights file of tinyssd")
    if metadata.pop("sha256", None) != _digest(tensors, metadata):
        raise InputError(f"{path}: the sha256 does not match; the file is damaged, take another copy")
    model = from_dict(ModelConfig, json.loads(metadata["model"]), f"{path}: model")
    predict = PredictConfig()
    if "predict" in metadata:  # older files lack it; read from an empty table, top_k would be None
        predict = from_dict(PredictConfig, json.loads(metadata["predict"]), f"{path}: predict")
    weights = {name: value for name, value in tensors.items() if not name.startswith(_MOMENTUM)}
    check_weights(weights, model, str(path))
    return Checkpoint(
        weights=weights,
        model=model,
        train=from_dict(TrainConfig, json.loads(metadata["train"]), f"{path}: train"),
        momentum={n.removeprefix(_MOMENTUM): v for n, v in tensors.items() if n.startswith(_MOMENTUM)},
        epoch=int(metadata["epoch"]),
        step=int(metadata["step"]),
        data=metadata["data"],
        predict=predict,
    )


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors and the metadata of any safetensors file.

    Raises:
        InputError: the file is missing, is not a safetensors file, or has a type that numpy lacks.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, OSError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable safetensors file ({reason})") from None


def _digest(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> str:
    """Return the sha256 of names, types, shapes and bytes of the tensors, and of the metadata."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
