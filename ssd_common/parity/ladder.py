"""The parity ladder: what is compared between numpy, PyTorch and MXNet, at which tolerance, and what comes out.

Rungs 1 to 6 compare each backend with the numpy reference; on the exact ones and on detections the reference has the
same dtype, elsewhere it is float64. Rungs 7 to 11 compare the networks: in float64 MXNet with PyTorch, in float32 both
with PyTorch in float64, so that a reader sees which side is off. Rung 12 changes the framework in the middle of a
training, rung 13 compares what trained weights detect.

A rung that fails although everything below it passes is where the two part. What stands on it then fails as well; such
a row names its cause.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ssd_common.backends import Backend
from ssd_common.errors import InputError
from ssd_common.parity import boxes, networks, trained
from ssd_common.parity.rungs import Measured, Row, Rung, Subject

_ROUNDING = (
    "PyTorch against MXNet is judged, the error of each against float64 is shown. Rounding grows through twelve batch "
    "normalisations, and two anchors that overlap a box alike may swap places between float32 and float64: both "
    "frameworks are about equally far from float64."
)
_GROWTH = (
    "A rounding error of one step grows in the next ones: up to 1.7e-3 was measured over eight steps (two data sets, "
    "two presets, three seeds), the tolerance is four times that."
)
_ALL_BACKGROUND = " Hard negatives do not count here: which of two alike is the harder is a matter of rounding."
LADDER = (
    Rung(1, "anchors", "largest difference", 1e-12, 2e-7),  # float32 steps by 1.2e-7 beyond the picture's edge at 1
    Rung(2, "IoU", "largest difference", 1e-12, 1e-6),
    Rung(3, "assignment", "anchors assigned otherwise", 0, 0, (2,)),
    Rung(4, "offsets", "largest difference, targets and decoded boxes", 1e-12, 1e-5, (3,)),
    Rung(5, "NMS", "boxes kept otherwise", 0, 0),
    Rung(6, "detections", "largest difference in a row", 1e-12, 1e-6, (4, 5)),
    Rung(7, "logits", "largest difference / largest logit", 1e-10, 1e-4, (), _ROUNDING),
    Rung(8, "loss", "largest difference of a picture's loss", 1e-12, 1e-5, (1, 4, 7), _ROUNDING),
    Rung(9, "gradients", "norm of difference / norm, worst tensor", 1e-9, 2e-2, (8,), _ROUNDING),
    Rung(10, "one step", "largest difference of a parameter", 1e-11, 2e-4, (9,), _ROUNDING),
    Rung(11, "steps", "largest difference of a loss over all steps", 1e-9, 2e-2, (10,), _ROUNDING + _ALL_BACKGROUND),
    Rung(12, "resume", "largest difference of a loss or parameter", 1e-9, 7e-3, (11,), _GROWTH + _ALL_BACKGROUND),
    Rung(13, "trained: kept", "detections kept or classed otherwise", 0, 0, (1, 6, 7)),
    Rung(13, "trained: scores", "largest difference of a score", 1e-10, 1e-4, (1, 6, 7)),
    Rung(13, "trained: boxes", "largest difference of a corner", 1e-10, 1e-3, (1, 6, 7)),
    Rung(13, "trained: AP", "difference of AP or AP50", 1e-10, 1e-3, (1, 6, 7)),
)
"""The rungs, bottom first; the last has four rows. The second number is the tolerance in float64, the third in float32.

