"""RecordIO files are MXNet's, byte for byte, and a damaged one is refused in one line."""

from __future__ import annotations

import os
import pickle
import re
import struct
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from ssd_common.data.formats.recordio import MAGIC, IndexedRecordReader, RecordWriter, read_records
from ssd_common.errors import InputError


def payloads() -> list[bytes]:
    """Lengths 0 to 9, the magic number at every alignment, in rows, whole and cut off, and 300 random mixtures."""
    cases = [bytes(range(1, n + 1)) for n in range(10)]
    cases += [b"x" * before + MAGIC + b"y" * after for before in range(9) for after in range(6)]
    cases += [MAGIC * n for n in range(1, 5)]
    cases += [MAGIC[:n] for n in range(1, 4)] + [b"abcd" + MAGIC[:3], MAGIC[:2] + MAGIC, MAGIC + MAGIC[:3]]
    rng = np.random.default_rng(0)
    for _ in range(300):
        pieces = [MAGIC if rng.random() < 0.3 else rng.bytes(int(rng.integers(9))) for _ in range(rng.integers(12))]
        cases.append(b"".join(pieces))
    return cases


def write(folder: Path, records: list[bytes], name: str = "ours") -> Path:
    path = folder / f"{name}.rec"
    with RecordWriter(path, path.with_suffix(".idx")) as writer:
        for payload in records:
            writer.write(payload)
    return path


