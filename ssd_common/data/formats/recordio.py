"""RecordIO, MXNet's container of packed images, read and written without MXNet.

A `.rec` file is a row of records. A record is one part, or several::

    magic number   uint32   0xced7230a, little-endian as every number here
    length word    uint32   3 bits: 0 whole, 1 first, 2 middle, 3 last part; 29 bits: bytes of data
    data                    padded with zeros to a multiple of 4 bytes

A payload that contains the magic number at a multiple of 4 is cut there: the magic number is left out and the two sides
become parts of their own. So those four bytes, aligned, always begin a part. The `.idx` file beside it is text, one
line `key<tab>position of the record` for each record.

Source of the format: dmlc-core's `recordio.h` and MXNet's `recordio.py`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ssd_common.errors import InputError, stand_in
from ssd_common.output.atomic import write_atomically

MAGIC = struct.pack("<I", 0xCED7230A)
WHOLE, FIRST, MIDDLE, LAST = range(4)
PART_HEADER = struct.Struct("<4sI")
LENGTH_BITS = 29

DAMAGED = "the file is damaged, or its .idx belongs to another file: delete the .idx, or fetch both again"
BAD_INDEX = "delete the .idx, and the .rec is read without it"


def read_records(path: str | Path) -> Iterator[bytes]:
    """Yield the payload of every record of a `.rec` file, in the file's order.

    Each record is checked as it is reached, against the file's size and before any memory is taken for it.

    Raises:
        InputError: no such file, or a damaged record: names the file, the record's number and byte, and the value.
    """
    for _, payload in _walk(path):
        yield payload


class IndexedRecordReader:
    """The records of a `.rec` file by key.

    `keys` are those of the index, in its order. Without an index the file is scanned once and the keys are 0, 1, 2, ...
    The file is opened anew for each record, so that a reader can be shared by threads, inherited through a fork, and
    pickled, and never needs closing.

    Args:
        path: the `.rec` file.
        index_path: the `.idx` file; by default the one beside it if there is one.

    Raises:
        InputError: a file is missing, a line of the index is wrong, or the index lacks a record or has one twice.
    """

    def __init__(self, path: str | Path, index_path: str | Path | None = None) -> None:
        self.path = Path(path)
        beside = self.path.with_suffix(".idx")
        if index_path is None and not beside.exists():
            self._positions = {number: position for number, (position, _) in enumerate(_walk(path, keep=False))}
        else:
            self._positions = _read_index(Path(index_path or beside), self.path)
        self.keys = tuple(self._positions)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, key: int) -> bytes:
        """Return the payload of the record with this key.

        Raises:
            KeyError: no record has this key.
            InputError: the record is damaged, or the index does not point to a record.
        """
        position = self._positions[key]
        with _open(self.path) as file:
            return _read_record(file, position, f"{self.path}: record {key}")[0]


class RecordWriter:
    """Writes a `.rec` file and, if asked, its `.idx`; the bytes are the ones MXNet writes.

    Use it in a `with` statement. The records go to a temporary file in the same folder. A normal exit puts it in the
    place of `path` and then writes the index; an exception removes it and leaves old files as they were. Missing
    folders are made.

    Args:
        path: the `.rec` file.
        index_path: the `.idx` file; none is written by default.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, path: str | Path, index_path: str | Path | None = None) -> None:
        self.path = Path(path)
        self.index_path = None if index_path is None else Path(index_path)
        self._positions: dict[int, int] = {}
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._temporary, "wb")  # noqa: SIM115 (close() and _discard() close it)
        except OSError as error:
            raise InputError(f"{self.path}: cannot write there ({error.strerror}): choose another folder") from error

    def write(self, payload: bytes, key: int | None = None) -> None:
        """Append one record; `key`, for the index, is by default the number of records already written.

        Raises:
            InputError: the payload has 2**29 bytes or more, or the key is negative or was used before.
        """
        key = len(self._positions) if key is None else key
        if key < 0 or key in self._positions:
            raise InputError(f"{self.path}: key {key} is negative or already used: give each record a key of its own")
        if len(payload) >> LENGTH_BITS:
            raise InputError(f"{self.path}: record {key} has {len(payload)} bytes; RecordIO allows fewer than 2**29")
        self._positions[key] = self._file.tell()
        parts = _split_on_magic(payload)
        for i, part in enumerate(parts):
            flag = WHOLE if len(parts) == 1 else FIRST if i == 0 else LAST if i == len(parts) - 1 else MIDDLE
            self._file.write(PART_HEADER.pack(MAGIC, flag << LENGTH_BITS | len(part)))
            self._file.write(part)
            self._file.write(bytes(-len(part) % 4))

    def close(self) -> None:
        """Put the finished files in their place. A second call does nothing."""
        if self._file.closed:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if self.index_path is not None:
                # Stopped at any point, no index is left beside records that it does not describe.
                self.index_path.unlink(missing_ok=True)
            os.replace(self._temporary, self.path)
        except BaseException:
            self._discard()
            raise
        if self.index_path is not None:
            lines = (f"{key}\t{position}\n" for key, position in self._positions.items())
            write_atomically(self.index_path, "".join(lines).encode())

    def _discard(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _open(path: str | Path) -> BinaryIO:
    if not os.path.isfile(path):  # a named pipe would be waited for
        what = "a folder, a pipe or a device" if os.path.exists(path) else "no such file"
        raise InputError(f"{path}: {what}: check the path")
    try:
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _walk(path: str | Path, keep: bool = True) -> Iterator[tuple[int, bytes]]:
    """The position and the payload (empty unless `keep`) of each record in turn."""
    with _open(path) as file:
        position = number = 0
        while position < _size(file):
            start = position
            payload, position = _read_record(file, start, f"{path}: record {number}", keep)
            yield start, payload
            number += 1


def _read_record(file: BinaryIO, start: int, name: str, keep: bool = True) -> tuple[bytes, int]:
    """The payload (empty unless `keep`) of the record at byte `start`, and the position after it."""
    payload = bytearray()
    position, allowed = start, (WHOLE, FIRST)
    while True:
        flag, length = _read_part_header(file, position, name)
        if flag not in allowed:
            raise InputError(f"{name}, byte {position}: part flag {flag}, expected one of {allowed}: {DAMAGED}")
        if keep:
            payload += file.read(length)
        position += PART_HEADER.size + length + -length % 4
        if flag in (WHOLE, LAST):
            return bytes(payload), position
        if keep:
            payload += MAGIC
        allowed = (MIDDLE, LAST)


def _read_part_header(file: BinaryIO, position: int, name: str) -> tuple[int, int]:
    """The flag and the length of the part at `position`; the file is left at the part's data, all of which is there."""
    left = _size(file) - position
    if left < PART_HEADER.size:
        raise InputError(f"{name}, byte {position}: {left} bytes are left for a part's header of 8: {DAMAGED}")
    file.seek(position)
    magic, word = PART_HEADER.unpack(file.read(PART_HEADER.size))
    # An aligned magic number always begins a part; an unaligned one can be anything.
    if magic != MAGIC or position % 4:
        file.seek(0)
        if other := stand_in(file.read(100)):
            raise InputError(f"{name}: the file is {other}")
        raise InputError(f"{name}, byte {position}: found {magic.hex()}, not the magic number {MAGIC.hex()}: {DAMAGED}")
    length = word & ((1 << LENGTH_BITS) - 1)
    left -= PART_HEADER.size
    if length + -length % 4 > left:
        raise InputError(f"{name}, byte {position}: a part of {length} bytes, but the file has {left} left: {DAMAGED}")
    return word >> LENGTH_BITS, length


def _read_index(index_path: Path, path: Path) -> dict[int, int]:
    """The position of each key, in the index's order."""
    with _open(path) as file, _open(index_path) as index:
        positions: dict[int, int] = {}
        # No 64-bit key and position need a longer line, and a damaged file may be one line.
        for number, line in enumerate(iter(lambda: index.readline(64), b""), start=1):
            where = f"{index_path}: line {number}"
            fields = line.split()
            if not fields:
                continue
            if len(fields) != 2 or not all(field.isdigit() for field in fields):
                raise InputError(f"{where}: {line!r} is not 'key<tab>position': {BAD_INDEX}")
            key, position = int(fields[0]), int(fields[1])
            if key in positions:
                raise InputError(f"{where}: key {key} is given twice: {BAD_INDEX}")
            if position >= _size(file):
                raise InputError(f"{where}: position {position} is past the end of {path}: {BAD_INDEX}")
            positions[key] = position
        # An index that lacks a record would pass for a smaller dataset. A damaged record is told when it is read.
        end: int | None = 0
        complete = True
        for number, (key, position) in enumerate(sorted(positions.items(), key=lambda item: item[1]), start=1):
            before, end = end, None
            try:
                _, end = _read_record(file, position, f"{path}: record {key}", keep=False)
            except InputError:
                if number == len(positions):
                    raise
            else:
                complete &= before in (None, position)
        if not complete or end != _size(file):
            raise InputError(f"{index_path}: lists {len(positions)} records, not all of {path}: {BAD_INDEX}")
    return positions


def _split_on_magic(payload: bytes) -> list[bytes]:
    """The pieces of the payload between the magic numbers that are at a multiple of 4."""
    pieces = []
    start = 0
    found = payload.find(MAGIC)
    while found >= 0:
        if found % 4 == 0:
            pieces.append(payload[start:found])
            start = found + len(MAGIC)
        found = payload.find(MAGIC, found + len(MAGIC))  # the magic number cannot overlap itself
    pieces.append(payload[start:])
    return pieces
