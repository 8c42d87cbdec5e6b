"""This code against the book's own: `python -m benchmarks` times both in turn, in one process.

All cases take hours: the book's MXNet edition is slow. `python -m benchmarks.page` writes the page from the reports.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import arg

from benchmarks.cases import CASES, NUMPY_CASES, SkippedCaseError
from benchmarks.extras import measure_extras
from benchmarks.inputs import Inputs, Sizes
from benchmarks.instrument import DifferentWorkError, Result, format_seconds, measure
from benchmarks.page import table
from benchmarks.sides import Sides, load_book
from ssd_common.backends import BACKENDS, load_backend
from ssd_common.cli.flags import OptionalPath
from ssd_common.errors import InputError
from ssd_common.machine import machine, versions
from ssd_common.output.console import new_console, print_lines
from ssd_common.output.folders import check_file
from ssd_common.output.json_file import write_json

PROGRAM = "python -m benchmarks"


def bench(
    backend: Annotated[str, arg(metavar="NAME,NAME")] = "torch,mxnet,numpy",
    cases: Annotated[str | None, arg(metavar="NAME,NAME", help_behavior_hint="")] = None,
    pairs: int = 7,
    extras: bool = True,
    json: OptionalPath = None,
) -> int:
    """Time this code against the book's own, in turn, in one process.

    All cases take hours: the book's MXNet edition is slow. It exits with 1 if two sides do not compute the same.

    Args:
        backend: Which frameworks: torch, mxnet, and numpy (the reference against the book's PyTorch edition).
        cases: Which cases (default: all): train_step_fp32, train_step_bf16, targets_1, targets_20, detection_1,
            detection_32, predict_files, epoch.
        pairs: How often each side of a case is timed.
        extras: Measure the share of the loop, FLOPs, memory and cold start as well.
        json: File to write the report to.
    """
    check_file("--json", json)
    names = cases.split(",") if cases else None
    console = new_console()
    result = run_benchmark(backend.split(","), names, pairs, console, extras)
    if json is not None:
        write_json(json, {"command": " ".join([PROGRAM, *sys.argv[1:]]), **result})
        print_lines([f"wrote {json}"], console)
    return 1 if result["void"] else 0


def run_benchmark(
    backends: Sequence[str],
    cases: Sequence[str] | None,
    pairs: int,
    console: Console,
    extras: bool,
    sizes: Sizes | None = None,
) -> dict[str, Any]:
    """Measure cases, printing each as it is done and a table at the end, and return the report.

    Args:
        backends: any of "torch", "mxnet", and "numpy", whose reference is compared with the book's PyTorch edition.
        cases: names of `CASES`; None measures all.
        pairs: how often each side of a case is timed.
        console: where to print.
        extras: measure as well what `benchmarks.extras` measures.
        sizes: how much work the cases are; less in tests.

    Returns:
        `{"cases": [...], "pairs", "notes", "skipped", "void", "machine", "versions", "extras"}`; a case has the
        fields of `Result`. "void" lists the cases whose two sides do not compute the same thing, which have no times.

    Raises:
        InputError: there is no such backend or case, or the book's package is missing.
    """
    for what, names, known in (("backend", backends, (*BACKENDS, "numpy")), ("case", cases or (), tuple(CASES))):
        for name in names:
            if name not in known:
                raise InputError(f"unknown {what} '{name}'; the {what}s are {', '.join(known)}")
    if cases and not any(name in (NUMPY_CASES if b == "numpy" else CASES) for name in cases for b in backends):
        raise InputError(f"the numpy reference has no case {', '.join(cases)}; its cases are {', '.join(NUMPY_CASES)}")
    results, all_sides = [], {}
    messages: dict[str, list[str]] = {"notes": [], "skipped": [], "void": []}

    def say(kind: str, text: str) -> None:
        messages[kind].append(text)
        console.print(text, highlight=False, markup=False, soft_wrap=True, style="bold red" if kind == "void" else None)

    with tempfile.TemporaryDirectory(prefix="tinyssd-bench-") as folder:
        inputs = Inputs(Path(folder), sizes or Sizes())
        for backend in backends:  # before anything is measured: a missing package must not cost an hour
            framework = "torch" if backend == "numpy" else backend
            all_sides[backend] = Sides(load_backend(framework), load_book(framework), inputs)
        for backend, sides in all_sides.items():
            for name, build in (NUMPY_CASES if backend == "numpy" else CASES).items():
                if cases is not None and name not in cases:
                    continue
                try:
                    case = build(sides)
                    result = measure(case, pairs)
                except SkippedCaseError as reason:
                    say("skipped", f"{name}, {backend}: skipped: {reason}")
                except DifferentWorkError as error:
                    say("void", str(error))
                else:
                    results.append(result)
                    console.print(_line(result), highlight=False, soft_wrap=True)
                    if case.note:
                        say("notes", f"{name}, {backend}: {case.note}")
        report: dict[str, Any] = {"cases": [dataclasses.asdict(result) for result in results], "pairs": pairs}
        for line in table([report]):
            print_lines([line], console)
        more: dict[str, Any] = {}
        frameworks = [sides for name, sides in all_sides.items() if name != "numpy"]
        if extras and frameworks:
            try:
                more = measure_extras(frameworks, results, console)
            except InputError as error:
                say("skipped", f"what goes beyond the cases: {error}")
    return {**report, **messages, "machine": machine(), "versions": versions(), "extras": more}


def _line(result: Result) -> str:
    ours, peer = format_seconds(result.ours_s), format_seconds(result.peer_s)
    return f"{result.name}, {result.backend}: ours {ours}, the book {peer}, ratio {result.ratio:.3g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and exit: 0 done, 1 two sides do not compute the same, 2 bad usage or bad input."""
    try:
        sys.exit(tyro.cli(bench, prog=PROGRAM, args=arguments))
    except InputError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
