"""The report: the same numbers in the terminal's table, in JSON and in a page that needs nothing else."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from ssd_common.errors import InputError
from ssd_common.output import format_number, write_json
from ssd_common.parity import report, report_html

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True)
class Row:
    """A rung of the ladder, with the fields of ssd_common.parity.ladder."""

    rung: int = 1
    name: str = "anchors"
    quantity: str = "largest absolute difference"
    dtype: str = "float64"
    errors: dict[str, float | None] | None = None
    difference: float | None = 3.4e-13
    reference: str = "numpy float64"
    tolerance: float = 1e-12
    passed: bool = True
    note: str = ""
    caused_by: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.errors is None:
            object.__setattr__(self, "errors", {"numpy": None, "torch": 2.34e-13, "mxnet": 0.0})


NAMES = ("anchors", "IoU", "assignment", "offsets", "NMS keep set", "detection rows", "logits with the same weights")
NAMES += ("loss", "every gradient", "one SGD step", "twenty steps")
NAMES += ("a checkpoint of one framework resumed in the other", "detections on real pictures")
LADDER = [Row(rung=number, name=name) for number, name in enumerate(NAMES, 1)]
TRAINED = [Row(rung=13, name=f"trained: {name}") for name in ("kept", "scores", "boxes", "AP")]
FAILED = [replace(row, passed=False, note="three ties [bold]") if row.rung == 5 else row for row in LADDER]
AFTER_7 = [replace(row, passed=row.rung < 7, caused_by=(7,) if row.rung > 7 else ()) for row in LADDER[:9]]
"""Rung 7 fails, and 8 and 9 because of it."""


def full_report(rows: list[Row] = LADDER, **changes: Any) -> dict[str, Any]:
    epochs = [{"epoch": 1.0, "loss": 0.5, "val_ap": None}, {"epoch": 2.0, "loss": 0.25, "val_ap": 0.274}]
    failed = [row.name for row in rows if not row.passed and not row.caused_by]
    return {
        "title": "Side by side",
        "command": "tinyssd compare --check",
        "created": "2025-01-31",
        "dtype": "float64",
        "verdict": {"passed": all(row.passed for row in rows), "failed": failed},
        "ladder": [asdict(row) | {"caused_by": list(row.caused_by)} for row in rows],  # JSON has no tuples
        "training": {"torch": epochs, "mxnet": epochs},
        "baselines": {"class_error": 4.8e-3, "bbox_mae": 5.2e-3},
        "versions": {"torch": "2.12.1"},
        "machine": {"cores": 2},
        "config": {"train": {"lr": 0.25}},
        **changes,
    }


def printed(table: Table, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


class Page(HTMLParser):
    """The tags, attributes and texts of a page; fails on a tag that is closed out of order."""

    VOID = ("meta", "link", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes), tuple(self.open)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(tmp_path: Path, content: dict[str, Any], pictures: dict[str, Path] | None = None) -> Page:
    report_html.write_html(tmp_path / "report.html", content, pictures or {})
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


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
    row = Row(errors={"numpy": None, "torch": None, "mxnet": 1e-5}, reference="torch float64", difference=None)
    line = printed(report.ladder_table([row], width=100), 100)[-1]
    assert line.split()[-6:-2] == ["–", "ref", "1.0e-05", "–"]


def test_rungs_may_be_dicts_and_names_are_no_markup() -> None:
    row = replace(LADDER[0], name="[red]anchors[/red]")
    assert printed(report.ladder_table([asdict(row)], 100), 100) == printed(report.ladder_table([row], 100), 100)
    assert "[red]anchors[/red]" in printed(report.ladder_table([row], 100), 100)[-1]


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


def test_a_command_line_with_a_byte_that_is_no_utf8_can_be_reported(tmp_path: Path) -> None:
    content = full_report(command=b"tinyssd compare \xff.png".decode("utf-8", "surrogateescape"))
    write_json(tmp_path / "report.json", content)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["command"] == content["command"]
    assert "tinyssd compare \\udcff.png" in page(tmp_path, content).texts


# --- HTML ---


def test_the_page_says_the_verdict_the_numbers_and_where_they_come_from(tmp_path: Path) -> None:
    texts = page(tmp_path, full_report(FAILED)).texts
    expected = ["Side by side", "Rung 5 (NMS keep set) fails", "tinyssd compare --check", "5 NMS keep set", "FAIL"]
    expected += ["2.3e-13", "3.4e-13", "1.0e-12", "numpy float64", "Rung 5: three ties [bold]", "4.80e-03", "0.274"]
    expected += ["trivial baseline", "2.12.1", "cores", "train.lr", "0.25"]
    assert [text for text in expected if text not in texts] == []


def test_the_page_asks_for_nothing_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(PNG)
    parsed = page(tmp_path, full_report(), {"a picture": tmp_path / "picture.png"})
    links = [value for _, attributes, _ in parsed.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(links) == 2
    assert all(link.startswith("data:") for link in links)
    assert {"script", "iframe", "object", "form", "base"}.isdisjoint(tag for tag, _, _ in parsed.tags)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|\son\w+=", text)


def test_a_picture_is_embedded_byte_for_byte_with_its_caption(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(PNG)
    parsed = page(tmp_path, full_report(), {'curves "of" <both>': tmp_path / "picture.png"})
    (image,) = [attributes for tag, attributes, _ in parsed.tags if tag == "img"]
    kind, _, payload = image["src"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(payload) == PNG
    assert image["alt"] == 'curves "of" <both>'
    assert 'curves "of" <both>' in parsed.texts


def test_everything_in_the_report_is_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<b onclick='x'>&amp;</b>"
    rows = [Row(name=evil, quantity=evil, reference=evil, note=evil, passed=False)]
    content = full_report(
        rows, title=evil, command=evil, created=evil, versions={evil: evil}, config={"a": {evil: [evil]}}
    )
    content["training"] = {evil: [{"epoch": 1.0, "loss": 0.1}]}
    parsed = page(tmp_path, content)
    assert "b" not in [tag for tag, _, _ in parsed.tags]
    assert sum(evil in text for text in parsed.texts) >= 13


def test_a_table_scrolls_in_a_container_of_its_own(tmp_path: Path) -> None:
    tables = [parents for tag, _, parents in page(tmp_path, full_report()).tags if tag == "table"]
    assert len(tables) == 7  # the ladder, the summary, two backends, versions, machine, configuration
    assert {parents[-1] for parents in tables} == {"div"}
    assert re.search(r"\.scroll {[^}]*overflow-x: auto", report_html.CSS)


def test_the_page_tells_a_rung_that_fails_by_itself_from_those_that_stand_on_it(tmp_path: Path) -> None:
    parsed = page(tmp_path, full_report(AFTER_7))
    cells = [attributes for tag, attributes, _ in parsed.tags if attributes.get("data-label") == "pass" and tag == "td"]
    assert [cell["class"] for cell in cells] == ["pass"] * 6 + ["fail"] + ["soft"] * 2
    assert parsed.texts.count("after 7") == 2
    assert "stands on rung N" in " ".join(parsed.texts)
    assert "stands on" not in " ".join(page(tmp_path, full_report()).texts)


def test_only_the_outcome_of_a_rung_is_coloured(tmp_path: Path) -> None:
    parsed = page(tmp_path, {"config": {"grade": "pass", "other": "FAIL"}})
    cells = [attributes["class"] for tag, attributes, _ in parsed.tags if tag == "td"]
    assert cells == ["word", "word"]


def test_on_a_phone_every_number_of_a_rung_still_has_its_name(tmp_path: Path) -> None:
    """The header is hidden there: a rung is a card, and a cell carries the header of its column."""
    parsed = page(tmp_path, {"ladder": full_report(LADDER)["ladder"]})
    labels = [attributes["data-label"] for tag, attributes, _ in parsed.tags if tag == "td"]
    header = [parsed.texts[parsed.texts.index("what") :][n] for n in range(10)]
    assert labels == header[1:] * 13
    narrow = report_html.CSS.partition("@media (max-width: 40rem)")[2]
    assert ".ladder thead { display: none; }" in narrow
    assert "attr(data-label)" in narrow


def test_on_a_phone_a_wide_picture_scrolls_or_is_shown_whole(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(PNG)
    parsed = page(tmp_path, {}, {"a picture": tmp_path / "picture.png"})
    (parents,) = [parents for tag, _, parents in parsed.tags if tag == "img"]
    assert parents[-2:] == ("figure", "div")
    assert [attributes for tag, attributes, _ in parsed.tags if tag == "input"] == [{"type": "checkbox"}]
    assert "figure:not(:has(:checked)) img { max-width: 60rem; }" in report_html.CSS


@pytest.mark.parametrize(
    ("torch", "mxnet", "words"),
    [
        (2e-5, 2.4e-3, "mxnet, 120×"),
        (3e-5, 2e-5, "torch, 1.5×"),
        (1e-5, 1e-5, "equal"),
        (0.0, 1e-5, "mxnet"),
        (float("nan"), 1e-5, "torch"),
        (None, 1e-5, "–"),
    ],
)
def test_in_float32_the_page_says_which_framework_is_farther_off(
    tmp_path: Path, torch: float | None, mxnet: float | None, words: str
) -> None:
    errors = {"numpy": 1e-7, "torch": torch, "mxnet": mxnet}
    float32 = page(tmp_path, full_report([Row(dtype="float32", errors=errors)])).texts
    float64 = page(tmp_path, full_report([Row(dtype="float64", errors=errors)])).texts
    assert float32.count(words) == float64.count(words) + (words != "–")


def test_the_page_can_be_made_from_the_json(tmp_path: Path) -> None:
    rows = [Row(errors={"numpy": None, "torch": float("nan"), "mxnet": float("inf")}, dtype="float32", passed=False)]
    write_json(tmp_path / "report.json", full_report(rows))
    texts = page(tmp_path, json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))).texts
    assert {"ref", "nan", "inf"} <= set(texts)


def test_an_empty_report_is_still_a_page(tmp_path: Path) -> None:
    assert "The comparison did not pass" in page(tmp_path, {}).texts


def test_a_picture_that_is_missing_or_no_picture_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: the picture cannot be read \(No such file"):
        report_html.write_html(tmp_path / "report.html", full_report(), {"gone": tmp_path / "gone.png"})
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(InputError, match=r"notes\.txt: neither a PNG nor a JPEG"):
        report_html.write_html(tmp_path / "report.html", full_report(), {"notes": tmp_path / "notes.txt"})
    assert not (tmp_path / "report.html").exists()
