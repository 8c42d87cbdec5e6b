"""The cases of the benchmark: our functions against the book's own, on the CPU, with the same inputs and weights."""

from __future__ import annotations

import dataclasses
import importlib
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console

from ssd_common import bench_checks, targets
from ssd_common.backends import BACKENDS, Backend, load_backend, machine, versions
from ssd_common.bench import Case, DifferentWorkError, Result, format_seconds, measure, results_table, to_json
from ssd_common.bench_inputs import PREDICTIONS, Inputs, Sizes
from ssd_common.bench_ours import SkippedCaseError, check_precision, our_epoch, our_predictions, our_train_step
from ssd_common.config import BOOK, Precision
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError

GOALS = {
    ("train_step_fp32", "torch"): 2.2,
    ("train_step_fp32", "mxnet"): 2.0,
    ("train_step_bf16", "torch"): 5.0,
    ("targets_1", "torch"): 3.0,
    ("targets_1", "mxnet"): 10.0,
    ("targets_20", "numpy"): 3.0,
    ("targets_20", "torch"): 15.0,
    ("targets_20", "mxnet"): 100.0,
    ("detection_1", "torch"): 20.0,
    ("detection_1", "mxnet"): 300.0,
    ("detection_32", "torch"): 20.0,
    ("detection_32", "mxnet"): 300.0,
    ("predict_files", "torch"): 8.0,
    ("predict_files", "mxnet"): 50.0,
    ("epoch", "torch"): 4.5,
    ("epoch", "mxnet"): 1.9,
}
"""How many times as fast as the book's code ours is to be."""

MANY = 32
"""Pictures of the case `detection_32`."""
STEP_TOLERANCE = {"fp32": 2e-2, "bf16": 0.2}
"""Of `same_step`. In float32, 6e-3 were measured between PyTorch's two orders of memory; in bfloat16, 4e-2."""


@dataclass(frozen=True)
class Sides:
    """A backend, the book's code in the same framework, and the inputs of both."""

    b: Backend
    book: ModuleType
    inputs: Inputs


def train_step(sides: Sides, precision: Precision) -> Case:
    """Return the case of one whole training step: forward, targets, loss, backward, update, metrics."""
    b, book, inputs = sides.b, sides.book, sides.inputs
    images, labels = inputs.batch
    X, Y = b.data.to_device(images), b.data.to_device(labels)
    peer_X = b.data.to_device(np.ascontiguousarray(images))  # as the book's loader stacks them
    step = our_train_step(b, inputs.model, inputs.weights, precision)
    peer_net = book.make_net(inputs.model, inputs.weights)
    peer_trainer = book.make_trainer(peer_net, BOOK.train)

    def peer() -> bench_checks.Step:
        return book.train_step(peer_net, peer_trainer, peer_X, Y), b.weights.get_weights(peer_net)

    compare = partial(bench_checks.same_step, start=inputs.weights, tolerance=STEP_TOLERANCE[precision])
    name, start_thread = f"train_step_{precision}", book.start_thread
    return Case(name, b.name, lambda: step(X, Y), peer, compare, settle=True, peer_thread=start_thread)


def multibox_targets(sides: Sides, num_objects: int) -> Case:
    """Return the case of the targets of a batch: offsets, masks and class labels of every anchor."""
    b, inputs = sides.b, sides.inputs
    arrays = b.data.to_device(inputs.anchors), b.data.to_device(inputs.labels(num_objects))

    def read(target: Callable[..., Any]) -> list[Any]:
        return [b.data.to_numpy(array) for array in target(*arrays)]

    ours, peer = partial(read, b.targets.multibox_target), partial(read, sides.book.targets)
    return Case(f"targets_{num_objects}", b.name, ours, peer, bench_checks.same_targets, settle=True)


def numpy_targets(sides: Sides, num_objects: int) -> Case:
    """Return the case of the numpy reference against the book's targets, which are those of its PyTorch edition."""
    case = multibox_targets(sides, num_objects)
    arrays = sides.inputs.anchors, sides.inputs.labels(num_objects)
    return dataclasses.replace(case, backend="numpy", ours=lambda: targets.multibox_target(*arrays))