In float64 everything agrees to rounding: gradients to 4.5e-13, all else to 5.2e-14, with seed 0 of the book's preset at
256 pixels (`tinyssd compare --check`). The tolerances leave room for processors and libraries that add up in another
order. In float32 the same two frameworks were apart by 4.8e-6 (logits), 3.0e-7 (loss), 1.1e-2 (gradients), 6.8e-5 (one
step), 2.5e-3 (steps), 1.8e-3 (resume), 4.8e-7 (scores) and 2.4e-7 (boxes); rungs 1 to 6 were 2.2e-6 from float64 at
most. On a processor with AVX-512 that takes `add_up_in_one_order`.
"""
NUM_RUNGS = LADDER[-1].number
NETWORK_RUNGS = range(7, 12)
"""The rungs that compare networks: in float32 PyTorch against MXNet is judged."""


def add_up_in_one_order() -> None:
    """Let neither framework use more than AVX2 for convolutions and the like; to be called before they compute.

    With channels last, PyTorch's batch normalisation adds up the numbers of a channel one after another in float32,
    which leaves an error of up to 1e-3 in the logits. With AVX2, MXNet (oneDNN) adds them up in the same order and has
    the same error: the two were 1.4e-5 apart at most, over three seeds, two presets, three sizes, and two data sets.
    With AVX-512 it adds them up in another order: 1.3e-3 apart, and 0.16 in the gradient of a tensor, where both are
    right in float64. What a float32 ladder is to show is the same arithmetic. `tinyssd compare --dtype float32` and
    the tests call this; the environment variable `DNNL_MAX_CPU_ISA`, where it is set, has precedence.
    """
    os.environ.setdefault("DNNL_MAX_CPU_ISA", "AVX2")


def climb(
    subject: Subject,
    backends: Mapping[str, Backend],
    rungs: Sequence[int] = range(1, NUM_RUNGS + 1),
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Iterator[Row]:
    """Yield the rows of each rung, bottom first.

    Args:
        subject: what to compare with.
        backends: "torch", "mxnet" or both. Rungs 7 to 13 need torch.
        rungs: the numbers of the rungs to climb, ascending; the last one needs trained weights.
        progress: called with the rungs, returns an iterable of them; it may show a bar.
    """
    measures: tuple[Callable[[Subject, Mapping[str, Backend]], Measured | tuple[Measured, ...]], ...] = (
        boxes.measure_anchors,
        boxes.measure_iou,
        boxes.measure_assignment,
        boxes.measure_offsets,
        boxes.measure_nms,
        boxes.measure_detections,
        networks.measure_logits,
        networks.measure_loss,
        networks.measure_gradients,
        networks.measure_one_step,
        networks.measure_steps,
        trained.measure_resume,
        trained.measure_trained,
    )
    causes: dict[int, set[int]] = {}  # of each rung that failed
    for number in progress(rungs):
        found = measures[number - 1](subject, backends)
        rows = found if isinstance(found, tuple) else (found,)
        for rung, measured in zip((rung for rung in LADDER if rung.number == number), rows, strict=True):
            caused_by = set().union(*(causes.get(lower, ()) for lower in foundations(rung)))
            row = _judge(rung, measured, subject.dtype, tuple(sorted(caused_by)))
            if not row.passed:
                causes.setdefault(number, set()).update(caused_by or {number})
            yield row


def foundations(rung: Rung) -> set[int]:
    """Return the numbers of all rungs that a rung stands on, down to the bottom."""
    direct = [lower for lower in LADDER if lower.number in rung.stands_on]
    return set(rung.stands_on).union(*map(foundations, direct))


def _judge(rung: Rung, measured: Measured, dtype: str, caused_by: tuple[int, ...]) -> Row:
    """Return the row of a rung; if it failed, `caused_by` says why."""
    tolerance = rung.tolerance(dtype)
    judged = (*measured.errors.values(), measured.difference)
    if dtype == "float32" and rung.number in NETWORK_RUNGS and measured.difference is not None:
        judged = (measured.difference,)
    found = [error for error in judged if error is not None]
    passed = bool(found) and all(error <= tolerance for error in found)  # False for NaN
    return Row(
        rung=rung.number,
        name=rung.name,
        quantity=rung.quantity,
        dtype=dtype,
        errors=measured.errors,
        difference=measured.difference,
        reference=measured.reference,
        tolerance=tolerance,
        passed=passed,
        note=rung.note if dtype == "float32" else "",
        caused_by=() if passed else caused_by,
        series=measured.series,
    )


def parse_rungs(text: str) -> range:
    """Return the rungs that "7-11" or "3" means.

    Raises:
        InputError: the text is not of that form, or the ladder has no such rung.
    """
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InputError(f"--rungs {text}: name a rung or a span of rungs, such as 3 or 7-11")
    rungs = range(int(first), int(last or first) + 1)
    if not rungs or rungs.start < 1 or rungs.stop > NUM_RUNGS + 1:
        raise InputError(f"--rungs {text}: the ladder has the rungs 1 to {NUM_RUNGS}, from the lower to the higher")
    return rungs
