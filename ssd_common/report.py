"""The report of a comparison: tables for the terminal, JSON for a machine, one HTML page for a person.

`write_json` and `write_html` take the same report, a dict with the keys `title`, `command`, `created`, `dtype`,
`verdict` (`{"passed": bool, "failed": [names]}`), `ladder` (rungs as dicts), `training` (`{backend: [epoch rows]}`),
`baselines`, `versions`, `machine` and `config`. Any of them may be missing or empty.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssd_common.atomic import write_atomically
from ssd_common.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MISSING = "–"
COLUMNS = (
    "rung",
    "what",
    "quantity",
    "numpy error",
    "torch error",
    "mxnet error",
    "torch – mxnet",
    "tolerance",
    "pass",
)
# The columns of words: left-aligned, and they may wrap.
WORDS = ("what", "quantity", "reference", "farther off", "value")
FULL_WIDTH = 96  # columns of a terminal that shows the ladder with its quantities

# What an epoch is summarised by: the key in results.csv, the words for it, how its number is written.
TRAINING_QUANTITIES = (
    ("epoch", "epoch", ".0f"),
    ("loss", "loss", ".4g"),
    ("cls_loss", "class loss", ".4g"),
    ("bbox_loss", "box loss", ".4g"),
    ("class_error", "class error", ".2e"),
    ("bbox_mae", "box MAE", ".2e"),
    ("val_class_error", "val. class error", ".2e"),
    ("val_bbox_mae", "val. box MAE", ".2e"),
    ("val_ap50", "val. AP50", ".3f"),
    ("val_ap", "val. AP", ".3f"),
    ("examples_per_second", "examples/s", ".1f"),
    ("data_seconds", "seconds for data", ".1f"),
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
td { white-space: nowrap; } th.word, td.word { text-align: left; } td.word { white-space: normal; min-width: 7rem; }
tbody th { position: sticky; left: 0; background: var(--paper); text-align: left; font-weight: 400; min-width: 7rem; }
figure { margin: 1.5rem 0; } img { max-width: max(100%, 40rem); background: #fff; display: block; }
"""


def format_number(value: float | str | None, spec: str = ".1e") -> str:
    """Return a number as the tables print it: "2.3e-13", 0 as "0", None as "–", otherwise "nan", "inf" or "-inf".

    With the default `spec` a whole number below 10,000 is printed whole: it is a count, or exactly zero. A string is
    read as a number, because `write_json` writes one for what is not finite.
    """
    if value is None:
        return MISSING
    number = float(value)
    if spec == ".1e" and number.is_integer() and abs(number) < 10_000:
        return str(int(number))
    return format(number, spec)


def verdict_text(report: Mapping[str, Any]) -> str:
    """Return the verdict as one sentence: "All 13 rungs pass", "Rung 5 (NMS keep set) fails"."""
    numbers = {rung["name"]: rung["rung"] for rung in report.get("ladder") or ()}
    verdict = report.get("verdict") or {}
    failed = [f"{numbers.get(name, '?')} ({name})" for name in verdict.get("failed") or ()]
    if failed:
        return f"Rung {failed[0]} fails" if len(failed) == 1 else f"Rungs {', '.join(failed)} fail"
    if not verdict.get("passed"):
        return "The comparison did not pass"
    if not numbers:
        return "No rung was compared"
    return "The only rung passes" if len(numbers) == 1 else f"All {len(numbers)} rungs pass"


