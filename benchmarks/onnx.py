"""Time image files to detections in PyTorch, MXNet and ONNX Runtime, in turn, with the detector in the package.

    python -m benchmarks.onnx --rounds 7 --json build/bench-onnx.json

Each measurement is a process of its own, which loads one of the three and does the work once before it is timed: with
MXNet imported, PyTorch is slower. A round measures all three, and their order changes from round to round. ONNX Runtime
runs the file of each framework's exporter, with detection.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from ssd_common.backends import BACKENDS, load_backend
from ssd_common.checkpoints import load_weights
from ssd_common.checkpoints.pretrained import FILE
from ssd_common.data import load_dataset
from ssd_common.errors import InputError
from ssd_common.machine import machine, versions
from ssd_common.onnx_files import load_onnx, onnx_backend
from ssd_common.output import write_json
from ssd_common.runs.predict import detect_in_files

SIDES = (*BACKENDS, *(f"onnx-{name}" for name in BACKENDS))


def main() -> None:
    """Measure the sides in turn and print a table; with `--side`, be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        report = compare(Path(name), arguments.files, arguments.rounds)
    for line in table(report):
        print(line)
    if arguments.json:
        write_json(arguments.json, report)


def compare(folder: Path, files: int, rounds: int) -> dict[str, Any]:
    """Return seconds and detections of every side in every round, on so many images that are written to a folder."""
    images = load_dataset("synthetic", "val", limit=files)
    (folder / "images").mkdir()
    for i in range(len(images)):
        Image.fromarray(images[i].image).save(folder / "images" / f"{i:03}.jpg", quality=90)
    for name in BACKENDS:
        export = "from ssd_common.cli import main; main()"
        target = folder / f"{name}.onnx"
        command = [sys.executable, "-c", export, "export", str(target), "--backend", name, "--with-detection"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    found: dict[str, int] = {}
    for i in range(rounds):
        for side in SIDES[i % len(SIDES) :] + SIDES[: i % len(SIDES)]:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.onnx", "--side", side, "--folder", str(folder)]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            seconds[side].append(result["seconds"])
            found[side] = result["detections"]
    return {
        "files": len(images),
        "seconds": seconds,
        "detections": found,
        "versions": versions(),
        "machine": machine(),
    }


def measure(side: str, folder: Path) -> dict[str, Any]:
    """Return how long one side takes for the files in a folder the second time, and how many objects it finds."""
    paths = sorted((folder / "images").iterdir())
    checkpoint = load_weights(FILE)
    if side in BACKENDS:
        backend = load_backend(side)
        net = backend.weights.make_net(checkpoint.config.model, checkpoint.weights)
    else:
        net = load_onnx(folder / f"{side.removeprefix('onnx-')}.onnx")
        backend = onnx_backend(net)

    def run() -> int:
        found = detect_in_files(backend, net, paths, checkpoint.config.model, checkpoint.config.predict, _fail)
        return sum(len(rows[rows[:, 1] >= 0.5]) for _, _, rows in found)

    run()
    start = time.perf_counter()
    detections = run()
    return {"seconds": time.perf_counter() - start, "detections": detections}


def _fail(error: InputError) -> None:
    raise error


def table(report: dict[str, Any]) -> list[str]:
    """Return a report as lines of Markdown: the median of the rounds, and of their ratios to PyTorch's."""
    lines = [f"| {report['files']} image files to detections | median | fastest | PyTorch's time / this time |"]
    lines.append("|---|---|---|---|")
    for side, seconds in report["seconds"].items():
        ratios = [torch / own for torch, own in zip(report["seconds"]["torch"], seconds, strict=True)]
        lines.append(
            f"| {side} | {statistics.median(seconds):.2f} s | {min(seconds):.2f} s | {statistics.median(ratios):.2f} |"
        )
    return lines


if __name__ == "__main__":
    main()
