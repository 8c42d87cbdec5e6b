"""Gives the notebooks in the repository the outputs of a run: `python -m tests.teaching.outputs FILE...`.

Before, `make notebooks` runs the notebooks on their quick setting, into `build/notebooks`; `make outputs` does both.
A digest of code and outputs is written into each notebook, so that neither changes without the other.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import jupytext

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
KEY = "tinyssd"
"""Of a notebook's metadata: the digest is there."""

MAX_PNG_BYTES, MAX_BYTES = 150_000, 12_000_000
"""Of one image, and of all notebooks together."""

VOLATILE = ((r" +examples/s +[\d.]+", ""), (r" at 0x[0-9a-f]{6,}", ""), (r"Linux-[\w.-]+", "Linux"))
"""What differs in every run or on every machine, and what stands there instead: speeds, addresses, kernels."""


def code_cells(notebook):
    """Return the cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def take_outputs(notebook, executed):
    """Give a notebook the outputs of a run of it, without what would differ in the next run."""
    cells, runs = code_cells(notebook), code_cells(executed)
    if [cell.source for cell in cells] != [cell.source for cell in runs] or not all(r.execution_count for r in runs):
        raise SystemExit("the executed notebook is another one, or was not executed: make outputs")
    for number, (cell, run) in enumerate(zip(cells, runs, strict=True), start=1):
        cell.outputs, cell.execution_count = cleaned(run.outputs), number
    notebook.metadata[KEY] = {"digest": digest(notebook)}


def cleaned(outputs):
    """Return the outputs of a cell without warnings, speeds and addresses; what was printed in a row is one piece."""
    kept = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
        if "execution_count" in output:
            output.execution_count = None
    for output in kept:
        texts = output if output.output_type == "stream" else output.get("data", {})
        for kind in set(texts) & {"text", "text/plain", "text/html", "text/markdown"}:
            for volatile, constant in VOLATILE:
                texts[kind] = re.sub(volatile, constant, texts[kind])
    return kept


def digest(notebook):
    """Return a digest of the code of a notebook and its outputs."""
    pairs = [[cell.source, cell.outputs] for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps(pairs, sort_keys=True).encode()).hexdigest()


def png_sizes(notebook):
    """Return the bytes of each image that a notebook shows."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [len(output.data["image/png"]) * 3 // 4 for output in outputs if "image/png" in output.get("data", {})]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = NOTEBOOKS / Path(name).name
        stored = jupytext.read(path)
        take_outputs(stored, jupytext.read(name))
        jupytext.write(stored, path)
        print(f"{path.name}: {len(png_sizes(stored))} images, {path.stat().st_size // 1000} kB")
