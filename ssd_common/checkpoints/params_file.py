"""MXNet's `.params` files, read and written without MXNet; their format stands in `params_list.py`."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_common.checkpoints.params_list import (
    CPU,
    LIST_MAGIC,
    SEAL,
    TYPES,
    VERSION_2,
    VERSION_3,
    ParamsList,
    Reader,
    read_list,
    shown,
)
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically


def read_params(path: Path, *, keep_prefixes: bool = False) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `.params` file by name, in the file's order.

    A list without names has the names "0", "1", ... A sha256 that `write_params` wrote is checked.

    Args:
        path: written by `mx.nd.save`, `mx.npx.save`, Gluon's `save_parameters` or `write_params`.
        keep_prefixes: keep the `arg:` or `aux:` in front of the names of a Module checkpoint.

    Raises:
        InputError: the file is missing, is not such a list, does not fit together, is not what `write_params` wrote, or
            has an array that is sparse or without values. No memory is taken for what the file does not hold.
    """
    return read_params_list(path, keep_prefixes=keep_prefixes).arrays


def read_params_list(path: Path, *, keep_prefixes: bool = True) -> ParamsList:
    """Return everything that is in a `.params` file; see `read_params`."""
    if not Path(path).is_file():  # a named pipe would be waited for
        raise InputError(f"{path}: no such weights file")
    try:
        with open(path, "rb") as file:
            return read_list(Reader(file, str(path)), keep_prefixes)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def write_params(
    path: Path, arrays: Mapping[str, NDArray[Any]], *, numpy_shapes: bool | None = None, named: bool = True
) -> None:
    """Write arrays as MXNet's `mx.nd.save` would, for `mx.nd.load` and Gluon's `load_parameters`, and a sha256 behind.

    The file is written beside `path` and renamed: a reader, or a crash, never sees half of it.

    Args:
        path: usually ends in `.params`.
        arrays: by name; each of one of the `TYPES`.
        numpy_shapes: write version 3, as MXNet does with numpy semantics, and which only MXNet with numpy semantics
            loads; otherwise version 2, which `load_parameters` reads with and without, `mx.npx.load` only without. By
            default version 3 if an array has no dimension or no value, which version 2 cannot hold.
        named: write the names as well; without them MXNet loads a list.

    Raises:
        InputError: an array has another type, or a shape that version 2 cannot hold.
    """
    numbers = {np.dtype(name): number for number, name in TYPES.items()}
    if numpy_shapes is None:
        numpy_shapes = any(array.size == 0 or array.ndim == 0 for array in arrays.values())
    parts = [struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))]
    for name, array in arrays.items():
        kind = array.dtype.newbyteorder("=")
        if kind not in numbers:
            raise InputError(f"{path}: array {shown(name)} is {kind}; .params holds {', '.join(TYPES.values())}")
        if not numpy_shapes and (array.ndim == 0 or array.size == 0):
            problem = f"has shape {array.shape}, which needs numpy_shapes: MXNet's classic arrays are never empty"
            raise InputError(f"{path}: array {shown(name)} {problem}")
        header = VERSION_3 if numpy_shapes else VERSION_2, 0, array.ndim, *array.shape, CPU, 0, numbers[kind]
        parts += [struct.pack(f"<Iii{array.ndim}qiii", *header), array.astype(kind.newbyteorder("<")).tobytes()]
    encoded = [_encoded(name, path) for name in arrays] if named else []
    parts += [struct.pack("<Q", len(encoded)), *(struct.pack("<Q", len(name)) + name for name in encoded)]
    content = b"".join(parts)
    write_atomically(path, content + SEAL + hashlib.sha256(content).digest())


def _encoded(name: str, path: Path) -> bytes:
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: the name {name!a:.80} cannot be written as UTF-8: rename the array") from None
