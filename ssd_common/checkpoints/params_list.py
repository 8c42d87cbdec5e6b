"""The list of arrays that is a `.params` file of MXNet: its format, and how it is read from front to back.

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
comes first, and each dimension is a uint32. A sparse array has the shape of its stored values ahead of its own, and
types and shapes of its indices behind its type.

MXNet's own files have no checksum: what does not fit together is noticed, a value that was changed is read as it is.
`write_params` puts one behind the last name, where MXNet does not look::

    magic number    8 bytes  "tinyssd1"
    sha256          32 bytes of everything ahead of the magic number

Source of the format: MXNet's `src/ndarray/ndarray.cc`, `NDArray::Load`.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ssd_common.errors import InputError

LIST_MAGIC = 0x112
VERSION_2, VERSION_3 = 0xF993FAC9, 0xF993FACA
VERSIONS = {0xF993FAC8: 1, VERSION_2: 2, VERSION_3: 3}
TYPES = {0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool"}
"""The type of an array's values by its number in the file; MXNet 1.9 has no others but bfloat16, which numpy lacks."""
BFLOAT16 = 12
PART = 1 << 20  # what is skipped is read in parts, for the sha256
STORAGE = {0: "dense", 1: "row_sparse", 2: "csr"}
INDICES = {1: 1, 2: 2}
"""How many arrays of indices a sparse array has, by storage type."""
DEVICES = (1, 2, 3, 5)
CPU = 1
MAX_DIMENSIONS = 32  # numpy 1 has no more
PREFIXES = ("arg:", "aux:")  # the Module API's names say whether a parameter is trained
SEAL = b"tinyssd1"
"""Stands between the last name and the sha256, in a file that `write_params` wrote."""

DAMAGED = "the file is damaged, take another copy"
NO_VALUES = "has no shape and no values: initialise the network, run it once, and save it again"


@dataclass(frozen=True)
class ParamsList:
    """What a `.params` file holds."""

    arrays: dict[str, NDArray[Any]]
    """By name, in the file's order."""
    numpy_shapes: bool = False
    """Whether it was saved with numpy semantics, as version 3: MXNet loads it with them only."""
    named: bool = True
    """Without names, MXNet loads a list, and the names are "0", "1", ..."""


class Reader:
    """A file that is read from front to back, and never asked for more than it holds."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file = file
        self.where = where
        """What is being read, for messages."""
        self.left = os.fstat(file.fileno()).st_size
        self._digest = hashlib.sha256()

    def into(self, buffer: memoryview, what: str) -> None:
        """Fill a buffer of bytes with the next ones."""
        self.check(len(buffer), what)
        if self._file.readinto(buffer) < len(buffer):  # type: ignore[attr-defined] # BinaryIO is not that exact
            raise self.error(f"became shorter while it was read: {DAMAGED}")
        self._digest.update(buffer)
        self.left -= len(buffer)

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` bytes."""
        self.check(size, what)
        found = bytearray(size)
        self.into(memoryview(found), what)
        return bytes(found)

    def check(self, size: int, what: str) -> None:
        """Raise unless `size` bytes are left."""
        if size > self.left:
            raise self.error(f"{what} should take {size} bytes, {self.left} are left: {DAMAGED}")

    def skip(self, size: int, what: str) -> None:
        """Go past the next `size` bytes, a part at a time."""
        self.check(size, what)
        for start in range(0, size, PART):
            self.take(min(PART, size - start), what)

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        """Return the next numbers; `layout` is that of `struct`."""
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}"), what))

    def digest(self) -> bytes:
        """Return the sha256 of everything that was read."""
        return self._digest.digest()

    def error(self, problem: str) -> InputError:
        """Return the error to raise."""
        return InputError(f"{self.where}: {problem}")


def read_list(reader: Reader, keep_prefixes: bool) -> ParamsList:
    """Return everything that is in a file; with an array that cannot be read, raise the error that names it."""
    path = reader.where
    magic, reserved, count = reader.numbers("QQQ", "the header")
    if magic != LIST_MAGIC:
        raise reader.error(f"starts with {magic:#x}, a .params file with {LIST_MAGIC:#x}: not a file of MXNet 1")
    if reserved != 0:
        raise reader.error(f"the reserved number is {reserved}, not 0: {DAMAGED}")
    if count > reader.left:
        raise reader.error(f"announces {count} arrays in {reader.left} bytes: {DAMAGED}")
    arrays: list[NDArray[Any]] = []
    versions: set[int] = set()
    refused: dict[int, str] = {}  # what is wrong with an array; its name comes at the end of the file
    names: list[str] = []
    try:
        for i in range(count):
            reader.where = f"{path}: array {i} of {count}"
            array = _read_array(reader, versions)
            if isinstance(array, str):
                refused[i] = array
            else:
                arrays.append(array)
        reader.where = path
        names = _read_names(reader, count, keep_prefixes)
        _check_end(reader)
    except InputError:
        if not refused:
            raise
    for i, problem in refused.items():
        name = f", {shown(names[i])}" if names else ""
        raise InputError(f"{path}: array {i} of {count}{name}: {problem}")
    found = dict(zip(names or map(str, range(count)), arrays, strict=True))
    return ParamsList(found, versions == {3}, bool(names) or not count)


