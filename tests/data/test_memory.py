"""Memory is bounded whatever the size of a dataset: what fits is kept decoded, the rest is read each time."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ssd_common.data import DataSource, Example
from ssd_common.data.annotated import AnnotatedDataset
from ssd_common.data.cache import CACHE_BYTES, ExampleCache
from ssd_common.data.synthetic.scenes import SyntheticDataset
from tests.data.data_cases import noise

ROOT = Path(__file__).resolve().parents[2]
SIDE = 64
PICTURE = SIDE * SIDE * 3


def write_coco(folder: Path, count: int, side: int) -> str:
    """A COCO dataset of so many images, an object in each."""
    (folder / "pictures").mkdir(parents=True)
    encoded = []
    for seed in range(10):
        noise(side, side, seed).save(folder / "a.jpg")
        encoded.append((folder / "a.jpg").read_bytes())
    for i in range(count):
        (folder / "pictures" / f"{i}.jpg").write_bytes(encoded[i % len(encoded)])
    images = [{"id": i, "file_name": f"{i}.jpg", "width": side, "height": side} for i in range(count)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4]} for i in range(count)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (folder / "boxes.json").write_text(json.dumps(content))
    return f"coco:{folder / 'pictures'},{folder / 'boxes.json'}"


def test_going_through_a_large_set_takes_no_more_than_the_bound(tmp_path: Path) -> None:
    spec = write_coco(tmp_path, count=200, side=SIDE)
    data = AnnotatedDataset(DataSource(spec).read(None), cache_bytes=20 * PICTURE)
    data[0]  # what Pillow loads once
    tracemalloc.start()
    for _ in range(2):
        assert sum(len(labels) for _, labels, _ in data) == 200
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Of 200 images; 30 were measured: the 20, and 120 kB of the decoder and of what Python keeps beside them.
    assert 15 * PICTURE < peak < 60 * PICTURE


def test_what_fits_is_kept_and_nothing_is_thrown_out() -> None:
    made: list[int] = []

    def make(index: int) -> Example:
        made.append(index)
        return Example(np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((0, 5), np.float32))

    cache = ExampleCache(3 * PICTURE + 1)
    for _ in range(2):
        for index in range(5):
            cache.get(index, make)
    assert made == [0, 1, 2, 3, 4, 3, 4]
    with pytest.raises(ValueError, match="read-only"):
        cache.get(0, make)[0][:] = 1


def test_many_threads_keep_no_more_than_one() -> None:
    cache = ExampleCache(3 * PICTURE)
    together = threading.Barrier(8)

    def make(index: int) -> Example:
        together.wait()  # all of them make it before any can keep it
        return Example(np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((0, 5), np.float32))

    threads = [threading.Thread(target=cache.get, args=(7, make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def again(index: int) -> Example:
        return Example(np.ones((SIDE, SIDE, 3), np.uint8), np.zeros((0, 5), np.float32))

    kept = [int(cache.get(index, again)[0].max()) for index in (7, 1, 2, 3, 7, 1, 2, 3)]
    assert kept == [0, 1, 1, 1, 0, 1, 1, 1]
    assert [cache.get(index, again)[0] is cache.get(index, again)[0] for index in (7, 1, 2, 3)] == [
        True,
        True,
        True,
        False,
    ]


def test_the_bound_is_a_gibibyte_and_the_default_of_every_data_set() -> None:
    assert CACHE_BYTES == 1 << 30
    for kind in (AnnotatedDataset, SyntheticDataset):
        assert inspect.signature(kind).parameters["cache_bytes"].default == CACHE_BYTES


MEASURE = """
import json, re, sys
from ssd_common.data import load_dataset
import numpy, PIL.JpegImagePlugin

def peak():  # not ru_maxrss: that of a new process starts at the size of the process that started it
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024

before = peak()
data = load_dataset(sys.argv[1])
for _ in range(2):
    for example in data:
        pass
print(json.dumps({"bytes": peak() - before, "images": len(data)}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_twenty_thousand_pictures_take_a_gibibyte_and_not_four(tmp_path: Path) -> None:
    spec = write_coco(tmp_path, count=20_000, side=256)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, spec], capture_output=True, text=True, env=environment, check=True
    )
    measured = json.loads(done.stdout)
    assert measured["images"] == 20_000
    assert 3.6 * CACHE_BYTES < 20_000 * 256 * 256 * 3
    assert 0.9 * CACHE_BYTES < measured["bytes"] < 1.15 * CACHE_BYTES
