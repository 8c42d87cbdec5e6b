"""What the benchmark measures beside its cases: where a step's time goes, FLOP/s, memory, and cold starts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.cases import our_train_step
from benchmarks.instrument import Case, Result, format_seconds, measure
from benchmarks.processes import cold_start_first_image, cold_start_help, cold_start_predict, run_peak_memory
from benchmarks.sides import Sides
from ssd_common.backends import Backend
from ssd_common.config import BOOK, ModelConfig
from ssd_common.data import load_dataset
from ssd_common.output.console import print_lines
from ssd_common.weights import initial_weights, map_size, parameter_shapes

HELP_GOAL = 0.3
"""Seconds until `tinyssd --help` is there."""
MANY, FIRST_IMAGE_GOAL = 50_000, 2
"""Images in a folder, and seconds until `tinyssd predict` shows the first one."""
REPEATS = 5
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
SIDES = ("ours", "book")


def measure_extras(
    all_sides: Sequence[Sides], results: Sequence[Result], console: Console, repeats: int = REPEATS
) -> dict[str, Any]:
    """Measure everything below, printing a line each, and return it by name.

    Args:
        all_sides: the backends.
        results: of the cases; a training step among them gives the FLOP/s.
        console: where to print.
        repeats: how often each is measured.
    """

    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(text)
        print_lines([text], console)

    sizes = all_sides[0].inputs.sizes
    model = dataclasses.replace(BOOK.model, image_size=sizes.image_size)
    forward, backward = network_flops(model)
    say(f"one image: {forward / 1e9:.3g} GFLOP forward, {backward / 1e9:.3g} backward")
    extras: dict[str, Any] = {"lines": lines, "flop_per_picture": {"forward": forward, "backward": backward}}
    extras["step"], extras["peak_memory"], extras["cold_start"] = {}, {}, {"help": cold_start_help(repeats)}
    say(f"tinyssd --help: {format_seconds(extras['cold_start']['help'])}, goal {HELP_GOAL} s")
    for sides in all_sides:
        name = sides.b.name
        share = overhead_share(sides, repeats)
        say(f"{name}: {share:.0%} of a training step of tinyssd is targets, losses and metrics")
        waiting = data_share(sides)
        say(f"{name}: {waiting:.1%} of an epoch from files is waiting for data")
        extras["step"][name] = {"overhead_share": share, "data_share": waiting}
        for result in results:
            precision = result.name.removeprefix("train_step_")
            if result.backend == name and precision in DTYPES:
                peaks = machine_peak(sides.b, model, DTYPES[precision])
                achieved = sizes.batch * (forward + backward) / result.ours_s
                share_of_peak = achieved / max(peaks.values()) if peaks else None
                extras["step"][name][precision] = {
                    "flop_per_s": achieved,
                    "peak_flop_per_s": peaks,
                    "share_of_peak": share_of_peak,
                }
                of_peak = (
                    "no other measured"
                    if share_of_peak is None
                    else f"{share_of_peak:.0%} of the fastest large operation"
                )
                say(f"{name} {precision}: a training step of tinyssd does {achieved / 1e9:.3g} GFLOP/s, {of_peak}")
        memory = {side: run_peak_memory(name, side, sizes.image_size, sizes.batch) for side in SIDES}
        extras["peak_memory"][name] = memory
        ours, book = ("not known" if n is None else f"{n / 2**20:.0f} MiB" for n in memory.values())
        say(f"{name}: memory that training steps add: tinyssd {ours}, the book's code {book}")
        start = cold_start_predict(sides, repeats)
        extras["cold_start"][name] = dataclasses.asdict(start)
        ours, book = format_seconds(start.ours_s), format_seconds(start.peer_s)
        say(f"{name}: tinyssd predict on one image {ours}, a script in the book's way {book}")
        first = extras["cold_start"][name]["first_image"] = cold_start_first_image(sides, MANY, repeats)
        shown = f"shows the first image after {format_seconds(first)}, goal {FIRST_IMAGE_GOAL} s"
        say(f"{name}: tinyssd predict on {MANY:,} images {shown}")
    return extras


# Arithmetic


def network_flops(model: ModelConfig) -> tuple[int, int]:
    """Return the floating point operations of all convolutions for one image, forward and backward.

    A multiplication and an addition are two. Backward, each convolution is done twice, for the gradient of its weights
    and that of its input; the first has no gradient of its input. Padding counts as if it were multiplied.
    """
    layers = {name: s for name, s in parameter_shapes(model).items() if len(s) == 4}
    flops = []
    for name, (out_channels, in_channels, height, width) in layers.items():
        side = map_size(name, model)
        flops.append(2 * height * width * in_channels * out_channels * side * side)
    return sum(flops), 2 * sum(flops) - flops[0]


def machine_peak(b: Backend, model: ModelConfig, dtype: str, repeats: int = REPEATS) -> dict[str, float]:
    """Return the most FLOP/s seen in large operations of the framework, by operation.

    They are a matrix product, and the body's widest convolution on large maps, with either order of memory.

    Args:
        b: the framework.
        model: any.
        dtype: "float32" or "bfloat16".
        repeats: the fastest of these counts.

    Returns:
        Nothing where the framework has no such type on the CPU: MXNet and bfloat16.
    """
    if b.name == "mxnet" and dtype == "bfloat16":
        return {}
    rng = np.random.default_rng(0)
    side = 3072
    square = b.data.to_device(rng.normal(size=(side, side)).astype(np.float32), dtype=dtype)
    images, channels, size = 32, 128, 64
    maps = rng.normal(size=(images, size, size, channels)).astype(np.float32).transpose(0, 3, 1, 2)
    convolution = b.weights.make_net(model, initial_weights(model, BOOK.train), dtype=dtype).blk_2[0]
    work = {"matrix_product": (2 * side**3, lambda: square @ square)}
    for order, array in (("channels_last", maps), ("channels_first", np.ascontiguousarray(maps))):
        X = b.data.to_device(array, dtype=dtype)
        flops = 2 * 9 * channels * channels * images * size * size
        work[f"convolution_{order}"] = (flops, lambda X=X: b.predict.forward(convolution, X))  # type: ignore[misc]
    return {name: flops / min(_seconds(do) for _ in range(repeats + 1)) for name, (flops, do) in work.items()}


def _seconds(do: Callable[[], Any]) -> float:
    """Return how long an operation takes, until one number of its result can be read."""
    start = time.perf_counter()
    float(do().reshape(-1)[0])
    return time.perf_counter() - start


# The parts of a step


def overhead_share(sides: Sides, pairs: int = REPEATS) -> float:
    """Return the share of our training step that is targets, losses and metrics, timed in turn with the whole step."""
    b, inputs = sides.b, sides.inputs
    images, labels = inputs.batch
    X, Y = b.data.to_device(images), b.data.to_device(labels)
    net = b.weights.make_net(inputs.model, inputs.weights)
    anchors, cls_preds, bbox_preds = b.predict.forward(net, X, training=True)
    whole = our_train_step(b, inputs.model, inputs.weights)

    def parts() -> dict[str, float]:
        bbox_labels, bbox_masks, cls_labels = b.targets.multibox_target(anchors, Y)
        terms = b.losses.loss_terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, BOOK.train.loss)
        sums = b.evaluate.batch_metrics(*terms, cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks)
        return {name: float(value) for name, value in sums.items()}

    return 1 / measure(Case("step", b.name, parts, lambda: whole(X, Y), settle=True), pairs).ratio


def data_share(sides: Sides) -> float:
    """Return the share of an epoch that is waiting for data, images being read from files: the first epoch."""
    b, inputs = sides.b, sides.inputs
    net = b.weights.make_net(inputs.model, inputs.weights)
    config = dataclasses.replace(BOOK.train, epochs=1)
    data = load_dataset("bananas", data_dir=inputs.banana_folder)
    (row,) = b.train.train(net, b.train.make_trainer(net, config), data, inputs.model, config)
    seconds = len(data) / row["examples_per_second"] + row["data_seconds"]
    return float(row["data_seconds"] / seconds)
