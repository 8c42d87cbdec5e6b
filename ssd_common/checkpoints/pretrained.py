"""The trained detector that comes with this package: it finds bananas."""

from __future__ import annotations

from pathlib import Path

NAME = Path("pretrained")
"""Stands for the file wherever a weights file is named, unless there is a file of this name."""
FILE = Path(__file__).parents[1] / "pretrained" / "bananas.safetensors"
"""The weights; beside them are the `config.toml` of their training run and their sha256."""
DESCRIPTION = "the detector of bananas that comes with tinyssd"


def resolve(path: Path) -> Path:
    """Return the path of a weights file: that of the detector which comes with this package for the name of it."""
    return FILE if path == NAME and not path.exists() else path


def which_weights(path: Path) -> tuple[list[str], Path]:
    """Return the line that says so, if a path stands for the detector which comes with this package, and the file."""
    file = resolve(path)
    return ([f"weights: {DESCRIPTION}; --weights FILE names others"] if file == FILE else []), file
