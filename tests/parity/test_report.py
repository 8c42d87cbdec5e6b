"""The report: the same numbers in the terminal's table and in JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from ssd_common.output import format_number, write_json
from ssd_common.parity import report
from tests.parity.report_cases import AFTER_7, ANCHORS, FAILED, LADDER, TRAINED, full_report


def printed(table: Table, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


# --- numbers and the verdict ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.34e-13, "2.3e-13"),
        (0.0, "0"),
        (-0.0, "0"),
        (3.0, "3"),
        (12345.0, "1.2e+04"),
        (None, "–"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ("NaN", "nan"),
        ("-Infinity", "-inf"),
        (np.float32(0.25), "2.5e-01"),
    ],
)
def test_a_number_is_printed_with_two_digits_or_as_the_whole_number_it_is(value: float | str | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (full_report(), "All 13 rungs pass"),
        (full_report(LADDER[:1]), "The only rung passes"),
        (full_report(FAILED), "Rung 5 (NMS keep set) fails"),
        (full_report([replace(row, passed=row.rung > 2) for row in LADDER]), "Rungs 1 (anchors), 2 (IoU) fail"),
        (full_report([*LADDER[:12], *TRAINED]), "All 13 rungs pass"),
        (full_report(TRAINED), "The only rung passes"),
        (full_report(AFTER_7), "Rung 7 (logits with the same weights) fails; rungs 8, 9 stand on it"),
        (full_report(AFTER_7[:8]), "Rung 7 (logits with the same weights) fails; rung 8 stands on it"),
        (
            full_report([replace(LADDER[0], passed=False), *AFTER_7[6:]]),
            "Rungs 1 (anchors), 7 (logits with the same weights) fail; rungs 8, 9 stand on them",
        ),
        (
            full_report([replace(row, passed=row.name.endswith("AP")) for row in TRAINED]),
            "Rung 13 (trained: kept, trained: scores, trained: boxes) fails",
        ),
        (
            full_report([AFTER_7[6], *(replace(row, passed=False, caused_by=(7,)) for row in TRAINED)]),
            "Rung 7 (logits with the same weights) fails; rung 13 stands on it",
        ),
        (full_report([]), "No rung was compared"),
        ({}, "The comparison did not pass"),
    ],
)
def test_the_verdict_is_one_sentence(content: dict[str, Any], text: str) -> None:
    assert report.verdict_text(content) == text


# --- the terminal ---


def test_every_rung_is_in_the_table_with_its_numbers_and_its_tolerance() -> None:
    lines = printed(report.ladder_table(LADDER, width=100), 100)
    for row in LADDER:
        (line,) = [line for line in lines if re.match(rf" *{row.rung} ", line)]
        assert line.split()[-6:] == ["ref", "2.3e-13", "0", "3.4e-13", "1.0e-12", "pass"]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_fits_its_terminal_and_cuts_nothing_off(width: int) -> None:
    lines = printed(report.ladder_table(FAILED, width=width), width)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert text.count("1.0e-12") == 13
    assert ("largest" in text) == (width >= 96), "a narrow terminal has no room for the quantity"


def test_a_table_that_gets_less_room_than_it_was_made_for_still_cuts_nothing_off() -> None:
    text = "".join(printed(report.ladder_table(LADDER, width=100), 60))
    assert "…" not in text
    assert text.count("1.0e-12") == 13


def test_without_a_width_the_table_takes_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert len(report.ladder_table(LADDER).columns) == 8
    monkeypatch.setenv("COLUMNS", "120")
    assert len(report.ladder_table(LADDER).columns) == 9


def test_a_failure_is_told_in_words_and_its_note_is_below_the_table() -> None:
    lines = printed(report.ladder_table(FAILED, width=100), 100)
    assert [line.split()[0] for line in lines if line.rstrip().endswith("FAIL")] == ["5"]
    assert lines[-1].strip() == "rung 5: three ties [bold]"


def test_a_rung_that_fails_because_of_others_names_them() -> None:
    rows = [*AFTER_7, replace(LADDER[9], passed=False, caused_by=(7, 8))]
    lines = printed(report.ladder_table(rows, 100), 100)
    outcomes = {int(line.split()[0]): line.rstrip() for line in lines if re.match(r" *\d", line)}
    assert outcomes[7].endswith("  FAIL")
    assert outcomes[8].endswith("  after 7")
    assert outcomes[10].endswith(" after 7, 8")
    assert sum("FAIL" in line for line in outcomes.values()) == 1


def test_a_rung_that_fails_because_of_others_is_not_red() -> None:
    console = Console(width=100, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(report.ladder_table(AFTER_7, 100))
    red, yellow, green = ("\x1b[1;31m", "\x1b[33m", "\x1b[32m")
    assert re.findall(r"(\x1b\[[\d;]+m)(pass|FAIL|after \d)", capture.get()) == [
        *[(green, "pass")] * 6,
        (red, "FAIL"),
        *[(yellow, "after 7")] * 2,
    ]


@pytest.mark.parametrize("width", [80, 100])
def test_many_causes_wrap_and_cut_nothing_off(width: int) -> None:
    rows = [replace(row, passed=False, caused_by=(1, 4, 5, 7, 8, 9, 10)) for row in LADDER[10:]]
    lines = printed(report.ladder_table(rows, width), width)
    text = " ".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert text.count("1.0e-12") == 3
    assert text.count("10") == 3


def test_a_note_that_rungs_share_is_printed_once() -> None:
    rows = [replace(row, passed=False, note="rounding") for row in (*LADDER[6:8], *TRAINED)]
    lines = printed(report.ladder_table([*rows, replace(LADDER[0], note="passed")], width=100), 100)
    assert lines[-1].strip() == "rungs 7, 8, 13: rounding"
    assert sum("rounding" in line for line in lines) == 1


def test_the_reference_is_told_from_what_does_not_apply() -> None:
    row = replace(
        ANCHORS, errors={"numpy": None, "torch": None, "mxnet": 1e-5}, reference="torch float64", difference=None
    )
    line = printed(report.ladder_table([row], width=100), 100)[-1]
    assert line.split()[-6:-2] == ["–", "ref", "1.0e-05", "–"]


def test_names_are_no_markup() -> None:
    row = replace(ANCHORS, name="[red]anchors[/red]")
    assert "[red]anchors[/red]" in printed(report.ladder_table([row], 100), 100)[-1]


def test_a_report_read_from_json_has_the_same_rows(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", full_report(AFTER_7))
    rows = report.ladder_rows(json.loads((tmp_path / "report.json").read_text(encoding="utf-8")))
    assert printed(report.ladder_table(rows, 100), 100) == printed(report.ladder_table(AFTER_7, 100), 100)


def test_limited_instructions_are_told_and_the_native_ones_are_not() -> None:
    assert report.made_of(full_report()) == ["2025-01-31", "float64"]
    assert report.made_of(full_report(isa="native")) == ["2025-01-31", "float64"]
    assert report.made_of(full_report(isa="avx2")) == ["2025-01-31", "float64", "instructions: AVX2 at most"]


def test_the_training_table_puts_the_backends_beside_the_trivial_baseline() -> None:
    summaries = {"torch": {"class_error": 3.27e-3, "val_ap": 0.2741}, "mxnet": {"class_error": 3.48e-3, "val_ap": None}}
    lines = printed(report.training_table(summaries, {"class_error": 4.8e-3}), 80)
    rows = [re.split(r"  +", line.strip()) for line in lines]
    assert rows[1] == ["quantity", "torch", "mxnet", "trivial baseline"]
    # What nobody measured has no row.
    assert rows[3:] == [["class error", "3.27e-03", "3.48e-03", "4.80e-03"], ["val. AP", "0.274", "–", "–"]]


# --- JSON ---


def test_json_comes_back_as_it_went(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", full_report(FAILED))
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == full_report(FAILED)
    assert list(tmp_path.iterdir()) == [tmp_path / "report.json"]


def test_json_holds_only_what_the_standard_allows(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    values = {
        "nan": float("nan"),
        "inf": [float("inf"), -np.inf],
        "none": None,
        "numpy": np.array([1.5, np.nan]),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "sizes": ((0.2, 0.272),),
    }
    write_json(tmp_path / "report.json", values)
    read = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert read == {
        "nan": "NaN",
        "inf": ["Infinity", "-Infinity"],
        "none": None,
        "numpy": [1.5, "NaN"],
        "count": 3,
        "flag": True,
        "sizes": [[0.2, 0.272]],
    }
    np.testing.assert_equal([float(value) for value in ("NaN", *read["inf"])], [np.nan, np.inf, -np.inf])


def test_json_does_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    content = full_report()
    write_json(tmp_path / "one.json", content)
    write_json(tmp_path / "two.json", dict(reversed(content.items())))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_what_json_cannot_say_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "report.json", {"a": object()})
    assert json.loads((tmp_path / "report.json").read_text()) == {"a": 1}
