"""The weights file: safetensors, with its configuration and a sha256 of everything in the metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from ssd_common.config import Config, RunConfig
from ssd_common.config.run import PARTS, from_table, to_table
from ssd_common.errors import InputError, one_line
from ssd_common.metrics import DIVISORS, SUMS
from ssd_common.output.atomic import write_atomically
from ssd_common.weights import Weights, check_velocity, check_weights

FORMAT = "tinyssd-weights-2"
FORMATS = (FORMAT, "tinyssd-weights-1")
"""What this version reads; the second is that of version 0.1.0."""

NUMPY_TYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL", "C64")
"""The types of safetensors that numpy has by itself; another package may have added others to it."""
_VELOCITY = "momentum/"  # prefix of the optimiser's tensors in a weights file


@dataclass(frozen=True)
class Checkpoint:
    """All that a weights file holds: enough to predict, and to go on training in either framework."""

    weights: Weights
    run: RunConfig
    """How, and on what, they were trained."""
    velocity: Weights = field(default_factory=dict)
    """Velocity `v` of each parameter, in PyTorch's convention `v = momentum * v + gradient`; empty without momentum."""
    epoch: int = 0
    """Epochs trained."""
    step: int = 0
    """Batches trained; in the middle of an epoch more than its epochs have."""
    sums: dict[str, float] = field(default_factory=dict)
    """What the batches of the epoch at work, or of the last one at its end, add up to, see `EpochMeter`."""

    @property
    def config(self) -> Config:
        """The model, how it was trained, and how its predictions become detections unless told otherwise."""
        return self.run.config


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as safetensors, see `encode_checkpoint`: a reader, or a crash, never sees half of it.

    Args:
        path: ends in `.safetensors`.
        checkpoint: its weights must be those of its model.

    Raises:
        InputError: the weights are not those of the model, or not finite.
    """
    write_atomically(path, encode_checkpoint(checkpoint, str(path)))


def encode_checkpoint(checkpoint: Checkpoint, path: str) -> bytes:
    """Return a checkpoint as safetensors, with its configuration and a sha256 of everything in the metadata.

    Raises:
        InputError: the weights are not those of the model, or not finite; the message names `path`.
    """
    check_weights(checkpoint.weights, checkpoint.config.model, path)
    tensors = dict(checkpoint.weights)
    tensors |= {_VELOCITY + name: value for name, value in checkpoint.velocity.items()}
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}  # safetensors scrambles others
    metadata = {
        "format": FORMAT,
        "run": json.dumps(to_table(checkpoint.run), sort_keys=True),
        "epoch": str(checkpoint.epoch),
        "step": str(checkpoint.step),
    }
    if checkpoint.sums:
        metadata["sums"] = json.dumps(checkpoint.sums, sort_keys=True)
    metadata["sha256"] = _digest(tensors, metadata)
    return to_safetensors(tensors, metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a file that `save_checkpoint` wrote, in this version or in 0.1.0.

    Raises:
        InputError: the file is missing, is not a weights file of this package, or its content is not what was written.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") not in FORMATS:
        raise InputError(f"{path}: a safetensors file, but not a weights file of tinyssd that this version can read")
    if metadata.pop("sha256", None) != _digest(tensors, metadata):
        raise InputError(f"{path}: the sha256 does not match; the file is damaged, take another copy")
    if metadata["format"] == FORMAT:
        run = from_table(table_in(metadata, "run", path), f"{path}: run")
    else:
        parts = {name: table_in(metadata, name, path) for name in PARTS if name in metadata or name != "predict"}
        run = from_table({"preset": "custom", "data": metadata.get("data", ""), **parts}, str(path))
    weights = {name: value for name, value in tensors.items() if not name.startswith(_VELOCITY)}
    velocity = {n.removeprefix(_VELOCITY): v for n, v in tensors.items() if n.startswith(_VELOCITY)}
    check_weights(weights, run.config.model, str(path))
    check_velocity(velocity, weights, f"{path}: {_VELOCITY}")
    epoch, step = _count(metadata, "epoch", path), _count(metadata, "step", path)
    return Checkpoint(weights, run, velocity, epoch, step, _sums(metadata, path))


def read_safetensors(path: Path, *, widen: bool = False) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors and the metadata of any safetensors file.

    Args:
        path: the file.
        widen: return bfloat16, which numpy lacks, as float32; no bit is lost.

    Raises:
        InputError: the file is missing, is not a safetensors file, or has a type that numpy lacks.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = dict(file.metadata() or {})
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a dict
            for name, kind in kinds.items():
                if kind not in NUMPY_TYPES and not (widen and kind == "BF16"):
                    raise TypeError(f"tensor {name:.80} is {kind}, which numpy lacks: save it as float32")
            wide = _widened(path, [name for name, kind in kinds.items() if kind == "BF16"])
            return {name: wide[name] if name in wide else file.get_tensor(name) for name in kinds}, metadata
    except (safetensors.SafetensorError, OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        hint = ": take another copy" if isinstance(error, safetensors.SafetensorError) else ""
        raise InputError(f"{path}: not a readable safetensors file ({one_line(error)}){hint}") from None


def _widened(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return tensors of bfloat16 by name: float32 has their bits in its upper half."""
    tensors: dict[str, NDArray[np.float32]] = {}
    if not names:
        return tensors
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name in names:
            first, end = header[name]["data_offsets"]
            file.seek(8 + length + first)
            upper = np.frombuffer(file.read(end - first), "<u2").astype(np.uint32)
            tensors[name] = (upper << 16).view(np.float32).reshape(header[name]["shape"])
    return tensors


def table_in(metadata: dict[str, str], name: str, path: Path | str, hint: str = "") -> dict[str, Any]:
    """Return the table that the metadata of a file hold as JSON.

    Args:
        metadata: of the file.
        name: of the table.
        path: the file, for messages.
        hint: added to the message about text that is not JSON.

    Raises:
        InputError: there is none, or it is no table.
    """
    if name not in metadata:
        raise InputError(f"{path}: the metadata lack '{name}'; was the file written by a newer version?")
    try:
        table = json.loads(metadata[name])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: '{name}' in the metadata is not JSON ({error}){hint}") from None
    if not isinstance(table, dict):
        raise InputError(f"{path}: '{name}' in the metadata must be a table of values, got {table!r:.80}")
    return table


def _count(metadata: dict[str, str], name: str, path: Path) -> int:
    text = metadata.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise InputError(f"{path}: '{name}' in the metadata must be a whole number, got {text!r:.80}")
    return int(text)


def _sums(metadata: dict[str, str], path: Path) -> dict[str, float]:
    sums = table_in(metadata, "sums", path) if "sums" in metadata else {}
    good = all(type(value) in (int, float) and 0 <= value < 1e300 for value in sums.values())
    if sums and not (good and set(sums) == set(SUMS) and min(sums[name] for name in DIVISORS) > 0):
        raise InputError(
            f"{path}: 'sums' in the metadata must be numbers, one each of {', '.join(SUMS)}; got {sums!r:.80}"
        )
    return sums


def _digest(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> str:
    """Return the sha256 of the metadata and of the tensors, see `weights_digest`."""
    return weights_digest(tensors, json.dumps(metadata, sort_keys=True).encode())


def weights_digest(tensors: Weights, head: bytes = b"") -> str:
    """Return the sha256 of names, types, shapes and bytes of tensors, and of the bytes `head` before them."""
    digest = hashlib.sha256(head)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
