"""Write `docs/benchmarks.md` from the reports of `python -m benchmarks --json`: what `make bench` does at its end.

python -m benchmarks.page REPORT.json... [--out docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.cases import GOALS
from benchmarks.instrument import format_seconds

INTRODUCTION = """\
# This code against the book's own

`make bench` measures the time of this code and of the book's code in turn. Both get the same inputs and the same
weights, and the benchmark first checks that both compute the same result. Each report below comes from one process.

- **ratio**: the book's time divided by this code's time, as the median over all pairs of measurements.
- **spread**: the interquartile range of the ratios, divided by the median.
- **the book**: the functions of the `d2l` package, called as the chapters call them (`benchmarks/book_torch.py`,
  `benchmarks/book_mxnet.py`). The book's training steps and epochs have their own memory, as in a process of their own
  (`benchmarks/instrument.py`).

The goals concern the work that a user waits for: a whole training step, an epoch from files, and detection in image
files. They were set for two cores with AVX-512 and AMX. The cases `targets_*` and `detection_*` time single functions.
These cases have no goal, because the functions take 1 to 3 % of a step and are written for readers.
[The results](results.md) show how training in bfloat16 changes the accuracy.

`python -m benchmarks.page` wrote this page from the reports of
"""
LARGE_OPERATION = """\
*The fastest large operation* is the fastest of three: a matrix product, and a wide convolution in two memory orders.
Its speed is an estimate of what the machine allows, not a strict limit. Noise can bring a training step above 100 %."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    arguments = parser.parse_args()
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.reports]
    arguments.out.write_text(page(reports), encoding="utf-8")
    print(f"wrote {arguments.out}")


def page(reports: Sequence[dict[str, Any]]) -> str:
    """Return the page, in Markdown, for one or more reports of `python -m benchmarks --json`."""
    first = reports[0]
    beside = dict.fromkeys(chain(*(report["extras"].get("lines", []) for report in reports)))
    versions = ", ".join(f"{name} {first['versions'][name]}" for name in ("torch", "mxnet", "numpy", "d2l"))
    lines = [
        INTRODUCTION,
        *(f"    {report['command']}" for report in reports),
        "",
        f"on {first['machine']['cores']} cores of {first['machine']['processor']}, {versions}.",
        "",
        *table(reports),
        "",
        *(f"- {text}" for report in reports for kind in ("void", "skipped", "notes") for text in report[kind]),
        "",
        *(["## Beside the cases", "", LARGE_OPERATION, "", *(f"- {line}" for line in beside)] if beside else []),
    ]
    return "\n".join(lines).rstrip() + "\n"


def table(reports: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of the table of all cases in one or more reports."""
    return [
        "| case | framework | tinyssd | the book | ratio | spread | pairs | goal | |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_case(case, report["pairs"]) for report in reports for case in report["cases"]),
    ]


def _case(case: dict[str, Any], pairs: int) -> str:
    """Return a case as a row of the table."""
    goal = GOALS.get((case["name"], case["backend"]))
    verdict = "" if goal is None else "reached" if case["ratio"] >= goal else "not reached"
    cells = (
        f"`{case['name']}`",
        case["backend"],
        format_seconds(case["ours_s"]),
        format_seconds(case["peer_s"]),
        f"**{case['ratio']:.3g}**",
        f"{case['spread']:.0%}",
        pairs,
        "–" if goal is None else f"{goal:g}",
        verdict,
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
