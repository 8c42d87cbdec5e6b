"""The page of a report: the same numbers, in one file that needs nothing else."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ssd_common.errors import InputError
from ssd_common.output import write_json
from ssd_common.parity import report_html
from tests.parity.report_cases import AFTER_7, ANCHORS, FAILED, LADDER, PNG, full_report

TEMPLATE = report_html.TEMPLATE.read_text(encoding="utf-8")


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


def test_the_page_says_the_verdict_the_numbers_and_where_they_come_from(tmp_path: Path) -> None:
    texts = page(tmp_path, full_report(FAILED)).texts
    expected = ["Side by side", "Rung 5 (NMS keep set) fails", "tinyssd compare --check", "5 NMS keep set", "FAIL"]
    expected += ["2.3e-13", "3.4e-13", "1.0e-12", "numpy float64", "Rung 5: three ties [bold]", "4.80e-03", "0.274"]
    expected += ["trivial baseline", "2.12.1", "cores", "train.lr", "0.25"]
    assert [text for text in expected if text not in texts] == []


def test_the_page_asks_for_nothing_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(PNG)
    parsed = page(tmp_path, full_report(), {"an image": tmp_path / "picture.png"})
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
    rows = [replace(ANCHORS, name=evil, quantity=evil, reference=evil, note=evil, passed=False)]
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
    assert re.search(r"\.scroll {[^}]*overflow-x: auto", TEMPLATE)


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
    narrow = TEMPLATE.partition("@media (max-width: 40rem)")[2]
    assert ".ladder thead { display: none; }" in narrow
    assert "attr(data-label)" in narrow


def test_on_a_phone_a_wide_picture_scrolls_or_is_shown_whole(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(PNG)
    parsed = page(tmp_path, {}, {"an image": tmp_path / "picture.png"})
    (parents,) = [parents for tag, _, parents in parsed.tags if tag == "img"]
    assert parents[-2:] == ("figure", "div")
    assert [attributes for tag, attributes, _ in parsed.tags if tag == "input"] == [{"type": "checkbox"}]
    assert "figure:not(:has(:checked)) img { max-width: 60rem; }" in TEMPLATE


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
    float32 = page(tmp_path, full_report([replace(ANCHORS, dtype="float32", errors=errors)])).texts
    float64 = page(tmp_path, full_report([replace(ANCHORS, dtype="float64", errors=errors)])).texts
    assert float32.count(words) == float64.count(words) + (words != "–")


def test_the_page_can_be_made_from_the_json(tmp_path: Path) -> None:
    rows = [
        replace(
            ANCHORS, errors={"numpy": None, "torch": float("nan"), "mxnet": float("inf")}, dtype="float32", passed=False
        )
    ]
    write_json(tmp_path / "report.json", full_report(rows))
    texts = page(tmp_path, json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))).texts
    assert {"ref", "nan", "inf"} <= set(texts)


def test_an_empty_report_is_still_a_page(tmp_path: Path) -> None:
    assert "The comparison did not pass" in page(tmp_path, {}).texts


def test_a_picture_that_is_missing_or_no_picture_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: the image cannot be read \(No such file"):
        report_html.write_html(tmp_path / "report.html", full_report(), {"gone": tmp_path / "gone.png"})
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(InputError, match=r"notes\.txt: neither a PNG nor a JPEG"):
        report_html.write_html(tmp_path / "report.html", full_report(), {"notes": tmp_path / "notes.txt"})
    assert not (tmp_path / "report.html").exists()


def test_a_command_line_with_a_byte_that_is_no_utf8_can_be_reported(tmp_path: Path) -> None:
    content = full_report(command=b"tinyssd compare \xff.png".decode("utf-8", "surrogateescape"))
    write_json(tmp_path / "report.json", content)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["command"] == content["command"]
    assert "tinyssd compare \\udcff.png" in page(tmp_path, content).texts


def test_the_page_says_when_instructions_were_limited(tmp_path: Path) -> None:
    assert "2025-01-31, float64" in page(tmp_path, full_report()).texts
    assert "2025-01-31, float64, instructions: AVX2 at most" in page(tmp_path, full_report(isa="avx2")).texts
