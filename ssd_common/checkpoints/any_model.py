"""Weights files of any model, not only of a TinySSD: `.params` and safetensors, each into the other.

Names, types and bits are kept. What safetensors has no place for (the order of the arrays, and how MXNet is to load
them) is kept in its metadata, so that a `.params` file that comes back is the one that MXNet wrote, byte for byte, and
a sha256 behind it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as to_safetensors

from ssd_common.checkpoints.checkpoint import read_safetensors
from ssd_common.checkpoints.first_bytes import first_bytes
from ssd_common.checkpoints.params_file import read_params_list, write_params
from ssd_common.checkpoints.params_list import LIST_MAGIC, ParamsList, shown
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

SUFFIXES = (".params", ".safetensors")
"""What `save_any` writes."""
_KEY = "mxnet_params"  # of the metadata of a safetensors file


def load_any(path: Path) -> tuple[ParamsList, list[str]]:
    """Return the arrays of a `.params` or safetensors file of any model, and the keys of metadata that are not kept.

    The file's content says which kind it is; a `.params` file has no metadata.

    Raises:
        InputError: the file is missing, is neither, is damaged, or holds an array that numpy has no type for.
    """
    path = Path(path)
    start = first_bytes(path)
    if start[:8] == LIST_MAGIC.to_bytes(8, "little"):
        return read_params_list(path), []
    if start[8:9] != b"{":
        raise InputError(f"{path}: neither a .params file of MXNet nor a safetensors file, which --any converts")
    arrays, metadata = read_safetensors(path)
    kept = _kept(metadata)
    order = kept.get("names")
    if isinstance(order, list) and len(order) == len(arrays) and all(isinstance(n, str) for n in order):
        # Another program may have changed the tensors since.
        arrays = {name: arrays[name] for name in order} if set(order) == arrays.keys() else arrays
    params = ParamsList(arrays, kept.get("numpy_shapes") is True, kept.get("named") is not False)
    return params, sorted(metadata.keys() - {_KEY})


def save_any(path: Path, params: ParamsList) -> None:
    """Write arrays of any model to a file whose suffix says which kind.

    Args:
        path: ends in one of the `SUFFIXES`.
        params: as `load_any` returns it. Scalars and empty arrays in a `.params` file make it one that MXNet loads with
            numpy semantics only.

    Raises:
        InputError: unknown suffix, or an array of a type that the kind does not have.
    """
    path = Path(path)
    check_suffix(path)
    if path.suffix.lower() == ".params":
        write_params(path, params.arrays, numpy_shapes=params.numpy_shapes or None, named=params.named)
        return
    kept = {"names": list(params.arrays), "numpy_shapes": params.numpy_shapes, "named": params.named}
    arrays = {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in params.arrays.items()}
    write_atomically(path, to_safetensors(arrays, {_KEY: json.dumps(kept)}))


def check_suffix(path: Path) -> None:
    """Raise InputError unless `save_any` writes such a file."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: --any writes {' and '.join(SUFFIXES)}, not '{path.suffix}'")


def table(params: ParamsList) -> list[str]:
    """Return lines that say what is in a file: each array's name, type and shape, and the number of values in all."""
    arrays = params.arrays
    rows = [("name", "type", "shape")]
    rows += [(shown(name), str(value.dtype), _shape(value.shape)) for name, value in arrays.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{name:<{widths[0]}}  {dtype:<{widths[1]}}  {shape}" for name, dtype, shape in rows]
    values, size = sum(v.size for v in arrays.values()), sum(v.nbytes for v in arrays.values())
    types = ", ".join(sorted({str(value.dtype) for value in arrays.values()}))
    lines.append(f"{len(arrays)} arrays, {values:,} values, {size:,} bytes{f' of {types}' if types else ''}")
    if not params.named:
        lines.append("a list without names: each array is called by its place in it")
    return lines


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) if shape else "one number"


def _kept(metadata: dict[str, str]) -> dict[str, Any]:
    """Return what `save_any` keeps in the metadata, or nothing if another program wrote them."""
    try:
        kept = json.loads(metadata.get(_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
