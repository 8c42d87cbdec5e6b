"""The parity ladder: what is compared between numpy, PyTorch and MXNet, at which tolerance, and what comes out.

Rungs 1 to 6 compare each backend with the numpy reference; on the exact ones and on detections the reference has the
same dtype, elsewhere it is float64. Rungs 7 to 11 compare the networks with PyTorch in float64. Rung 12 changes the
framework in the middle of a run, rung 13 compares what trained weights detect. Each framework must be close to the
reference, and the two to each other.

A rung that fails although everything below it passes is where the two part. What stands on it then fails as well; such
a row names its cause.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ssd_common.backends import Backend
from ssd_common.errors import InputError
from ssd_common.machine import NATIVE
from ssd_common.parity import boxes, networks, trained
from ssd_common.parity.onnx import ONNX_RUNGS
from ssd_common.parity.rungs import Results, Row, Rung, Subject, count_mismatches

_SUMS = (
    "In training, batch normalisation adds up 131,072 numbers a channel, and float32 feels their order. PyTorch adds "
    "them one after another, MXNet in groups as wide as the processor's instructions. In float64 both are right."
)
_CHOICES = (
    " Rounding also decides choices: which of two equal numbers max pooling takes, which of two anchors that overlap a "
    "box alike is its own, which of two background anchors is the harder."
)
_WHOLE = (
    " Such a choice changes a tensor with a thousandth of the gradient by up to 42 %, in both frameworks alike; so all "
    "tensors are taken together."
)
_ALL_BACKGROUND = " Hard negatives do not count here: all of the background does."
_KEPT = (
    "Of two boxes whose scores are equal, or whose overlap is the threshold, to the last digit, rounding decides which "
    "is kept."
)
LADDER = (
    Rung(1, "anchors", "largest difference", 1e-12, 2e-7, boxes.measure_anchors),
    Rung(2, "IoU", "largest difference", 1e-12, 1e-6, boxes.measure_iou),
    Rung(3, "assignment", "anchors assigned otherwise", 0, 0, boxes.measure_assignment, (2,), count_mismatches),
    Rung(4, "offsets", "largest difference, targets and decoded boxes", 1e-12, 1e-5, boxes.measure_offsets, (3,)),
    Rung(5, "NMS", "boxes kept otherwise", 0, 0, boxes.measure_nms, (2, 4), count_mismatches),
    Rung(6, "detections", "largest difference in a row", 1e-12, 1e-6, boxes.measure_detections, (4, 5)),
    Rung(
        7,
        "logits: inference",
        "largest difference / largest logit",
        1e-10,
        1e-5,
        networks.measure_logits,
        distance=networks.inference_difference,
    ),
    Rung(
        7,
        "logits: training",
        "largest difference / largest logit",
        1e-10,
        2e-2,
        networks.measure_logits,
        distance=networks.training_difference,
        avx2=1e-4,
        note=_SUMS,
    ),
    Rung(
        8,
        "loss",
        "largest difference of an image's loss",
        1e-12,
        5e-3,
        networks.measure_loss,
        (1, 4, 7),
        avx2=1e-5,
        note=_SUMS + _CHOICES,
    ),
    Rung(
        9,
        "gradients",
        "norm of difference / norm, worst tensor",
        1e-9,
        2e-1,
        networks.measure_gradients,
        (8,),
        networks.worst_gradient,
        ("norm of difference / norm, all tensors together", networks.whole_gradient),
        avx2=5e-3,
        note=_SUMS + _CHOICES + _WHOLE,
    ),
    Rung(
        10,
        "one step",
        "largest difference of a parameter",
        1e-11,
        5e-3,
        networks.measure_one_step,
        (9,),
        avx2=2e-4,
        note=_SUMS + _CHOICES,
    ),
    Rung(
        11,
        "steps",
        "largest difference of a loss over all steps",
        1e-9,
        3e-2,
        networks.measure_steps,
        (10,),
        avx2=2e-2,
        note=_SUMS + _CHOICES + _ALL_BACKGROUND,
    ),
    Rung(
        12,
        "resume",
        "largest difference of a loss or parameter",
        1e-9,
        2e-2,
        trained.measure_resume,
        (11,),
        avx2=7e-3,
        note=_SUMS + _CHOICES + _ALL_BACKGROUND,
    ),
    Rung(
        13,
        "trained: kept",
        "detections kept or classed otherwise",
        0,
        1e-2,
        trained.measure_trained,
        (1, 6, 7),
        trained.kept_otherwise,
        ("detections kept or classed otherwise, of all", trained.share_kept_otherwise),
        note=_KEPT,
    ),
    Rung(
        13,
        "trained: scores",
        "largest difference of a score",
        1e-10,
        1e-4,
        trained.measure_trained,
        (1, 6, 7),
        trained.score_difference,
    ),
    Rung(
        13,
        "trained: boxes",
        "largest difference of a corner",
        1e-10,
        1e-3,
        trained.measure_trained,
        (1, 6, 7),
        trained.corner_difference,
    ),
    Rung(
        13,
        "trained: AP",
        "difference of AP or AP50",
        1e-10,
        1e-3,
        trained.measure_trained,
        (1, 6, 7),
        trained.precision_difference,
    ),
)
"""The rungs, bottom first; rung 7 has two rows, rung 13 four. The first number is the tolerance in float64, the second
in float32.

In float64 everything agrees to rounding: gradients to 4.5e-13, all else to 5.2e-14, with seed 0 of the book's preset at
256 pixels (`tinyssd compare --check`). The tolerances leave room for processors and libraries that add up in another
order.

