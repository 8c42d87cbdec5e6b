"""What an ONNX file of this package says of itself, and the sha256 of all of it; read without the package `onnx`."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ssd_common.checkpoints.checkpoint import table_in, weights_digest
from ssd_common.config import ModelConfig, RunConfig
from ssd_common.config.run import from_table, to_table
from ssd_common.errors import InputError
from ssd_common.weights import Weights

FORMAT = "tinyssd-onnx-1"
PLACEHOLDER = "0" * 64
"""Stands in the place of the file's sha256 while that is computed."""
_KEY = b"\x0a\x06sha256\x12\x40"  # of an entry of the metadata: the name, and that 64 bytes follow
_ENTRY = re.compile(re.escape(_KEY) + rb"([0-9a-f]{64})")


def to_metadata(run: RunConfig, weights: Weights, exported_by: str) -> dict[str, str]:
    """Return the metadata of an ONNX file, the file's own sha256 not yet filled in.

    Args:
        run: the configuration, as our weights files have it.
        weights: what the file is made of, by canonical name.
        exported_by: framework and version.
    """
    model = run.config.model
    return {
        "format": FORMAT,
        "run": json.dumps(to_table(run), sort_keys=True),
        "class_names": json.dumps(model.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing(model), sort_keys=True),
        "exported_by": exported_by,
        "weights_sha256": weights_digest(weights),
        "sha256": PLACEHOLDER,
    }


def preprocessing(model_config: ModelConfig) -> dict[str, Any]:
    """Return what is done to an image before the network sees it, for a program that is not this one."""
    return {
        "layout": "batch, channel, height, width",
        "channels": "RGB",
        "range": [0, 255],
        "subtract": list(model_config.mean),
        "size": [model_config.image_size, model_config.image_size],
        "resize": "bilinear with antialiasing (Pillow), aspect ratio not kept",
    }


def seal(payload: bytes) -> bytes:
    """Return the bytes of a file with its sha256 in the place of `PLACEHOLDER`."""
    assert payload.count(_KEY + PLACEHOLDER.encode()) == 1
    sha256 = hashlib.sha256(payload).hexdigest()
    return payload.replace(_KEY + PLACEHOLDER.encode(), _KEY + sha256.encode())


def is_sealed(payload: bytes) -> bool | None:
    """Return whether the bytes of a file are those that `seal` returned; None if they never were."""
    entries = list(_ENTRY.finditer(payload))
    if not entries:
        return None
    start, end = entries[-1].span(1)  # an exporter writes the metadata behind the graph
    blank = payload[:start] + PLACEHOLDER.encode() + payload[end:]
    return hashlib.sha256(blank).hexdigest() == entries[-1][1].decode()


def from_metadata(metadata: dict[str, str], source: str) -> RunConfig:
    """Return the configuration in the metadata of an ONNX file.

    Args:
        metadata: as ONNX Runtime gives it.
        source: the file, for messages.

    Raises:
        InputError: the file is not one of this package, or one of a newer version.
    """
    if metadata.get("format") != FORMAT:
        raise InputError(f"{source}: an ONNX file, but not one that this version's `tinyssd export` wrote")
    return from_table(table_in(metadata, "run", source, hint="; export the file again"), f"{source}: run")
