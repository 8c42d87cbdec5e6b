"""The pages made from what programs say: the parity ladder, and the help of the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

from pages import WITHOUT_CONTENTS, PageFolder, fenced

from ssd_common.cli import main
from ssd_common.parity import Row
from ssd_common.parity.report import (
    WORDS,
    farther_off,
    ladder_cells,
    ladder_columns,
    ladder_rows,
    made_of,
    shared_notes,
    verdict_text,
)

BUILD = Path(__file__).parent.parent / "build"
VERBS = ("train", "eval", "predict", "compare", "convert", "export", "info", "data")
DATA_VERBS = ("list", "check", "show", "convert", "anchors")


def write(docs: Path) -> None:
    """Write the pages."""
    pages = PageFolder(docs / "reports")
    pages.write("parity.md", parity_page())
    pages.write("command_line.md", command_line_page())
    pages.finish()


def parity_page() -> str:
    """Return the page of the parity ladder, from the JSON that `tinyssd compare` wrote."""
    lines = [
        WITHOUT_CONTENTS,
        "# The parity ladder",
        "Every rung compares one quantity of the two frameworks and has a tolerance. The first rung compares anchors. "
        "The last ones compare training runs, and one of them changes the framework half way.",
        "An *error* is the distance from the reference of the rung: the numpy code, or float64. *torch – mxnet* is the "
        "difference between the two frameworks. In float64 it is rounding: the two are one algorithm. Users train in "
        "float32. There, the last column says which framework is farther from float64.",
    ]
    for dtype in ("float64", "float32"):
        report = json.loads((BUILD / f"parity-{dtype}.json").read_text(encoding="utf-8"))
        rows = ladder_rows(report)
        lines += [f"## {dtype}", f"**{verdict_text(report)}.**", ladder(rows)]
        lines += [f"{whose.capitalize()}: {note}" for whose, note in shared_notes(rows)]
        how, on = ", ".join(made_of({**report, "created": ""})), report["machine"]
        made_with = f"with {versions(report)}, on {on['processor']} ({on.get('instructions', 'unknown instructions')})"
        lines.append(f"Written by `{report['command']}`, in {how}, {made_with}.")
    return "\n\n".join(lines)


def ladder(rungs: list[Row]) -> str:
    """Return the rungs as a table of Markdown."""
    columns = ladder_columns(rungs)
    header = (*columns, "farther off")
    rows = [header, ["---" if name in (*WORDS, "pass") else "---:" for name in header]]
    rows += [(*ladder_cells(rung, columns), farther_off(rung)) for rung in rungs]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def versions(report: dict[str, Any]) -> str:
    """Return the versions of a report in words."""
    return ", ".join(f"{name} {version}" for name, version in report["versions"].items())


def command_line_page() -> str:
    """Return the page of the command line's own help."""
    lines = ["# The command line", fenced(help_text(), "text")]
    for verb in VERBS:
        lines += [f"## tinyssd {verb}", fenced(help_text(verb), "text")]
    for verb in DATA_VERBS:
        lines += [f"### tinyssd data {verb}", fenced(help_text("data", verb), "text")]
    return "\n\n".join(lines)


def help_text(*verbs: str) -> str:
    """Return what `tinyssd VERBS --help` prints."""
    output = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS="88"), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main([*verbs, "--help"])
    return output.getvalue()
