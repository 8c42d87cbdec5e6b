"""`tinyssd compare --check` trains both frameworks, climbs every rung, writes the report, and says which rung fails."""

import json
import os
import subprocess
import sys

import pytest

from ssd_common.backends import load_backend
from ssd_common.cli import main
from ssd_common.parity import rungs
from ssd_common.parity.ladder import LADDER

pytestmark = pytest.mark.backend("torch", "mxnet")


def compare(arguments):
    """Return the exit code of the verb."""
    with pytest.raises(SystemExit) as done:
        main(["compare", "--check", *arguments])
    return done.value.code


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_after_a_training_every_rung_passes_and_the_report_shows_all(dtype, tmp_path, capsys):
    small = ["--limit", "16", "--epochs", "1", "--batch-size", "8", "--steps", "2", "--pictures", "4"]
    report, page = tmp_path / "run" / "report.json", tmp_path / "report.html"  # one is where it is written anyway
    out = ["--out", str(tmp_path / "run"), "--json", str(report), "--html", str(page)]
    assert compare([*small, "--dtype", dtype, *out]) == 0
    printed = capsys.readouterr().out
    assert "every rung of the ladder passed" in printed
    result = json.loads(report.read_text(encoding="utf-8"))
    assert result["verdict"] == {"passed": True, "failed": []}
    assert [row["name"] for row in result["ladder"]] == [rung.name for rung in LADDER]
    assert {row["dtype"] for row in result["ladder"]} == {dtype}
    assert sorted(result["training"]) == ["mxnet", "torch"]
    html = page.read_text(encoding="utf-8")
    assert "All 13 rungs pass" in html
    assert html.count("<img ") == 5  # steps, curves, their difference, detections of both training runs, same weights
    assert "http://" not in html
    assert "https://" not in html


def test_held_to_avx2_the_frameworks_are_closer_and_the_report_says_so(tmp_path):
    """In a process of its own: the instructions are chosen once, before a framework computes."""
    arguments = ["compare", "--check", "--epochs", "0", "--limit", "4", "--steps", "2", "--dtype", "float32"]
    program = [sys.executable, "-c", "from ssd_common.cli import main; main()"]
    environment = {name: value for name, value in os.environ.items() if name != "DNNL_MAX_CPU_ISA"}
    command = [*program, *arguments, "--rungs", "7-10", "--isa", "avx2", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert result["isa"] == "avx2"
    assert result["machine"]["instructions"].endswith("oneDNN: AVX2 at most")
    assert [row["tolerance"] for row in result["ladder"][1:]] == [rung.avx2 for rung in LADDER if rung.avx2][:4]
    assert "instructions: AVX2 at most" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_only_what_the_rungs_need_is_decoded(tmp_path, monkeypatch):
    decoded = []
    right = rungs.batches

    def batches(data, order, *args):
        decoded.extend((data.name, len(indices)) for indices in order)
        return right(data, order, *args)

    monkeypatch.setattr(rungs, "batches", batches)
    arguments = ["--epochs", "0", "--limit", "40", "--image-size", "64", "--rungs", "9"]
    assert compare([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert decoded == [("synthetic:train", 2)]


def test_a_rung_that_fails_is_named_and_the_exit_code_is_1(tmp_path, monkeypatch, capsys):
    boxes = load_backend("mxnet").boxes
    right = boxes.offset_inverse
    monkeypatch.setattr(boxes, "offset_inverse", lambda *a: right(*a) + 1e-6)
    report = tmp_path / "report.json"
    arguments = ["--epochs", "0", "--limit", "4", "--rungs", "1-5", "--steps", "2", "--json", str(report)]
    assert compare([*arguments, "--out", str(tmp_path / "run")]) == 1
    assert "the ladder failed at: offsets" in capsys.readouterr().out
    assert json.loads(report.read_text(encoding="utf-8"))["verdict"] == {"passed": False, "failed": ["offsets"]}


def test_without_trained_weights_all_rungs_but_the_last_are_climbed(tmp_path, capsys):
    arguments = ["--epochs", "0", "--limit", "4", "--steps", "2", "--dtype", "float32", "--out", str(tmp_path / "run")]
    arguments += ["--preset", "book"]  # without it, the detector that comes with the package would be taken
    assert compare(arguments) == 0
    printed = capsys.readouterr().out
    assert "resume" in printed
    assert "trained:" not in printed
