"""MXNet's `.params` files, read and written without MXNet.

A file is a list of arrays and a list of their names, every number little-endian::

    magic number    uint64   0x112
    reserved        uint64   0
    arrays          uint64   how many, then one after the other
    names           uint64   as many, or 0 for a list without names; each is its length, uint64, and its bytes

An array is::

    version         uint32   0xf993fac8 (1), 0xf993fac9 (2) or 0xf993faca (3)
    storage         int32    0 dense, 1 row_sparse, 2 csr; not in version 1
    dimensions      int32    how many, then each as int64
    device          int32    1 CPU, 2 GPU, 3 pinned, 5 shared memory; and its number, int32
    type            int32    see `TYPES`
    values                   the last dimension innermost

Version 3 has numpy's shapes: a dimension may be 0, and there may be none, which is one number. In the others an array
without dimensions is one without values, and ends there. The oldest form has no version: the number of dimensions
comes first, and each dimension is a uint32.

There is no checksum. What does not fit together is noticed; a value that was changed is read as it is.

Source of the format: MXNet's `src/ndarray/ndarray.cc`, `NDArray::Load`.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

LIST_MAGIC = 0x112
VERSION_2 = 0xF993FAC9
VERSIONS = {0xF993FAC8: 1, VERSION_2: 2, 0xF993FACA: 3}
TYPES = {0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool"}
"""The type of an array's values by its number in the file; MXNet 1.9 has no others but bfloat16, which numpy lacks."""
STORAGE = {0: "dense", 1: "row_sparse", 2: "csr"}
DEVICES = (1, 2, 3, 5)
CPU = 1
MAX_DIMENSIONS = 32  # numpy 1 has no more
PREFIXES = ("arg:", "aux:")  # the Module API's names say whether a parameter is trained

DAMAGED = "the file is damaged, take another copy"


def read_params(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `.params` file by name, in the file's order.

    A name is without the `arg:` or `aux:` of a Module checkpoint. A list without names has the names "0", "1", ...

    Args:
        path: written by `mx.nd.save`, `mx.npx.save`, Gluon's `save_parameters` or `write_params`.

    Raises:
        InputError: the file is missing, is not such a list, does not fit together, or has an array that is sparse or
            without values. No memory is taken for what the file does not hold.
    """
    if not Path(path).is_file():  # a named pipe would be waited for
        raise InputError(f"{path}: no such weights file")
    try:
        with open(path, "rb") as file:
            return _read_list(_Reader(file, str(path)))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def write_params(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as MXNet's `mx.nd.save` would, for `mx.nd.load` and Gluon's `load_parameters`.

    It is version 2, which `load_parameters` reads whether or not numpy semantics are on, `mx.npx.load` only without.
    The file is written beside `path` and renamed: a reader, or a crash, never sees half of it.

    Args:
        path: usually ends in `.params`.
        arrays: by name; of any shape with at least one value and one dimension, of one of the `TYPES`.

    Raises:
        InputError: an array has another type, no dimension or no value.
    """
    numbers = {np.dtype(name): number for number, name in TYPES.items()}
    parts = [struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))]
    for name, array in arrays.items():
        kind = array.dtype.newbyteorder("=")
        if kind not in numbers:
            raise InputError(f"{path}: array {name} is {kind}; a .params file holds {', '.join(TYPES.values())}")
        if array.ndim == 0 or array.size == 0:
            raise InputError(f"{path}: array {name} has shape {array.shape}; a .params file holds no empty arrays")
        header = VERSION_2, 0, array.ndim, *array.shape, CPU, 0, numbers[kind]
        parts += [struct.pack(f"<Iii{array.ndim}qiii", *header), array.astype(kind.newbyteorder("<")).tobytes()]
    encoded = [name.encode() for name in arrays]
    parts += [struct.pack("<Q", len(arrays)), *(struct.pack("<Q", len(name)) + name for name in encoded)]
    write_atomically(path, b"".join(parts))


class _Reader:
    """A file that is read from front to back, and never asked for more than it holds."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file = file
        self.where = where
        """What is being read, for messages."""
        self.left = os.fstat(file.fileno()).st_size

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` bytes."""
        if size > self.left:
            raise self.error(f"{what} should take {size} bytes, {self.left} are left: {DAMAGED}")
        found = self._file.read(size)
        if len(found) < size:
            raise self.error(f"became shorter while it was read: {DAMAGED}")
        self.left -= size
        return found

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        """Return the next numbers; `layout` is that of `struct`."""
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}"), what))

    def error(self, problem: str) -> InputError:
        """Return the error to raise."""
        return InputError(f"{self.where}: {problem}")


