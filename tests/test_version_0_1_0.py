"""Files that version 0.1.0 wrote are still read: weights, run folders, configurations and reports, one of each kind."""

import dataclasses
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import page
from ssd_common.checkpoints import load_checkpoint
from ssd_common.config import AUGMENTATIONS, BOOK, IMPROVED, PRESETS, STRAIGHT_DOPE, RunConfig, read_run_config
from ssd_common.runs import resumed_checkpoint
from ssd_common.runs.start import change_config

FOLDER = Path(__file__).parent / "version_0_1_0"


def unpacked(name, path):
    """Write the weights file of a preset; it holds zeros, so that it packs well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.decompress((FOLDER / f"{name}.safetensors.gz").read_bytes()))
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_weights_have_the_configuration_that_they_were_written_with(name, tmp_path):
    checkpoint = load_checkpoint(unpacked(name, tmp_path / "w.safetensors"))
    assert checkpoint.config == PRESETS[name]
    assert (checkpoint.epoch, checkpoint.step, checkpoint.run.data) == (3, 96, "synthetic:train")
    assert bool(checkpoint.velocity) == (name == "improved")
    assert {float(np.abs(value).max()) for value in checkpoint.weights.values()} == {0, 0.5}


def test_the_straight_dope_still_lets_all_boxes_compete(tmp_path):
    assert load_checkpoint(unpacked("straight-dope", tmp_path / "w.safetensors")).config.predict.top_k == 0
    assert read_run_config(FOLDER / "run" / "config.toml").config.predict.top_k == 0
    assert read_run_config(FOLDER / "book.toml").config.predict.top_k == 400


def test_a_configuration_is_what_it_was():
    changes = {"image_size": 64, "epochs": 2, "lr": 0.05, "class_names": ("banana",)}
    expected = RunConfig(change_config(STRAIGHT_DOPE, changes), "straight-dope", "torch", "synthetic", limit=8)
    assert read_run_config(FOLDER / "run" / "config.toml") == expected
    changes = {"image_size": 64, "epochs": 1, "negatives_per_positive": 3, "augment": AUGMENTATIONS["flip"]}
    expected = RunConfig(change_config(BOOK, changes), "book", "mxnet", "synthetic", limit=8)
    assert read_run_config(FOLDER / "book.toml") == expected


def test_a_run_goes_on(tmp_path):
    run = shutil.copytree(FOLDER / "run", tmp_path / "run")
    (run / "config.toml").write_bytes((FOLDER / "book.toml").read_bytes().replace(b"epochs = 1", b"epochs = 9"))
    start = load_checkpoint(unpacked("book", run / "weights" / "last.safetensors"))
    config = read_run_config(run / "config.toml").config
    table = (run / "results.csv").read_text()
    (run / "results.csv").write_text(table + table.splitlines()[-1].replace("2", "3", 1) + "\n")
    rewritten = dataclasses.replace(start, run=dataclasses.replace(start.run, config=config))
    from ssd_common.checkpoints import save_checkpoint

    save_checkpoint(run / "weights" / "last.safetensors", rewritten)
    resumed, rows = resumed_checkpoint(run, None)
    assert (resumed.epoch, len(rows), resumed.run.data, resumed.run.limit) == (3, 3, "synthetic", 8)


def test_reports_are_read(tmp_path):
    metrics = json.loads((FOLDER / "metrics.json").read_text())
    report = json.loads((FOLDER / "report.json").read_text())
    assert report["config"]["name"] == "book"
    assert {row["rung"] for row in report["ladder"]} == set(range(1, 14))
    settings = read_run_config(FOLDER / "run" / "config.toml")
    text = page([{**metrics, "settings": settings, "which": "last"}])
    assert "`straight-dope` on the first 8 of `synthetic`" in text
    assert IMPROVED in PRESETS.values()