In float32 these are the largest errors against float64 and of the two against each other, with the presets book and
improved, synthetic images and pikachu, seeds 0 to 3 (14 of the 16 cases), 256 pixels, two cores with AVX-512. In
brackets: on one core, which adds up twice as many numbers one after another. Last: held to AVX2 (three cases).

| rung | PyTorch | MXNet | each other | each other, AVX2 |
|---|---|---|---|---|
| 7 logits: inference | 1.1e-6 | 1.5e-6 | 1.2e-6 | 1.5e-6 |
| 7 logits: training | 1.0e-3 (3.7e-3) | 2.7e-4 (5.4e-4) | 1.0e-3 (4.0e-3) | 4.4e-6 |
| 8 loss | 6.9e-4 (5.4e-4) | 6.9e-4 | 8.1e-5 (5.7e-4) | 1.1e-6 |
| 9 gradients | 2.3e-2 (4.1e-2) | 1.0e-2 (1.8e-2) | 2.3e-2 (3.9e-2) | 6.6e-4 |
| 10 one step | 8.9e-4 | 7.6e-4 | 5.8e-4 | 4.1e-5 |
| 11 steps | 5.9e-3 | 5.9e-3 | 5.6e-3 | 4.4e-3 |
| 12 resume | 4.4e-3 | 4.3e-3 | 4.3e-3 | 1.6e-3 |
| 13 kept | 0 | 3 of about 1,700 boxes | 3 of about 1,700 boxes | 0 |

At 512 pixels 4.7e-3, 1.4e-3 and 5.3e-3 were measured in rung 7, and on an Intel processor with AVX-512 1.3e-3 between
the two. A tolerance is four to nine times the largest number of its rung. Those with AVX2 are older and cover
three seeds, two presets, three image sizes and two datasets on two processors.
"""
NUM_RUNGS = LADDER[-1].number
LAST_ONNX_RUNG = ONNX_RUNGS[-1].number
"""With ONNX Runtime, the ladder goes on to this rung."""


def climb(
    subject: Subject,
    backends: Mapping[str, Backend],
    rungs: Sequence[int] = range(1, NUM_RUNGS + 1),
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Iterator[Row]:
    """Yield the rows of each rung, bottom first.

    Args:
        subject: what to compare with.
        backends: "torch", "mxnet" or both. Rungs 7 to 14 need torch.
        rungs: the numbers of the rungs to climb, ascending; 13 needs trained weights, 14 and 15 need ONNX Runtime.
        progress: called with the rungs, returns an iterable of them; it may show a bar.
    """
    causes: dict[int, set[int]] = {}  # of each rung that failed
    for number in progress(rungs):
        of_number = [rung for rung in LADDER + ONNX_RUNGS if rung.number == number]
        if number > NUM_RUNGS:
            subject = dataclasses.replace(subject, dtype="float32")
        results = of_number[0].measure(subject, backends)
        for rung in of_number:
            caused_by = set().union(*(causes.get(lower, ()) for lower in foundations(rung)))
            row = _judge(rung, results, subject, tuple(sorted(caused_by)))
            if not row.passed:
                causes.setdefault(number, set()).update(caused_by or {number})
            yield row


def foundations(rung: Rung) -> set[int]:
    """Return the numbers of all rungs that a rung stands on, down to the bottom."""
    direct = [lower for lower in LADDER if lower.number in rung.stands_on]
    return set(rung.stands_on).union(*map(foundations, direct))


def _judge(rung: Rung, results: Results, subject: Subject, caused_by: tuple[int, ...]) -> Row:
    """Return the row of a rung; if it failed, `caused_by` says why."""
    in_float32, sides, reference = subject.dtype == "float32", results.sides, results.reference
    quantity, distance = rung.quantity, rung.distance
    if in_float32 and rung.in_float32:
        quantity, distance = rung.in_float32
    errors: dict[str, float | None] = dict.fromkeys(("numpy", "torch", "mxnet"))
    errors |= {name: distance(side, reference) for name, side in sides.items() if side is not reference}
    difference = distance(sides["mxnet"], sides["torch"]) if {"torch", "mxnet"} <= sides.keys() else None
    tolerance, judged = rung.float32 if in_float32 else rung.float64, [*errors.values(), difference]
    if in_float32 and subject.isa != NATIVE and rung.avx2 is not None and difference is not None:
        tolerance, judged = rung.avx2, [difference]
    found = [error for error in judged if error is not None]
    passed = bool(found) and all(error <= tolerance for error in found)  # False for NaN
    return Row(
        rung=rung.number,
        name=rung.name,
        quantity=quantity,
        dtype=subject.dtype,
        errors=errors,
        difference=difference,
        reference=results.source,
        tolerance=tolerance,
        passed=passed,
        note=rung.note if in_float32 else "",
        caused_by=() if passed else caused_by,
        series=dict(results.series),
    )


def parse_rungs(text: str, last_rung: int = NUM_RUNGS) -> range:
    """Return the rungs that "7-11" or "3" means, of a ladder up to `last_rung`.

    Raises:
        InputError: the text is not of that form, or the ladder has no such rung.
    """
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InputError(f"--rungs {text}: name a rung or a span of rungs, such as 3 or 7-11")
    rungs = range(int(first), int(last or first) + 1)
    if not rungs or rungs.start < 1 or rungs.stop > last_rung + 1:
        more = f"; --with-onnx adds rungs {NUM_RUNGS + 1} to {LAST_ONNX_RUNG}" if last_rung == NUM_RUNGS else ""
        raise InputError(
            f"--rungs {text}: the ladder has the rungs 1 to {last_rung}, from the lower to the higher{more}"
        )
    return rungs
