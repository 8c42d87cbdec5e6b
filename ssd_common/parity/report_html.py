"""The report of a comparison as one HTML page for a person: no network, no script, light and dark, phone and desk."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically
from ssd_common.output.console import MISSING, format_number
from ssd_common.output.json_file import encoded
from ssd_common.parity.report import (
    COLUMNS,
    TRAINING_QUANTITIES,
    WORDS,
    farther_off,
    ladder_cells,
    shared_notes,
    training_cells,
    verdict_text,
)

CSS = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --paper: #fff; --line: #d3d6db; --panel: #f3f4f6;
  --pass: #00664a; --fail: #a83200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a9adb3; --paper: #16181b; --line: #3c4148;
  --panel: #22252a; --pass: #4fd1a5; --fail: #ff9a6b; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
.soft, figcaption { color: var(--soft); } .pass { color: var(--pass); } .fail { color: var(--fail); font-weight: 600; }
.verdict { font-size: 1.3rem; font-weight: 600; padding: .5rem .8rem; border-left: .4rem solid; }
pre { background: var(--panel); padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
td { white-space: nowrap; } th.word, td.word { text-align: left; }
td.word { white-space: normal; min-width: 7rem; overflow-wrap: anywhere; }
tbody th { position: sticky; left: 0; background: var(--paper); text-align: left; font-weight: 400; min-width: 7rem; }
figure { margin: 1.5rem 0; } figcaption { margin-bottom: .3rem; } figure label { display: none; }
img { max-width: 100%; background: #fff; display: block; }
@media (max-width: 40rem) {
  h1 { font-size: 1.5rem; } .verdict { font-size: 1.15rem; }
  th, td { padding: .3rem .25rem; } td.word, tbody th { min-width: 5rem; }
  figure label { display: block; } /* A wide picture scrolls at a size that can be read, or is shown whole. */
  figure:not(:has(:checked)) img { max-width: 60rem; }
  .ladder, .ladder tbody { display: block; } .ladder thead { display: none; } /* A rung is a card. */
  .ladder tr { display: grid; grid-template-columns: repeat(3, 1fr); gap: .3rem .8rem; margin-bottom: .8rem;
    padding: .6rem .8rem; background: var(--panel); border-radius: .4rem; }
  .ladder th, .ladder td { display: block; position: static; grid-column: 1 / -1; min-width: 0; padding: 0;
    background: none; border: 0; text-align: left; white-space: normal; }
  .ladder th { grid-column: 1 / 3; font-size: 1rem; font-weight: 600; }
  .ladder th + td { grid-column: 3; text-align: right; }
  .ladder td.number, .ladder td[data-label="farther off"] { grid-column: auto; }
  .ladder td::before { content: attr(data-label) " "; color: var(--soft); font-size: .8rem; }
  .ladder td.number::before, .ladder td[data-label="farther off"]::before { display: block; }
  .ladder th + td::before { content: none; }
}
"""


def write_html(
    path: str | os.PathLike[str], report: Mapping[str, Any], pictures: Mapping[str, str | os.PathLike[str]]
) -> None:
    """Write a report as one HTML page that needs no other file, no network and no script.

    Args:
        path: where the page goes.
        report: see the module; what `json.load` reads back from `write_json` will do.
        pictures: caption to PNG or JPEG file, embedded in this order.

    Raises:
        InputError: a picture cannot be read, or is neither PNG nor JPEG.
    """
    title = escape(str(report.get("title") or "Comparison"))
    made = escape(", ".join(str(report[key]) for key in ("created", "dtype") if report.get(key)))
    passed = (report.get("verdict") or {}).get("passed")
    state = "fail" if not passed else "pass" if report.get("ladder") else "soft"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        # The page forbids itself every request; the empty icon spares the browser from asking for one.
        '<meta http-equiv="Content-Security-Policy"',
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">',
        f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>",
        f'<p class="verdict {state}">{escape(verdict_text(report))}</p>\n<p class="soft">{made}</p>',
        f"<pre>{escape(str(report.get('command') or MISSING))}</pre>",
        _ladder_html(report.get("ladder") or ()),
        _training_html(report.get("training") or {}, report.get("baselines") or {}),
        *(_figure_html(caption, Path(picture)) for caption, picture in pictures.items()),
        *(_settings_html(key, report.get(key) or {}) for key in ("versions", "machine", "config")),
        "</main>\n</body>\n</html>\n",
    ]
    write_atomically(path, encoded("\n".join(filter(None, parts))))