def assert_one_line(excinfo: pytest.ExceptionInfo[InputError], *mentions: str) -> None:
    message = str(excinfo.value)
    assert "\n" not in message
    for mention in mentions:
        assert mention in message


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A file of three records, at bytes 0, 16 and 52; the middle one is split into three parts."""
    path = write(tmp_path, [b"first", b"ab" * 2 + MAGIC + b"cdef" + MAGIC + b"g", b"last"])
    assert path.with_suffix(".idx").read_text() == "0\t0\n1\t16\n2\t52\n"
    return path


# --- the format


def test_a_record_has_the_documented_layout(tmp_path: Path) -> None:
    path = write(tmp_path, [b"hello"])
    assert path.read_bytes() == struct.pack("<II", 0xCED7230A, 5) + b"hello\0\0\0"


def test_the_aligned_magic_number_splits_a_record_and_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, [b"abcd" + MAGIC + MAGIC + b"e"])
    parts = [(1, b"abcd"), (2, b""), (3, b"e")]
    expected = b"".join(
        struct.pack("<II", 0xCED7230A, flag << 29 | len(data)) + data.ljust(-(-len(data) // 4) * 4, b"\0")
        for flag, data in parts
    )
    assert path.read_bytes() == expected


def test_every_payload_comes_back_in_sequence_by_index_and_by_scan(tmp_path: Path) -> None:
    path = write(tmp_path, payloads())
    assert list(read_records(path)) == payloads()
    indexed = IndexedRecordReader(path)
    path.with_suffix(".idx").unlink()
    scanned = IndexedRecordReader(path)
    assert indexed.keys == scanned.keys == tuple(range(len(payloads())))
    assert [indexed.read(key) for key in indexed.keys] == payloads()
    assert [scanned.read(key) for key in scanned.keys] == payloads()


def test_keys_are_read_in_the_order_of_the_index(tmp_path: Path) -> None:
    path = tmp_path / "keyed.rec"
    with RecordWriter(path, tmp_path / "keyed.idx") as writer:
        for key in (7, 3, 123456789):
            writer.write(b"record %d" % key, key)
    reader = IndexedRecordReader(path)
    assert reader.keys == (7, 3, 123456789)
    assert reader.read(3) == b"record 3"
    with pytest.raises(KeyError):
        reader.read(0)


def test_an_index_with_windows_line_ends_is_read(records: Path) -> None:
    index = records.with_suffix(".idx")
    index.write_bytes(index.read_bytes().replace(b"\n", b"\r\n"))
    assert IndexedRecordReader(records).read(2) == b"last"


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = write(tmp_path, [])
    assert list(read_records(path)) == []
    assert len(IndexedRecordReader(path)) == 0


def test_a_reader_crosses_to_another_process(tmp_path: Path) -> None:
    path = write(tmp_path, payloads())
    reader = pickle.loads(pickle.dumps(IndexedRecordReader(path)))
    assert [reader.read(key) for key in reader.keys] == payloads()


def test_one_reader_serves_many_threads(tmp_path: Path) -> None:
    path = write(tmp_path, payloads())
    reader = IndexedRecordReader(path)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(reader.read, reader.keys)) == payloads()


# --- against MXNet


@pytest.mark.backend("mxnet")
def test_mxnet_writes_the_same_bytes(tmp_path: Path) -> None:
    import mxnet as mx

    ours = write(tmp_path, payloads())
    theirs = tmp_path / "theirs.rec"
    writer = mx.recordio.MXIndexedRecordIO(str(theirs.with_suffix(".idx")), str(theirs), "w")
    for key, payload in enumerate(payloads()):
        writer.write_idx(key, payload)
    writer.close()
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.with_suffix(".idx").read_bytes() == theirs.with_suffix(".idx").read_bytes()


@pytest.mark.backend("mxnet")
def test_mxnet_reads_what_we_write(tmp_path: Path) -> None:
    import mxnet as mx

    path = write(tmp_path, payloads())
    sequential = mx.recordio.MXRecordIO(str(path), "r")
    assert list(iter(sequential.read, None)) == payloads()
    sequential.close()
    indexed = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r")
    assert [indexed.read_idx(key) for key in reversed(range(len(payloads())))] == payloads()[::-1]
    indexed.close()


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_shipped_files_written_again_are_the_same_files(data_dir: Path, tmp_path: Path, split: str) -> None:
    shipped = data_dir / "pikachu" / f"{split}.rec"
    again = write(tmp_path, list(read_records(shipped)))
    assert again.read_bytes() == shipped.read_bytes()
    assert again.with_suffix(".idx").read_bytes() == shipped.with_suffix(".idx").read_bytes()


# --- damaged files


def patch(path: Path, position: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[position : position + len(data)] = data
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("position", "data", "mentions"),
    [
        pytest.param(0, b"\0", ["record 0, byte 0", "0023d7ce", "magic"], id="wrong magic number"),
        pytest.param(56, struct.pack("<I", 5), ["record 2, byte 52", "5 bytes", "4 left"], id="one byte past the end"),
        pytest.param(56, struct.pack("<I", 2**29 - 1), ["536870911", "4 left"], id="half a gigabyte"),
        pytest.param(4, struct.pack("<I", 3 << 29 | 5), ["record 0, byte 0", "part flag 3"], id="last part first"),
        pytest.param(4, struct.pack("<I", 1 << 29 | 5), ["record 0, byte 16", "part flag 1"], id="first part twice"),
        pytest.param(4, struct.pack("<I", 7 << 29 | 5), ["record 0, byte 0", "part flag 7"], id="unknown flag"),
        pytest.param(56, struct.pack("<I", 1 << 29 | 4), ["record 2, byte 64", "0 bytes are left"], id="no last part"),
    ],
)
def test_a_damaged_record_is_named_with_its_byte_and_value(
    records: Path, position: int, data: bytes, mentions: list[str]
) -> None:
    patch(records, position, data)
    with pytest.raises(InputError) as by_sequence:
        list(read_records(records))
    assert_one_line(by_sequence, str(records), *mentions)
    records.with_suffix(".idx").unlink()
    with pytest.raises(InputError) as by_scan:
        IndexedRecordReader(records)
    assert str(by_scan.value) == str(by_sequence.value)


def test_a_file_cut_anywhere_but_between_records_is_refused(records: Path) -> None:
    content = records.read_bytes()
    for length in range(len(content)):
        records.write_bytes(content[:length])
        if length in (0, 16, 52):
            assert len(list(read_records(records))) == [0, 16, 52].index(length)
        else:
            with pytest.raises(InputError, match=re.escape(str(records))):
                list(read_records(records))
        with pytest.raises(InputError):
            IndexedRecordReader(records)  # the index tells of the records that are gone


def test_a_record_damaged_after_the_reader_was_made_is_refused(records: Path) -> None:
    reader = IndexedRecordReader(records)
    patch(records, 16, b"oops")
    with pytest.raises(InputError) as excinfo:
        reader.read(1)
    assert_one_line(excinfo, "record 1, byte 16", b"oops".hex())
    assert reader.read(2) == b"last"


@pytest.mark.parametrize("where", ["records", "index"])
def test_a_length_is_checked_before_memory_is_taken(records: Path, where: str) -> None:
    if where == "records":
        patch(records, 56, struct.pack("<I", 2**29 - 4))
        records.with_suffix(".idx").unlink()
    else:
        records.with_suffix(".idx").write_bytes(bytes(20_000_000))  # one line
    tracemalloc.start()
    with pytest.raises(InputError):
        IndexedRecordReader(records)
    with suppress(InputError):
        list(read_records(records))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_random_damage_gives_records_or_an_input_error(records: Path) -> None:
    content = records.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        for position in rng.integers(len(content), size=rng.integers(1, 5)):
            damaged[position] = rng.integers(256)
        records.write_bytes(damaged)
        try:
            assert sum(map(len, read_records(records))) <= len(content)
        except InputError:
            refused += 1
    assert 250 < refused < 500  # damage to the data itself is not RecordIO's to see: it has no checksum


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        pytest.param("0\t0\n1\t\n2\t52\n", ["line 2"], id="no position"),
        pytest.param("0\t0\n1\t-16\n2\t52\n", ["line 2", "-16"], id="negative position"),
        pytest.param("0\t0\n1\t16\t3\n2\t52\n", ["line 2"], id="three columns"),
        pytest.param("\u0663\t0\n", ["line 1"], id="not an ASCII digit"),
        pytest.param("0\t0\n1\t64\n", ["line 2", "64", "past the end"], id="position past the end"),
        pytest.param("0\t0\n0\t16\n2\t52\n", ["line 2", "key 0", "twice"], id="key twice"),
        pytest.param("9" * 10_000, ["line 1"], id="one long line"),
        pytest.param("", ["0 records"], id="empty"),
        pytest.param("0\t0\n1\t16\n", ["2 records", "not all"], id="cut short"),
        pytest.param("0\t0\n1\t16\n2\t56\n", ["byte 56", "magic"], id="points into a record"),
    ],
)
def test_a_bad_index_is_refused_with_its_line(records: Path, text: str, mentions: list[str]) -> None:
    records.with_suffix(".idx").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as excinfo:
        IndexedRecordReader(records)
    assert_one_line(excinfo, records.stem, "delete the .idx", *mentions)


@pytest.mark.parametrize("text", ["0 0\n1 16\n2 52\n", "0\t0\n1\t16\n\n2\t52\n\n", " 0\t 0\r\n1\t16\r\n2\t52"])
def test_an_index_may_have_spaces_and_empty_lines(records: Path, text: str) -> None:
    expected = list(read_records(records))
    records.with_suffix(".idx").write_bytes(text.encode())
    reader = IndexedRecordReader(records)
    assert [reader.read(key) for key in reader.keys] == expected


@pytest.mark.parametrize("position", [2, 20, 28, 40, 48])
def test_an_index_that_points_into_a_record_is_refused_on_reading(records: Path, position: int) -> None:
    records.with_suffix(".idx").write_text(f"0\t{position}\n2\t52\n")
    reader = IndexedRecordReader(records)
    with pytest.raises(InputError) as excinfo:
        reader.read(0)
    assert_one_line(excinfo, str(records), f"byte {position}", ".idx belongs to another file")


def test_an_unaligned_magic_number_does_not_begin_a_record(tmp_path: Path) -> None:
    inner = struct.pack("<II", 0xCED7230A, 0)
    path = write(tmp_path, [b"xy" + inner, b"last"])
    path.with_suffix(".idx").write_text("0\t10\n1\t20\n")
    with pytest.raises(InputError, match="byte 10"):
        IndexedRecordReader(path).read(0)


NO_FILE = "a folder, a pipe or a device"


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda p: None, "no such file"), (lambda p: p.mkdir(), NO_FILE), (lambda p: os.mkfifo(p), NO_FILE)],
)
def test_a_path_that_is_not_a_file_is_refused(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "nothing.rec"
    make(path)
    with pytest.raises(InputError, match=words):
        IndexedRecordReader(path)
    with pytest.raises(InputError, match=words):
        list(read_records(path))


def test_an_index_that_was_named_must_exist(records: Path) -> None:
    with pytest.raises(InputError, match="other.idx: no such file"):
        IndexedRecordReader(records, records.with_name("other.idx"))


# --- writing


def test_an_exception_leaves_the_old_files_and_nothing_else(records: Path) -> None:
    before = {path.name: path.read_bytes() for path in records.parent.iterdir()}

    def fail_after_one_record() -> None:
        with RecordWriter(records, records.with_suffix(".idx")) as writer:
            writer.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_after_one_record()
    assert {path.name: path.read_bytes() for path in records.parent.iterdir()} == before


@pytest.mark.parametrize("fails", [1, 2], ids=["records", "index"])
def test_a_failure_to_close_leaves_files_that_belong_together(
    records: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    old, new = list(read_records(records)), [b"new", b"and longer"]
    replace = os.replace
    calls: list[str] = []

    def replace_until_it_fails(source: Path, target: Path) -> None:
        calls.append(str(target))
        if len(calls) == fails:
            raise OSError("no space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_until_it_fails)
    with pytest.raises(OSError, match="no space left"):
        write(records.parent, new)
    reader = IndexedRecordReader(records)
    assert [reader.read(key) for key in reader.keys] == (old if fails == 1 else new)
    assert [path.name for path in records.parent.iterdir()] == ["ours.rec"]


def test_new_files_take_the_place_of_old_ones_only_when_closed(records: Path) -> None:
    before = records.read_bytes()
    writer = RecordWriter(records, records.with_suffix(".idx"))
    writer.write(b"new")
    assert records.read_bytes() == before
    writer.close()
    writer.close()
    assert list(read_records(records)) == [b"new"]
    assert sorted(path.name for path in records.parent.iterdir()) == ["ours.idx", "ours.rec"]


def test_a_writer_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "new.rec") as writer:
        writer.write(b"one", key=5)
        with pytest.raises(InputError, match="key 5"):
            writer.write(b"two", key=5)
        with pytest.raises(InputError, match="key -1"):
            writer.write(b"two", key=-1)
        with pytest.raises(InputError, match="536870912 bytes"):
            writer.write(bytes(2**29))
    assert list(read_records(tmp_path / "new.rec")) == [b"one"]
    with pytest.raises(InputError, match="cannot write"):
        RecordWriter(tmp_path / "new.rec" / "not a folder.rec")
