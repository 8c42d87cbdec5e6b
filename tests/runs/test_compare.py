"""`tinyssd compare --check` trains both frameworks, climbs every rung, writes the report, and says which rung fails."""

import json

import pytest

from ssd_common.backends import load_backend
from ssd_common.cli import main
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
    assert html.count("<img ") == 5  # steps, curves, their difference, detections of both trainings, same weights
    assert "http://" not in html
    assert "https://" not in html


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
    assert compare(arguments) == 0
    printed = capsys.readouterr().out
    assert "resume" in printed
    assert "trained:" not in printed
