"""JSON files, with what JSON has no word for: numbers that are not finite, numpy's numbers, paths."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from ssd_common.output.atomic import write_atomically


def write_json(path: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """Write a report as JSON that every parser accepts, keys sorted, so that two reports can be compared by line.

    None is null. A number that is not finite is the string "NaN", "Infinity" or "-Infinity": JSON has no such number,
    and null would make a loss that diverged look like one that was not measured. `float()` reads all three.

    Raises:
        TypeError: a value has no plain JSON form.
    """
    text = json.dumps(_plain(report), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, encoded(f"{text}\n"))


def encoded(text: str) -> bytes:
    """UTF-8; a byte of the command line that was no UTF-8 is written as an escape, which JSON understands."""
    return text.encode(errors="backslashreplace")


def _plain(value: Any) -> Any:
    """The value without numpy types and without floats that JSON cannot write."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy's, which is not imported for this: `tinyssd --help` must not wait for it
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