def detection(sides: Sides, pictures: int) -> Case:
    """Return the case of `multibox_detection`: one call on predictions like trained ones, one on untrained ones."""
    b, inputs = sides.b, sides.inputs
    anchors = b.data.to_device(inputs.anchors)
    sets = [[b.data.to_device(array) for array in inputs.predictions(kind, pictures)] for kind in PREDICTIONS]

    def read(multibox_detection: Callable[..., Any]) -> list[Any]:
        return [b.data.to_numpy(multibox_detection(*predictions, anchors)) for predictions in sets]

    ours = partial(read, partial(b.detection.multibox_detection, foreground_only=True))  # as `predict` calls it
    peer = partial(read, sides.book.d2l.multibox_detection)
    return Case(f"detection_{pictures}", b.name, ours, peer, bench_checks.same_detections, settle=pictures == 1)


def predict_files(sides: Sides) -> Case:
    """Return the case of picture files to detections, with weights after a short training and the book's settings."""
    b, inputs = sides.b, sides.inputs
    weights, paths, size = inputs.trained_weights(b), inputs.files, inputs.model.image_size
    net, peer_net = b.weights.make_net(inputs.model, weights), sides.book.make_net(inputs.model, weights)
    exact = [i for i, path in enumerate(paths) if read_image(path).shape[:2] == (size, size)]
    return Case(
        "predict_files",
        b.name,
        lambda: our_predictions(b, net, paths, inputs.model),
        lambda: sides.book.predict_files(peer_net, paths, inputs.model),
        partial(bench_checks.same_predictions, exact=exact),
    )


def epoch(sides: Sides) -> Case:
    """Return the case of one epoch from a cold start: reading and decoding the files is part of it on both sides.

    The book decodes the whole set before its first epoch and keeps it in memory, so later epochs are spared that.
    """
    b, book, inputs = sides.b, sides.book, sides.inputs
    folder = inputs.picture_folder
    precision: Precision = "bf16"
    try:
        check_precision(b, precision)
    except SkippedCaseError:
        precision = "fp32"
    run = our_epoch(b, inputs.model, inputs.weights, precision)
    peer_net = book.make_net(inputs.model, inputs.weights)
    peer_trainer = book.make_trainer(peer_net, BOOK.train)

    def peer() -> tuple[float, float]:
        correct, anchors, error, offsets = book.epoch(peer_net, peer_trainer, folder)
        b.weights.get_weights(peer_net)
        return 1 - correct / anchors, error / offsets

    note = f"ours trains in {precision}"
    return Case(
        "epoch", b.name, lambda: run(folder), peer, bench_checks.same_epoch, note=note, peer_thread=book.start_thread
    )


CASES: dict[str, Callable[[Sides], Case]] = {
    "train_step_fp32": partial(train_step, precision="fp32"),
    "train_step_bf16": partial(train_step, precision="bf16"),
    "targets_1": partial(multibox_targets, num_objects=1),
    "targets_20": partial(multibox_targets, num_objects=20),
    "detection_1": partial(detection, pictures=1),
    "detection_32": partial(detection, pictures=MANY),
    "predict_files": predict_files,
    "epoch": epoch,
}
"""What builds each case, by its name, in the order in which they run."""
NUMPY_CASES = {"targets_20": partial(numpy_targets, num_objects=20)}


def load_book(backend: str) -> ModuleType:
    """Return the module that does things the book's way in a backend.

    Raises:
        InputError: the backend or the book's package cannot be imported.
    """
    load_backend(backend)  # for its message
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # d2l imports half of the scientific stack
            return importlib.import_module(f"{BACKENDS[backend]}.book")
    except Exception as error:  # a package that is there but does not fit raises whatever it stumbles on
        raise InputError(
            f"the benchmark compares with the book's package d2l, which cannot be imported ({error}): "
            "pip install -c constraints.txt '.[book]'"
        ) from error


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
        extras: measure as well what `bench_extras` measures.
        sizes: how much work the cases are; less in tests.

    Returns:
        `{"cases": [...], "pairs", "notes", "skipped", "void", "machine", "versions", "extras"}`, see `to_json`; "void"
        lists the cases whose two sides do not compute the same thing, which have no times.

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
        console.print(results_table(results, GOALS, pairs))
        more: dict[str, Any] = {}
        frameworks = [sides for name, sides in all_sides.items() if name != "numpy"]
        if extras and frameworks:
            from ssd_common.bench_extras import measure_extras

            try:
                more = measure_extras(frameworks, results, console)
            except InputError as error:
                say("skipped", f"what goes beyond the cases: {error}")
    return to_json(results, pairs=pairs, **messages, machine=machine(), versions=versions(), extras=more)


def _line(result: Result) -> str:
    ours, peer = format_seconds(result.ours_s), format_seconds(result.peer_s)
    return f"{result.name}, {result.backend}: ours {ours}, the book {peer}, ratio {result.ratio:.3g}"
