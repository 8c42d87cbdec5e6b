"""Weights on disk: this project's files, and those of the chapters."""

from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint, read_safetensors, save_checkpoint
from ssd_common.checkpoints.convert import load_weights
from ssd_common.checkpoints.params_file import read_params, write_params

__all__ = [
    "Checkpoint", "load_checkpoint", "load_weights", "read_params", "read_safetensors", "save_checkpoint",
    "write_params",
]  # fmt: skip