def _read_list(reader: _Reader) -> dict[str, NDArray[Any]]:
    path = reader.where
    magic, reserved, count = reader.numbers("QQQ", "the header")
    if magic != LIST_MAGIC:
        raise reader.error(f"starts with {magic:#x}, a .params file with {LIST_MAGIC:#x}: not a file of MXNet 1")
    if reserved != 0:
        raise reader.error(f"the reserved number is {reserved}, not 0: {DAMAGED}")
    if count > reader.left:
        raise reader.error(f"announces {count} arrays in {reader.left} bytes: {DAMAGED}")
    arrays = []
    for i in range(count):
        reader.where = f"{path}: array {i} of {count}"
        arrays.append(_read_array(reader))
    reader.where = path
    (names_count,) = reader.numbers("Q", "the number of names")
    if names_count not in (0, count):
        raise reader.error(f"has {names_count} names for {count} arrays: {DAMAGED}")
    named: dict[str, NDArray[Any]] = {}
    for i in range(names_count):
        name = _read_name(reader, f"the name of array {i}")
        if name in named:
            raise reader.error(f"two arrays have the name {_shown(name)}, the second is array {i}: {DAMAGED}")
        named[name] = arrays[i]
    if reader.left:
        raise reader.error(f"{reader.left} bytes are left behind the last name: {DAMAGED}")
    return named if names_count else {str(i): array for i, array in enumerate(arrays)}


def _read_name(reader: _Reader, what: str) -> str:
    (length,) = reader.numbers("Q", what)
    encoded = reader.take(length, what)
    try:
        name = encoded.decode()
    except UnicodeDecodeError:
        raise reader.error(f"{what} is {_shown(repr(encoded[:80]))}, which is not UTF-8: {DAMAGED}") from None
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _read_array(reader: _Reader) -> NDArray[Any]:
    shape = _read_shape(reader)
    device, _, number = reader.numbers("iii", "device and type")
    if device not in DEVICES:
        raise reader.error(f"device type {device}, expected one of {DEVICES}: {DAMAGED}")
    if number not in TYPES:
        kinds = ", ".join(f"{known} {name}" for known, name in TYPES.items())
        raise reader.error(f"type {number} cannot be read, only {kinds}: save it as float32")
    dtype = np.dtype(TYPES[number]).newbyteorder("<")
    if math.prod(size for size in shape if size) * dtype.itemsize > sys.maxsize:  # numpy refuses it, even if empty
        raise reader.error(f"shape {shape} is more than a computer can hold: {DAMAGED}")
    values = reader.take(math.prod(shape) * dtype.itemsize, f"shape {shape} of {TYPES[number]}")
    if TYPES[number] == "bool" and values.strip(b"\0\1"):
        raise reader.error(f"a bool is neither 0 nor 1: {DAMAGED}")
    return np.frombuffer(values, dtype).reshape(shape).copy()  # the buffer cannot be written to


def _read_shape(reader: _Reader) -> tuple[int, ...]:
    (first,) = reader.numbers("I", "the version")
    version = VERSIONS.get(first, 0)  # 0: the oldest form
    if version == 0 and first > MAX_DIMENSIONS:
        raise reader.error(f"starts with {first:#x}, which is no version of an array: {DAMAGED}")
    if version >= 2:
        (storage,) = reader.numbers("i", "the storage type")
        if storage not in STORAGE:
            raise reader.error(f"storage type {storage}, expected one of {', '.join(map(str, STORAGE))}: {DAMAGED}")
        if storage != 0:
            raise reader.error(f"{STORAGE[storage]} storage cannot be read: save it as array.tostype('default')")
    (dimensions,) = reader.numbers("i", "the number of dimensions") if version else (first,)
    if dimensions == (-1 if version == 3 else 0):
        raise reader.error("has no shape and no values: initialise the network, run it once, and save it again")
    if not 0 <= dimensions <= MAX_DIMENSIONS:
        raise reader.error(f"{dimensions} dimensions, expected at most {MAX_DIMENSIONS}: {DAMAGED}")
    shape = reader.numbers(f"{dimensions}{'q' if version else 'I'}", f"{dimensions} dimensions")
    for axis, size in enumerate(shape):
        if size < 0 or (size == 0 and version < 3):
            raise reader.error(f"dimension {axis} is {size}: {DAMAGED}")
    return shape


def _shown(text: str) -> str:
    """Return a text of the file as one short line."""
    return text[:80] if text.isprintable() else repr(text[:80])
