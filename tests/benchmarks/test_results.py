"""The page of results: training runs that differ only in their seed share a row, and nothing else does."""

import json
import subprocess
import sys

import pytest
from rich.console import Console

from benchmarks.by_hand import MARK
from benchmarks.results import short
from ssd_common.config import BOOK, RunConfig
from ssd_common.runs.folder import RunFolder
from ssd_common.runs.start import change_config

CLASSES = ("cat", "dog")


def run(folder, *arguments):
    command = [sys.executable, "-m", "benchmarks.results", *map(str, arguments), "--out", "page.md"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def report(folder, seed, ap50, epochs=20, **changes):
    """Write a run folder with nothing but its settings, and a report on it; return the report's path."""
    name = f"run-{seed}-{epochs}"
    preset = change_config(BOOK, {"seed": seed, "epochs": epochs, "class_names": CLASSES, **changes})
    with RunFolder(folder / name, Console(quiet=True)) as run_folder:
        run_folder.write_config(RunConfig(preset, "book", data="voc:/home/me/animals"))
    metrics = {"ap50": ap50, "ap75": 0.5, "ap": 0.25, "voc07": 0.5, "voc12": 0.5, "pictures": 7, "objects": 1234}
    metrics |= {"class_error": 0.003, "baseline_class_error": 0.006, "bbox_mae": 0.001, "baseline_bbox_mae": 0.004}
    metrics["classes"] = [{"name": "cat", "ap50": ap50, "ap": 0.125}, {"name": "dog", "ap50": None, "ap": None}]
    metrics |= {"data": "voc:/home/me/animals:test", "backend": "torch", "weights": f"{name}/weights/last.safetensors"}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(metrics))
    return path


def test_seeds_share_a_row_and_other_trainings_do_not(tmp_path):
    reports = [report(tmp_path, 0, 0.5), report(tmp_path, 1, 0.7), report(tmp_path, 0, 1.0, epochs=30, image_size=128)]
    done = run(tmp_path, *reports)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.md").read_text()
    assert done.stdout.strip() == page.strip()
    assert "## voc:animals:test\n\n7 images, 1,234 objects" in page  # and not where that folder was
    rows = [line for line in page.splitlines() if line.startswith("| `book`")]
    # 60 ± 14.1: the sample deviation of 50 and 70 is 10 √2.
    cells = "50.0 ± 0.0 | 25.0 ± 0.0 | 50.0 ± 0.0 | 25.0 ± 0.0 |"
    assert rows[0] == f"| `book` on `voc:animals`, 20 epochs, last | torch | 2 | 60.0 ± 14.1 | {cells}"
    assert rows[1].startswith("| `book` on `voc:animals`, image_size 128, 30 epochs, last | torch | 1 | 100.0 | 50.0 |")
    assert rows[2] == "| `book` on `voc:animals`, 20 epochs, last | torch | 60.0 ± 14.1 and 12.5 ± 0.0 | – and – |"


def test_the_conclusions_below_the_tables_are_kept(tmp_path):
    (tmp_path / "page.md").write_text(f"an old table\n\n{MARK}\n\n## What it shows\n\n- Much.\n")
    assert run(tmp_path, report(tmp_path, 0, 0.5)).returncode == 0
    tables, _, conclusions = (tmp_path / "page.md").read_text().partition(MARK)
    assert conclusions == "\n\n## What it shows\n\n- Much.\n"
    assert "old" not in tables
    assert "| torch | 1 | 50.0 |" in tables


def test_a_report_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "other.json").write_text("[]")
    gone = report(tmp_path, 3, 0.5)
    (tmp_path / "run-3-20" / "config.toml").unlink()
    for path, reason in ((tmp_path / "other.json", "not a report of tinyssd eval"), (gone, "there is no ")):
        done = run(tmp_path, path)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"results.py: error: {path}: {reason}")
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("pikachu:val", "pikachu:val"),
        ("voc:/home/me/animals:test", "voc:animals:test"),
        ("coco:/home/me/animals/images,/home/me/animals/labels.json", "coco:animals"),
        ("rec:animals/val.rec", "rec:val.rec"),
    ],
)
def test_a_data_set_is_named_without_the_folders_above_it(spec, name):
    assert short(spec) == name
