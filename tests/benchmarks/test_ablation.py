"""The ablation trains what it says, and goes on where it was interrupted."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.book_gap import Cached
from ssd_common.data import load_dataset
from tests.data.data_cases import write_coco

FLAGS = "--data synthetic --limit 2 --epochs 1 --image-size 64 --seeds 1 --rows jitter improved --cache cache"


@pytest.mark.backend("torch")
def test_every_training_is_a_result_in_the_table_and_is_not_done_twice(tmp_path):
    def run():
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "benchmarks.ablation",
            *FLAGS.split(),
            "--backends",
            "torch",
            "--out",
            "page.md",
        ]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    first = run()
    page = (tmp_path / "page.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| torch |" in line]
    assert [row.split(" | ")[0] for row in rows] == [
        "| augmentation: flip, shift, brightness, noise",
        "| the preset `improved`",
    ]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    results = [json.loads(path.read_text()) for path in kept]
    assert {result["train"]["momentum"] for result in results} == {0.0, 0.9}
    assert all(result["train"]["augment"]["flip"] == 0.5 for result in results)
    assert run() == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == kept


def test_objects_that_do_not_count_do_not_count_in_memory_either(tmp_path):
    spec = write_coco(tmp_path)
    data = load_dataset(spec)
    cached = Cached(data, 64)
    for i in range(len(data)):
        np.testing.assert_array_equal(cached[i].ignored, data[i].ignored)
    assert sum(len(cached[i].ignored) for i in range(len(data))) == 1
