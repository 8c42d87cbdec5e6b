"""What the benchmark measures in new processes: the memory of training steps, and cold starts."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cases import our_train_step
from benchmarks.instrument import Case, Result, measure
from benchmarks.sides import Sides, load_book
from ssd_common.backends import load_backend
from ssd_common.checkpoints.checkpoint import Checkpoint, save_checkpoint
from ssd_common.config import BOOK, Config, RunConfig
from ssd_common.errors import InputError
from ssd_common.machine import keep_freed_memory
from ssd_common.weights import initial_weights

MEMORY_STEPS = 3
_TINYSSD = "from ssd_common.cli import main; main()"
_BOOK_SCRIPT = """
import importlib, pathlib, sys
from ssd_common.checkpoints import load_checkpoint

package, weights, image = sys.argv[1:]
if package.endswith("mxnet"):
    import ssd_mxnet  # without it MXNet does not run on today's Python
book, checkpoint = importlib.import_module(package), load_checkpoint(pathlib.Path(weights))
net = book.make_net(checkpoint.config.model, checkpoint.weights)
print(*book.predict_files(net, [image], checkpoint.config.model))
"""


# Memory


def run_peak_memory(backend: str, side: str, image_size: int, batch: int) -> int | None:
    """Return the bytes that training steps add to a fresh process, or None where the system does not tell.

    Args:
        backend: "torch" or "mxnet".
        side: "ours" or "book".
        image_size: height and width of the images.
        batch: images a step.
    """
    source = f"from benchmarks.processes import peak_memory; print(peak_memory({backend!r}, {side!r}, "
    printed = _python(f"{source}{image_size}, {batch}))")
    return None if printed == "None" else int(printed)


def peak_memory(backend: str, side: str, image_size: int, batch: int) -> int | None:
    """Return the most memory that this process holds in a few steps, less what it holds before; see `run_peak_memory`.

    Before means: the framework is imported, network, optimiser and batch are made. The numbers are the kernel's VmHWM
    and VmRSS. Not `ru_maxrss`: on Linux that of a new process starts at the size of the process that started it.
    """
    b = load_backend(backend)
    model = dataclasses.replace(BOOK.model, image_size=image_size)
    weights, rng = initial_weights(model, BOOK.train), np.random.default_rng(0)
    pictures = rng.integers(0, 256, (batch, image_size, image_size, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    Y = b.data.to_device(np.tile(np.array([[0, 0.2, 0.2, 0.5, 0.6]], np.float32), (batch, 1, 1)))
    if side == "ours":
        X = b.data.to_device(pictures)
        step = our_train_step(b, model, weights)
    else:
        book = load_book(backend)
        keep_freed_memory(False)  # as without this package
        X = b.data.to_device(np.ascontiguousarray(pictures))
        net = book.make_net(model, weights)
        trainer = book.make_trainer(net, BOOK.train)

        def step(X: Any, Y: Any) -> Any:
            return book.train_step(net, trainer, X, Y), b.weights.get_weights(net)

    before = _memory("VmRSS")
    for _ in range(MEMORY_STEPS):
        step(X, Y)
    peak = _memory("VmHWM")
    return None if before is None or peak is None else peak - before


def _memory(field: str) -> int | None:
    """Return a field of the kernel's account of this process in bytes, or None where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


# Cold starts


def cold_start_help(repeats: int) -> float:
    """Return the median seconds of `tinyssd --help` in a new process."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        _python(_TINYSSD, "--help")
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def cold_start_first_image(sides: Sides, count: int, repeats: int) -> float:
    """Return the median seconds until `tinyssd predict` on a folder of so many images has shown the first one."""
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        images = Path(name, "images")
        images.mkdir()
        Image.fromarray(sides.inputs.pictures[0].image).save(images / "0.png")
        for i in range(1, count):
            os.link(images / "0.png", images / f"{i}.png")
        command = [sys.executable, "-W", "ignore", "-c", _TINYSSD, "predict", "--backend", sides.b.name, str(images)]
        for i in range(repeats):
            start = time.perf_counter()
            with subprocess.Popen([*command, "--out", f"{name}/{i}"], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                shown = any(line.startswith(str(images)) for line in process.stdout)
                seconds.append(time.perf_counter() - start)
                process.kill()
            if not shown:
                raise InputError("tinyssd predict showed no image")
    return float(np.median(seconds))


def cold_start_predict(sides: Sides, pairs: int) -> Result:
    """Return what `tinyssd predict` takes for one image in a new process, and a script in the book's way."""
    b, inputs = sides.b, sides.inputs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights, picture = folder / "weights.safetensors", folder / "picture.png"
        save_checkpoint(weights, Checkpoint(inputs.trained_weights(b), RunConfig(Config(inputs.model))))
        Image.fromarray(inputs.pictures[0].image).save(picture)
        flags = ["predict", "--backend", b.name, "--weights", str(weights), "--out", str(folder / "out"), str(picture)]
        case = Case(
            "cold_start_predict",
            b.name,
            lambda: _python(_TINYSSD, *flags),
            lambda: _python(_BOOK_SCRIPT, f"benchmarks.book_{b.name}", str(weights), str(picture)),
        )
        return measure(case, pairs)


def _python(source: str, *arguments: str) -> str:
    """Run Python source in a new process and return what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", source, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise InputError(f"a process of the benchmark failed: {reason}")
    return done.stdout.strip()
