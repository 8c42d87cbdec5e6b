"""The weights file: safetensors, with its configuration and a sha256 of everything in the metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from ssd_common.config import ModelConfig, PredictConfig, TrainConfig
from ssd_common.config.tables import from_dict, to_dict
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically
from ssd_common.weights import Weights, check_weights

FORMAT = "tinyssd-weights-1"


_MOMENTUM = "momentum/"  # prefix of the optimiser's tensors in a weights file


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