def _read_names(reader: Reader, count: int, keep_prefixes: bool) -> list[str]:
    (names_count,) = reader.numbers("Q", "the number of names")
    if names_count not in (0, count):
        raise reader.error(f"has {names_count} names for {count} arrays: {DAMAGED}")
    names: dict[str, None] = {}
    for i in range(names_count):
        name = _read_name(reader, f"the name of array {i}")
        if not keep_prefixes and name.startswith(PREFIXES):
            name = name[len(PREFIXES[0]) :]
        if name in names:
            raise reader.error(f"two arrays have the name {shown(name)}, the second is array {i}: {DAMAGED}")
        names[name] = None
    return list(names)


def _read_name(reader: Reader, what: str) -> str:
    (length,) = reader.numbers("Q", what)
    encoded = reader.take(length, what)
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        raise reader.error(f"{what} is {shown(repr(encoded[:80]))}, which is not UTF-8: {DAMAGED}") from None


def _check_end(reader: Reader) -> None:
    """Raise unless the file ends here, or after the sha256 of what was read."""
    digest = reader.digest()
    if reader.left == len(SEAL) + len(digest) and reader.take(len(SEAL), "the end") == SEAL:
        if reader.take(len(digest), "the sha256") != digest:
            raise reader.error(f"the sha256 does not match: {DAMAGED}")
    elif reader.left:
        raise reader.error(f"{reader.left} bytes are left behind the last name: {DAMAGED}")


def _read_array(reader: Reader, versions: set[int]) -> NDArray[Any] | str:
    """Return an array, or what is wrong with one that can be gone past."""
    (first,) = reader.numbers("I", "the version")
    version = VERSIONS.get(first, 0)  # 0: the oldest form
    if version == 0 and first > MAX_DIMENSIONS:
        raise reader.error(f"starts with {first:#x}, which is no version of an array: {DAMAGED}")
    versions.add(version)
    storage = 0
    if version >= 2:
        (storage,) = reader.numbers("i", "the storage type")
        if storage not in STORAGE:
            raise reader.error(f"storage type {storage}, expected one of {', '.join(map(str, STORAGE))}: {DAMAGED}")
    stored = _read_shape(reader, version, may_be_empty=True) if storage else None
    shape = _read_shape(reader, version, dimensions=None if version else first)
    if shape is None:
        return NO_VALUES
    device, _, number = reader.numbers("iii", "device and type")
    if device not in DEVICES:
        raise reader.error(f"device type {device}, expected one of {DEVICES}: {DAMAGED}")
    if storage:
        _skip_sparse(reader, version, storage, stored, number)
        return f"{STORAGE[storage]} storage cannot be read: save it as array.tostype('default')"
    if number == BFLOAT16:
        reader.skip(_bytes(reader, shape, 2), f"shape {shape} of bfloat16")
        return "bfloat16 cannot be read, because numpy lacks it: save it as float32"
    if number not in TYPES:
        kinds = ", ".join(f"{known} {name}" for known, name in TYPES.items())
        raise reader.error(f"type {number} cannot be read, only {kinds}: save it as float32")
    dtype = np.dtype(TYPES[number]).newbyteorder("<")
    what = f"shape {shape} of {TYPES[number]}"
    reader.check(_bytes(reader, shape, dtype.itemsize), what)
    array = np.empty(shape, dtype)
    values = array.reshape(-1).view(np.uint8)
    reader.into(values.data, what)
    if TYPES[number] == "bool" and (values > 1).any():
        raise reader.error(f"a bool is neither 0 nor 1: {DAMAGED}")
    return array


def _read_shape(
    reader: Reader, version: int, *, dimensions: int | None = None, may_be_empty: bool = False
) -> tuple[int, ...] | None:
    """Return a shape, or None for that of an array without values; the oldest form's `dimensions` are known."""
    if dimensions is None:
        (dimensions,) = reader.numbers("i", "the number of dimensions")
    if dimensions == (-1 if version == 3 else 0):
        return None
    if not 0 <= dimensions <= MAX_DIMENSIONS:
        raise reader.error(f"{dimensions} dimensions, expected at most {MAX_DIMENSIONS}: {DAMAGED}")
    shape = reader.numbers(f"{dimensions}{'q' if version else 'I'}", f"{dimensions} dimensions")
    for axis, size in enumerate(shape):
        if size < 0 or (size == 0 and version < 3 and not may_be_empty):
            raise reader.error(f"dimension {axis} is {size}: {DAMAGED}")
    return shape


def _bytes(reader: Reader, shape: tuple[int, ...], itemsize: int) -> int:
    """Return how many bytes an array takes."""
    if math.prod(size for size in shape if size) * itemsize > sys.maxsize:  # numpy refuses it, even if empty
        raise reader.error(f"shape {shape} is more than a computer can hold: {DAMAGED}")
    return math.prod(shape) * itemsize


def _skip_sparse(reader: Reader, version: int, storage: int, stored: tuple[int, ...] | None, number: int) -> None:
    """Go past the indices' types and shapes, the stored values and the indices of a sparse array."""
    arrays = [(number, stored)]
    for _ in range(INDICES[storage]):
        (kind,) = reader.numbers("i", "the type of the indices")
        arrays.append((kind, _read_shape(reader, version, may_be_empty=True)))
    for kind, shape in arrays:
        if kind not in TYPES:
            raise reader.error(f"a sparse array of type {kind}: {DAMAGED}")
        size = _bytes(reader, shape, np.dtype(TYPES[kind]).itemsize) if shape is not None else 0
        reader.skip(size, f"shape {shape} of {TYPES[kind]}")


def shown(text: str) -> str:
    """Return a text of the file as one short line."""
    return text[:80] if text.isprintable() else repr(text[:80])