def _table_html(header: Sequence[str], rows: Iterable[Sequence[str]], style: str = "plain") -> str:
    """A table in a container of its own that scrolls sideways; the first cell of a row is the row's header."""
    classes = ["number" if column and name not in WORDS else "word" for column, name in enumerate(header)]
    lines = [f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in zip(header, classes, strict=True)]
    lines = [f"<thead><tr>{''.join(lines)}</tr></thead>"]
    for first, *cells in rows:
        line = [f'<th scope="row">{escape(first)}</th>']
        for name, kind, cell in zip(header[1:], classes[1:], cells, strict=True):
            kind = _outcome_class(cell) if name == "pass" else kind
            line.append(f'<td class="{kind}" data-label="{escape(name)}">{escape(cell)}</td>')
        lines.append(f"<tr>{''.join(line)}</tr>")
    return f'<div class="scroll" tabindex="0"><table class="{style}">' + "\n".join(lines) + "</table></div>"


def _outcome_class(outcome: str) -> str:
    """How the outcome of a rung looks; one that fails because of others is not at fault."""
    return {"pass": "pass", "FAIL": "fail"}.get(outcome, "soft")


def _ladder_html(rungs: Sequence[Mapping[str, Any]]) -> str:
    if not rungs:
        return ""
    rows = []
    for rung in rungs:
        number, name, *cells, outcome = ladder_cells(rung)
        rows.append([f"{number} {name}", outcome, *cells, farther_off(rung), str(rung["reference"])])
    table = _table_html(["what", "pass", *COLUMNS[2:-1], "farther off", "reference"], rows, "ladder")
    notes = "".join(f"<p>{whose.capitalize()}: {escape(note)}</p>\n" for whose, note in shared_notes(rungs))
    explained = (
        "An error is the distance from the rung's reference; torch – mxnet is the distance of the two from each other. "
        "In float32, “farther off” says which of the two is farther from the reference, and how many times."
    )
    if any(rung.get("caused_by") for rung in rungs):
        explained += " A rung that fails “after N” stands on rung N and fails because that one does."
    return f"<h2>Parity ladder</h2>\n<p>{explained}</p>\n{table}\n{notes}"


def _training_html(training: Mapping[str, Sequence[Mapping[str, Any]]], baselines: Mapping[str, float]) -> str:
    training = {backend: epochs for backend, epochs in training.items() if epochs}
    if not training:
        return ""
    last = {backend: epochs[-1] for backend, epochs in training.items()}
    tables = ["<h2>Training</h2>", _table_html(*training_cells(last, baselines))]
    quantities = [q for q in TRAINING_QUANTITIES if any(q[0] in row for rows in training.values() for row in rows)]
    for backend, epochs in training.items():
        rows = [[format_number(row.get(key), spec) for key, _, spec in quantities] for row in epochs]
        tables.append(f"<details><summary>Every epoch of {escape(backend)}</summary>")
        tables.append(_table_html([words for _, words, _ in quantities], rows) + "</details>")
    return "\n".join(tables)


def _figure_html(caption: str, path: Path) -> str:
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: the picture cannot be read ({error.strerror}); leave it out of the report"
        ) from error
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
    kind = next((kind for signature, kind in kinds.items() if payload.startswith(signature)), None)
    if kind is None:
        raise InputError(f"{path}: neither a PNG nor a JPEG file; convert the picture to one of the two")
    source = f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"
    caption = escape(caption)
    image = f'<div class="scroll" tabindex="0"><img src="{source}" alt="{caption}"></div>'
    whole = '<label><input type="checkbox"> the whole picture</label>'
    return f"<figure><figcaption>{caption}</figcaption>{whole}{image}</figure>"


def _settings_html(name: str, settings: Mapping[str, Any]) -> str:
    def flat(prefix: str, value: Any) -> list[list[str]]:
        if isinstance(value, Mapping):
            return [row for key, item in value.items() for row in flat(f"{prefix}{key}.", item)]
        return [[prefix[:-1], str(value)]]

    if not settings:
        return ""
    return f"<h2>{escape(name.capitalize())}</h2>\n" + _table_html(["name", "value"], flat("", settings))