def ladder_table(rows: Iterable[DataclassInstance | Mapping[str, Any]], width: int | None = None) -> Table:
    """Return the parity ladder as a table for the terminal, with the notes of failed rungs below it.

    Args:
        rows: rungs, as the dataclass of `ssd_common.parity` or as dicts with its fields.
        width: columns of the terminal, by default those that rich finds. Below 96 the quantity is left out, so that a
            rung stays on a line or two.
    """
    width = width or Console().width
    rungs = [row if isinstance(row, Mapping) else dataclasses.asdict(row) for row in rows]
    title = ", ".join(["Parity ladder", *sorted({str(rung["dtype"]) for rung in rungs})])
    notes = [f"rung {rung['rung']}: {rung['note']}" for rung in rungs if rung["note"] and not rung["passed"]]
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.caption = Text("\n".join(notes), justify="left") if notes else None
    shown = [c for c, name in enumerate(COLUMNS) if name != "quantity" or width >= FULL_WIDTH]
    for name in (COLUMNS[column] for column in shown):
        words = name in WORDS
        header = "\n".join(name.rsplit(" ", 1))  # "numpy error" on two lines: numbers need 7 columns
        table.add_column(header, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for rung in rungs:
        cells = [Text(cell) for cell in _ladder_cells(rung)]  # Text: rich would read "[b]" in a str as markup
        cells[-1].stylize("green" if rung["passed"] else "bold red")
        table.add_row(*(cells[column] for column in shown))
    return table


def training_table(
    summaries: Mapping[str, Mapping[str, float | None]], baselines: Mapping[str, float] | None = None
) -> Table:
    """Return what training reached as a table for the terminal: a column for each backend, then the trivial baselines.

    Args:
        summaries: for each backend one epoch row, usually its last.
        baselines: the errors of predicting background and zero offsets everywhere, under the keys of an epoch row. A
            baseline is shown beside the quantity of its own key and no other.
    """
    header, rows = _training_cells(summaries, baselines or {})
    table = Table(title="Training", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, name in enumerate(header):
        table.add_column(Text(name), justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def write_json(path: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """Write a report as JSON that every parser accepts, keys sorted, so that two reports can be compared by line.

    None is null. A number that is not finite is the string "NaN", "Infinity" or "-Infinity": JSON has no such number,
    and null would make a loss that diverged look like one that was not measured. `float()` reads all three.

    Raises:
        TypeError: a value has no plain JSON form.
    """
    text = json.dumps(_plain(report), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomically(path, _encoded(f"{text}\n"))


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
    write_atomically(path, _encoded("\n".join(filter(None, parts))))


def _encoded(text: str) -> bytes:
    """UTF-8; a byte of the command line that was no UTF-8 is written as an escape, which JSON understands."""
    return text.encode(errors="backslashreplace")


def _plain(value: Any) -> Any:
    """The value without numpy types and without floats that JSON cannot write."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _ladder_cells(rung: Mapping[str, Any]) -> list[str]:
    """One rung as printed, a cell for each of `COLUMNS`. A framework without an error may be the reference."""
    reference = str(rung["reference"]).partition(" ")[0]
    errors = [
        "ref" if rung["errors"].get(name) is None and name == reference else format_number(rung["errors"].get(name))
        for name in ("numpy", "torch", "mxnet")
    ]
    numbers = [*errors, format_number(rung["difference"]), format_number(rung["tolerance"])]
    return [str(rung["rung"]), str(rung["name"]), str(rung["quantity"]), *numbers, "pass" if rung["passed"] else "FAIL"]


def _farther_off(rung: Mapping[str, Any]) -> str:
    """Which framework is farther from the reference in float32, and how many times: "mxnet, 120×"."""
    errors = {name: rung["errors"].get(name) for name in ("torch", "mxnet")}
    if rung["dtype"] != "float32" or None in errors.values():
        return MISSING
    distances = {name: math.inf if math.isnan(float(error)) else float(error) for name, error in errors.items()}
    near, far = sorted(distances, key=distances.__getitem__)
    if distances[near] == distances[far]:
        return "equal"
    if distances[near] == 0 or math.isinf(distances[far]):
        return far
    ratio = distances[far] / distances[near]
    return f"{far}, {ratio:.1f}×" if ratio < 10 else f"{far}, {ratio:,.0f}×"


def _training_cells(
    summaries: Mapping[str, Mapping[str, float | None]], baselines: Mapping[str, float]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the training table; a quantity that nobody measured has no row."""
    columns: list[Mapping[str, float | None]] = [*summaries.values(), dict(baselines)]
    rows = [
        [words, *(format_number(column.get(key), spec) for column in columns)]
        for key, words, spec in TRAINING_QUANTITIES
        if any(column.get(key) is not None for column in columns)
    ]
    return ["quantity", *summaries, "trivial baseline"], rows


def _table_html(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in a container of its own that scrolls sideways; the first cell of a row is the row's header."""
    classes = ["number" if column and name not in WORDS else "word" for column, name in enumerate(header)]
    lines = [f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in zip(header, classes, strict=True)]
    lines = [f"<thead><tr>{''.join(lines)}</tr></thead>"]
    for first, *cells in rows:
        kinds = [cell.lower() if cell in ("pass", "FAIL") else classes[column] for column, cell in enumerate(cells, 1)]
        data = "".join(f'<td class="{kind}">{escape(cell)}</td>' for kind, cell in zip(kinds, cells, strict=True))
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{data}</tr>')
    return '<div class="scroll" tabindex="0"><table>' + "\n".join(lines) + "</table></div>"


def _ladder_html(rungs: Sequence[Mapping[str, Any]]) -> str:
    if not rungs:
        return ""
    rows = []
    for rung in rungs:
        number, name, *cells, passed = _ladder_cells(rung)
        rows.append([f"{number} {name}", passed, *cells, str(rung["reference"]), _farther_off(rung)])
    table = _table_html(["what", "pass", *COLUMNS[2:-1], "reference", "farther off"], rows)
    notes = "".join(f"<p>Rung {rung['rung']}: {escape(str(rung['note']))}</p>\n" for rung in rungs if rung["note"])
    explained = (
        "An error is the distance from the rung's reference; torch – mxnet is the distance of the two from each other. "
        "In float32, “farther off” says which of the two is farther from the reference, and how many times."
    )
    return f"<h2>Parity ladder</h2>\n<p>{explained}</p>\n{table}\n{notes}"


def _training_html(training: Mapping[str, Sequence[Mapping[str, Any]]], baselines: Mapping[str, float]) -> str:
    training = {backend: epochs for backend, epochs in training.items() if epochs}
    if not training:
        return ""
    last = {backend: epochs[-1] for backend, epochs in training.items()}
    tables = ["<h2>Training</h2>", _table_html(*_training_cells(last, baselines))]
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
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _settings_html(name: str, settings: Mapping[str, Any]) -> str:
    def flat(prefix: str, value: Any) -> list[list[str]]:
        if isinstance(value, Mapping):
            return [row for key, item in value.items() for row in flat(f"{prefix}{key}.", item)]
        return [[prefix[:-1], str(value)]]

    if not settings:
        return ""
    return f"<h2>{escape(name.capitalize())}</h2>\n" + _table_html(["name", "value"], flat("", settings))
