"""The report of a comparison: tables for the terminal, JSON for a machine, one HTML page for a person.

`write_json` and `write_html` take the same report, a dict with the keys `title`, `command`, `created`, `dtype`, `isa`,
`verdict` (`{"passed": bool, "failed": [names]}`; what fails because of a lower rung is not named), `ladder` (each `Row`
as a dict), `training` (`{backend: [epoch rows]}`), `baselines`, `versions`, `machine` and `config`. Any of them may be
missing or empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssd_common.machine import NATIVE
from ssd_common.output.console import MISSING, format_number
from ssd_common.parity.rungs import Row

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
ONNX_COLUMN = "onnx error"  # only in the report of a ladder with ONNX Runtime, behind those of the frameworks
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


def ladder_rows(report: Mapping[str, Any]) -> list[Row]:
    """Return the ladder of a report, which may have been read from JSON."""
    return [Row(**row) for row in report.get("ladder") or ()]


def made_of(report: Mapping[str, Any]) -> list[str]:
    """Return when and how a report was made, in words: the time, the dtype, the instructions if they were limited."""
    made = [str(report[key]) for key in ("created", "dtype") if report.get(key)]
    limited = report.get("isa", NATIVE) != NATIVE
    return [*made, f"instructions: {report['isa'].upper()} at most"] if limited else made


def verdict_text(report: Mapping[str, Any]) -> str:
    """Return the verdict as one sentence: "All 13 rungs pass", "Rung 7 (logits) fails; rungs 8, 9 stand on it"."""
    rows = ladder_rows(report)
    numbers = {row.name: row.rung for row in rows}
    verdict = report.get("verdict") or {}
    failed: dict[Any, list[str]] = {}  # names by number: several rows may be of one rung
    for name in dict.fromkeys(verdict.get("failed") or ()):
        failed.setdefault(numbers.get(name, "?"), []).append(name)
    if failed:
        named = ", ".join(f"{number} ({', '.join(names)})" for number, names in failed.items())
        one = len(failed) == 1
        text = f"Rung {named} fails" if one else f"Rungs {named} fail"
        after = [str(n) for n in dict.fromkeys(row.rung for row in rows if _fails_after(row)) if n not in failed]
        if after:
            stand = "rung {} stands on" if len(after) == 1 else "rungs {} stand on"
            text += f"; {stand.format(', '.join(after))} {'it' if one else 'them'}"
        return text
    if not verdict.get("passed"):
        return "The comparison did not pass"
    count = len(set(numbers.values()))
    if not count:
        return "No rung was compared"
    return "The only rung passes" if count == 1 else f"All {count} rungs pass"


def ladder_columns(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the names of the columns: `COLUMNS`, with one for ONNX Runtime where it is on the ladder."""
    place = COLUMNS.index("mxnet error") + 1
    return (*COLUMNS[:place], ONNX_COLUMN, *COLUMNS[place:]) if any("onnx" in row.errors for row in rows) else COLUMNS


def ladder_table(rows: Sequence[Row], width: int | None = None) -> Table:
    """Return the parity ladder as a table for the terminal, with the notes of failed rungs below it.

    Args:
        rows: what `climb` yielded.
        width: columns of the terminal, by default those that rich finds. Below 96 the quantity is left out, so that a
            rung stays on a line or two.
    """
    width = width or Console().width
    columns = ladder_columns(rows)
    title = ", ".join(["Parity ladder", *dict.fromkeys(row.dtype for row in rows)])
    notes = [f"{whose}: {note}" for whose, note in shared_notes(row for row in rows if not row.passed)]
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.caption = Text("\n".join(notes), justify="left") if notes else None
    full_width = FULL_WIDTH + (len(columns) > len(COLUMNS)) * 8
    shown = [c for c, name in enumerate(columns) if name != "quantity" or width >= full_width]
    for name in (columns[column] for column in shown):
        words = name in WORDS
        header = "\n".join(name.rsplit(" ", 1))  # "numpy error" on two lines: numbers need 7 columns
        table.add_column(
            header, justify="left" if words else "right", no_wrap=not words and name != "pass", overflow="fold"
        )
    for row in rows:
        cells = [Text(cell) for cell in ladder_cells(row, columns)]  # Text: rich would read "[b]" in a str as markup
        cells[-1].stylize("green" if row.passed else "yellow" if _fails_after(row) else "bold red")
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
    header, rows = training_cells(summaries, baselines or {})
    table = Table(title="Training", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, name in enumerate(header):
        table.add_column(Text(name), justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def shared_notes(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return each note once, after the rungs that it belongs to: `("rungs 7, 8", note)`."""
    numbers: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.note:
            numbers.setdefault(row.note, {})[str(row.rung)] = None
    return [(f"rung{'s' * (len(of_note) > 1)} {', '.join(of_note)}", note) for note, of_note in numbers.items()]


def ladder_cells(row: Row, columns: Sequence[str] = COLUMNS) -> list[str]:
    """One rung as printed, a cell for each of the columns. A framework without an error may be the reference."""
    reference = row.reference.partition(" ")[0]
    errors = [
        "ref" if row.errors.get(name) is None and name == reference else format_number(row.errors.get(name))
        for name in (column.removesuffix(" error") for column in columns if column.endswith(" error"))
    ]
    numbers = [*errors, format_number(row.difference), format_number(row.tolerance)]
    return [str(row.rung), row.name, row.quantity, *numbers, _outcome(row)]


def _outcome(row: Row) -> str:
    """What the last column says; "after 7, 8" of a rung that fails because those do."""
    if row.passed:
        return "pass"
    return f"after {', '.join(map(str, row.caused_by))}" if _fails_after(row) else "FAIL"


def _fails_after(row: Row) -> bool:
    """Whether a rung fails only because it stands on rungs that fail."""
    return not row.passed and bool(row.caused_by)


def farther_off(row: Row) -> str:
    """Which framework is farther from the reference in float32, and how many times: "mxnet, 120×"."""
    torch, mxnet = row.errors.get("torch"), row.errors.get("mxnet")
    if row.dtype != "float32" or torch is None or mxnet is None:
        return MISSING
    errors = {"torch": float(torch), "mxnet": float(mxnet)}
    distances = {name: math.inf if math.isnan(error) else error for name, error in errors.items()}
    near, far = sorted(distances, key=distances.__getitem__)
    if distances[near] == distances[far]:
        return "equal"
    if distances[near] == 0 or math.isinf(distances[far]):
        return far
    ratio = distances[far] / distances[near]
    return f"{far}, {ratio:.1f}×" if ratio < 10 else f"{far}, {ratio:,.0f}×"


def training_cells(
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
