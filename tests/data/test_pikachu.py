"""A detection dataset in RecordIO is what MXNet reads from it, and a bad record is refused in one line."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ssd_common.data import load_dataset
from ssd_common.data.annotated import AnnotatedDataset, describe_skipped
from ssd_common.data.cache import CACHE_BYTES
from ssd_common.data.formats.recordio import RecordWriter, read_records
from ssd_common.data.formats.records import (
    ImageRecord,
    RecordAnnotations,
    pack_image_record,
    read_detection_label,
    read_record_set,
    unpack_image_record,
)
from ssd_common.errors import InputError

OBJECT = [0, 0.25, 0.5, 0.75, 1.0]
HEADER = [4, 5, 8, 6]


def label(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(256, size=(6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_dataset(path: Path, payloads: list[bytes] | None = None) -> Path:
    """A `.rec` file of these payloads, or of three images with one object each."""
    if payloads is None:
        payloads = [pack_image_record(ImageRecord(label(*HEADER, *OBJECT), i, 0, png(i))) for i in range(3)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with RecordWriter(path) as writer:
        for payload in payloads:
            writer.write(payload)
    return path


# --- image records


@pytest.mark.backend("mxnet")
@pytest.mark.filterwarnings(r"ignore:tostring\(\) is deprecated:DeprecationWarning")  # mx.recordio.pack calls it
def test_image_records_are_packed_and_unpacked_as_mxnet_does() -> None:
    import mxnet as mx

    rng = np.random.default_rng(0)
    numbers: list[float | NDArray[np.float32]] = [0.0, 7.0, -1.5]
    arrays = [label(*rng.normal(size=n)) for n in (0, 1, 2, 9, 100)]
    for value in numbers + arrays:
        record = ImageRecord(value, int(rng.integers(2**63)), int(rng.integers(2**63)), rng.bytes(50))
        theirs = mx.recordio.pack(mx.recordio.IRHeader(0, value, record.id, record.id2), record.image)
        assert pack_image_record(record) == theirs
        header, image = mx.recordio.unpack(theirs)
        ours = unpack_image_record(theirs)
        np.testing.assert_array_equal(ours.label, header.label)
        assert ours[1:] == (header.id, header.id2, image)


def test_the_shipped_records_unpacked_and_packed_are_the_same(data_dir: Path) -> None:
    for payload in read_records(data_dir / "pikachu" / "val.rec"):
        assert pack_image_record(unpack_image_record(payload)) == payload


@pytest.mark.parametrize("num_values", [1, 10, 2**30, 2**32 - 1])
def test_labels_past_the_end_of_the_record_are_refused(num_values: int) -> None:
    payload = struct.pack("<IfQQ", num_values, 0, 0, 0) + b"abc"
    with pytest.raises(InputError, match=f"a.rec: record 3: 27 bytes cannot hold its {num_values} label values"):
        unpack_image_record(payload, "a.rec: record 3")


def test_a_record_shorter_than_its_header_is_refused() -> None:
    with pytest.raises(InputError, match="23 bytes"):
        unpack_image_record(bytes(23))


# --- detection labels


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([4, 5, 8, 6, *OBJECT], [OBJECT], id="the usual header"),
        pytest.param([2, 5, *OBJECT, *OBJECT], [OBJECT, OBJECT], id="the shortest header"),
        pytest.param([6, 5, 8, 6, 9, 9, *OBJECT], [OBJECT], id="a longer header"),
        pytest.param([2, 7, *OBJECT, 8, 9], [[*OBJECT, 8, 9]], id="more columns"),
        pytest.param([4, 5, 8, 6], np.empty((0, 5)), id="no objects"),
    ],
)
def test_a_label_gives_its_rows(values: list[float], expected: list[list[float]]) -> None:
    rows = read_detection_label(label(*values))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("values", "mentions"),
    [
        pytest.param([], ["header width 0", "0 values"], id="nothing"),
        pytest.param([7], ["header width 0", "1 values"], id="a classification label"),
        pytest.param([1, 5, *OBJECT], ["header width 1"], id="header too narrow"),
        pytest.param([99, 5, *OBJECT], ["header width 99"], id="header wider than the label"),
        pytest.param([1e30, 5, *OBJECT], ["header width 1e+30"], id="header width huge"),
        pytest.param([2.5, 5, *OBJECT], ["header width 2.5"], id="header width a fraction"),
        pytest.param([np.nan, 5, *OBJECT], ["header width nan"], id="header width NaN"),
        pytest.param([2, 4, *OBJECT], ["object width 4"], id="object too narrow"),
        pytest.param([2, np.inf, *OBJECT], ["object width inf"], id="object width infinite"),
        pytest.param([2, 6, *OBJECT], ["5 values for objects of 6"], id="object width does not divide"),
    ],
)
def test_what_is_not_the_label_of_a_detection_data_set_is_refused(values: list[float], mentions: list[str]) -> None:
    with pytest.raises(InputError) as excinfo:
        read_detection_label(label(*values), name="a.rec: record 7")
    message = str(excinfo.value)
    assert "\n" not in message
    for mention in ["a.rec: record 7: ", *mentions]:
        assert mention in message


@pytest.mark.parametrize(
    ("row", "value", "reason"),
    [
        pytest.param([3, 0, 0, 1, 1], "class id 3", "unknown class", id="class id too high"),
        pytest.param([-1, 0, 0, 1, 1], "class id -1", "unknown class", id="class id negative"),
        pytest.param([0.5, 0, 0, 1, 1], "class id 0.5", "unknown class", id="class id a fraction"),
        pytest.param([np.nan, 0, 0, 1, 1], "class id nan", "unknown class", id="class id NaN"),
        pytest.param([0, np.nan, 0, 1, 1], "xmin nan", "not a finite number", id="NaN"),
        pytest.param([0, 0, 0, 1, np.inf], "ymax inf", "not a finite number", id="infinite"),
    ],
)
def test_an_object_that_cannot_be_read_is_named_and_the_others_are_kept(
    tmp_path: Path, row: list[float], value: str, reason: str
) -> None:
    values = label(2, 5, *OBJECT, *[-1] * 5, *row)
    path = write_dataset(tmp_path / "a.rec", [pack_image_record(ImageRecord(values, 0, 0, png()))])
    annotation = RecordAnnotations(path, num_classes=3)[0]
    np.testing.assert_array_equal(annotation.boxes, [OBJECT[1:]])
    (problem,) = annotation.problems
    assert (problem.file, problem.object, problem.value) == (f"{path}: record 0", "object 3", value)
    assert problem.kind == reason


# --- a dataset of any records


def test_a_dataset_gives_pictures_and_labels_in_order(tmp_path: Path) -> None:
    dataset = AnnotatedDataset(read_record_set(write_dataset(tmp_path / "three.rec"), "three", ("dog", "cat")))
    assert dataset.name == "three"
    assert dataset.class_names == ("dog", "cat")
    items = list(iter(dataset))
    assert len(items) == len(dataset) == 3
    for seed, (image, labels, _) in enumerate(items):
        np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(png(seed)))))
        np.testing.assert_array_equal(labels, [OBJECT])
    for index in (3, -1):
        with pytest.raises(IndexError, match=f"index {index}"):
            dataset[index]


@pytest.mark.parametrize("cache_bytes", [CACHE_BYTES, 0])
def test_an_item_cannot_be_changed_by_accident(tmp_path: Path, cache_bytes: int) -> None:
    source = read_record_set(write_dataset(tmp_path / "three.rec"), "three")
    image, labels, _ = AnnotatedDataset(source, cache_bytes=cache_bytes)[0]
    for array in (image, labels):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_only_the_cache_outlives_the_file(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "three.rec")
    cached, uncached = (AnnotatedDataset(read_record_set(path, "three"), cache_bytes=size) for size in (CACHE_BYTES, 0))
    before = cached[0].image
    path.unlink()
    assert cached[0][0] is before
    for dataset, index in ((cached, 1), (uncached, 0)):
        with pytest.raises(InputError, match="no such file"):
            dataset[index]


def test_a_file_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty.rec: has no records"):
        read_record_set(write_dataset(tmp_path / "empty.rec", []), "empty", ("dog",))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"hello", "5 bytes", id="not an image record"),
        pytest.param(pack_image_record(ImageRecord(3.0, 0, 0, png())), "header width", id="not for detection"),
        pytest.param(
            pack_image_record(ImageRecord(label(*HEADER, *OBJECT), 0, 0, png()[:-40])), "truncated", id="cut image"
        ),
        pytest.param(
            pack_image_record(ImageRecord(label(*HEADER, *OBJECT), 0, 0, b"")), "the file is empty", id="no image"
        ),
    ],
)
def test_a_bad_item_is_named_and_the_others_are_read(tmp_path: Path, payload: bytes, reason: str) -> None:
    good = pack_image_record(ImageRecord(label(*HEADER, *OBJECT), 0, 0, png()))
    path = write_dataset(tmp_path / "mixed.rec", [good, payload, good])
    dataset = AnnotatedDataset(read_record_set(path, "mixed", ("dog",)))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: record 1: .*{reason}"):
        dataset[1]
    np.testing.assert_array_equal(dataset[2][1], [OBJECT])


def test_classes_come_from_the_file_beside_the_records_or_are_numbered(tmp_path: Path) -> None:
    payload = pack_image_record(ImageRecord(label(*HEADER, *OBJECT, 2, *OBJECT[1:]), 0, 0, png()))
    path = write_dataset(tmp_path / "a.rec", [payload])
    assert read_record_set(path, "a").class_names == ("class 0", "class 1", "class 2")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    data = load_dataset(f"rec:{path}")
    assert data.class_names == ("dog", "cat")
    np.testing.assert_array_equal(data[0][1], [OBJECT])
    assert "skipped 1 of 2 boxes" in describe_skipped(data)


# --- the Pikachu set


@pytest.mark.parametrize(("split", "size"), [("train", 900), ("val", 100)])
def test_pikachu_has_one_small_object_in_each_of_its_pictures(data_dir: Path, split: str, size: int) -> None:
    dataset = load_dataset("pikachu", split, data_dir=data_dir)
    assert (dataset.name, dataset.class_names, len(dataset)) == (f"pikachu:{split}", ("pikachu",), size)
    image, labels, _ = dataset[size - 1]
    assert image.shape == (256, 256, 3)
    assert image.dtype == np.uint8
    assert labels.shape == (1, 5)
    assert labels.dtype == np.float32
    payloads = read_records(data_dir / "pikachu" / f"{split}.rec")
    boxes = np.concatenate([read_detection_label(unpack_image_record(p).label) for p in payloads])[:, 1:]
    assert boxes.shape == (size, 4)
    widths = boxes[:, 2] - boxes[:, 0]
    assert widths.min() > 0.07
    assert widths.max() < 0.16
    # No label is clipped: all the coordinates are well inside.
    assert boxes.min() > 0.2
    assert boxes.max() < 0.8


@pytest.mark.backend("mxnet")
@pytest.mark.filterwarnings(
    "ignore:Please use `csr_matrix`:DeprecationWarning"
)  # mx.nd.array looks for scipy.sparse.csr
def test_pikachu_is_what_mxnet_reads(data_dir: Path) -> None:
    import mxnet as mx

    records = data_dir / "pikachu" / "val.rec"
    iterator = mx.image.ImageDetIter(
        batch_size=100, data_shape=(3, 256, 256), path_imgrec=str(records), path_imgidx=str(records.with_suffix(".idx"))
    )
    batch = next(iterator)
    images, labels, _ = zip(*iter(load_dataset("pikachu", "val", data_dir=data_dir)), strict=True)
    assert batch.pad == 0
    np.testing.assert_array_equal(np.stack(labels), batch.label[0].asnumpy())
    # MXNet decodes with OpenCV. The two share libjpeg-turbo, and with Pillow 13.0 all 1000 images came out equal;
    # another release of either may round the inverse transform of a block differently.
    theirs = batch.data[0].asnumpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(np.stack(images), theirs, rtol=0, atol=2)


@pytest.mark.parametrize("name", ["pikachu/val.rec", "val.rec", "pikachu_val.rec"])
def test_pikachu_is_found_under_each_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_dataset(tmp_path / name)
    monkeypatch.setenv("TINYSSD_DATA", str(tmp_path))
    assert len(load_dataset("pikachu", "val")) == 3
    monkeypatch.setenv("TINYSSD_DATA", "/nowhere")
    assert len(load_dataset("pikachu", "val", data_dir=tmp_path)) == 3


def test_pikachu_that_is_not_found_says_what_was_looked_for_and_how_to_point_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError) as excinfo:
        load_dataset("pikachu", "train", data_dir=tmp_path)
    for mention in ("pikachu/train.rec", "pikachu_train.rec", str(tmp_path), "--data-dir", "TINYSSD_DATA"):
        assert mention in str(excinfo.value)
    assert "\n" not in str(excinfo.value)
    monkeypatch.delenv("TINYSSD_DATA", raising=False)
    with pytest.raises(InputError, match="pikachu/train.rec.*--data-dir or TINYSSD_DATA"):
        load_dataset("pikachu", "train")


def test_an_unknown_split_is_refused(data_dir: Path) -> None:
    with pytest.raises(InputError, match="pikachu: no split 'test'; the splits are train, val"):
        load_dataset("pikachu", "test", data_dir=data_dir)
