"""What the two sides of a case must have in common: each function raises AssertionError if they do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ssd_common.weights import Weights

Array = NDArray[np.floating]
Step = tuple[tuple[float, ...], Weights]
"""The chapter's four numbers of a training step, and the weights after it."""

NETWORK_TOLERANCE = 1e-3
"""Of the scores and corners that two orders of summation give, corners relative to a box larger than the image."""
MATCHING = 0.99
"""Share of the detections in image files that must have their like on the other side."""


def same_step(ours: Step, peer: Step, start: Weights, tolerance: float) -> None:
    """Compare a training step: correct anchors, offset error, and the change of all parameters together.

    Args:
        ours: what our step returned.
        peer: what the book's step returned, from the same weights and batch.
        start: the weights before.
        tolerance: largest relative difference.
    """
    (correct, anchors, error, offsets), after = ours
    (peer_correct, peer_anchors, peer_error, peer_offsets), peer_after = peer
    _require((anchors, offsets) == (peer_anchors, peer_offsets), "another number of anchors")
    np.testing.assert_allclose(correct / anchors, peer_correct / anchors, atol=tolerance, err_msg="correct anchors")
    np.testing.assert_allclose(error, peer_error, rtol=tolerance, err_msg="offset error")
    names = [name for name in start if "running" not in name]
    difference, change = (
        np.sqrt(sum(np.sum((after[name].astype(np.float64) - other[name]) ** 2) for name in names))
        for other in (peer_after, start)
    )
    _require(difference <= tolerance * change, f"the weights after the step differ by {difference / change:.1e}")


def same_targets(ours: Sequence[Array], peer: Sequence[Array]) -> None:
    """Compare offsets, masks and class labels; masks and labels must be equal."""
    np.testing.assert_allclose(ours[0], peer[0], rtol=1e-4, atol=1e-4, err_msg="offsets")
    np.testing.assert_array_equal(ours[1], peer[1], err_msg="masks")
    np.testing.assert_array_equal(ours[2], peer[2], err_msg="class labels")


def same_detections(ours: Sequence[Array], peer: Sequence[Array]) -> None:
    """Compare what was detected, background left out: the classes must be equal, in the order of the scores.

    Args:
        ours: `(images, num_anchors, 6)` rows a set of predictions.
        peer: the same, by the book.
    """
    for our_set, peer_set in zip(ours, peer, strict=True):
        for our_rows, peer_rows in zip(our_set, peer_set, strict=True):
            found, expected = our_rows[our_rows[:, 0] >= 0], peer_rows[peer_rows[:, 0] >= 0]
            np.testing.assert_array_equal(found[:, 0], expected[:, 0], err_msg="classes")
            np.testing.assert_allclose(found[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-4, err_msg="scores or boxes")


def same_predictions(ours: Sequence[Array], peer: Sequence[Array], exact: Sequence[int]) -> None:
    """Compare the detections in image files.

    The network may sum in another order on each side, so where two boxes nearly tie another one may be kept.

    Args:
        ours: `(n, 6)` rows an image.
        peer: the same, by the book.
        exact: which images both sides feed to the network pixel for pixel. The others are resized, each side having
            a filter of its own, and are only counted.
    """
    _require(len(ours) == len(peer), f"{len(ours)} images, not {len(peer)}")
    like = [(*_matches(ours[i], peer[i]), *_matches(peer[i], ours[i])) for i in exact]
    found, rows, expected, peer_rows = np.sum(like, axis=0)
    _require(min(rows, peer_rows) > 0, "nothing is detected in any image")
    _require(
        min(found / rows, expected / peer_rows) >= MATCHING,
        f"{found} of our {rows} detections are the book's, {expected} of its {peer_rows} are ours",
    )


def _matches(rows: Array, others: Array) -> tuple[int, int]:
    """Return how many rows have their like among the others, and how many rows there are."""
    close = np.zeros((len(rows), len(others)), bool)
    if close.size:
        scale = np.maximum(1, np.abs(others[:, 1:]))
        near = np.abs(rows[:, None, 1:] - others[None, :, 1:]) <= NETWORK_TOLERANCE * scale
        close = near.all(axis=-1) & (rows[:, None, 0] == others[None, :, 0])
    return int(close.any(axis=1).sum()), len(rows)


def same_epoch(ours: tuple[float, float], peer: tuple[float, float]) -> None:
    """Compare class error and offset error of an epoch; the order of the images is random: a factor of 2 apart."""
    for our_error, peer_error in zip(ours, peer, strict=True):
        near = peer_error / 2 <= our_error <= peer_error * 2
        _require(near, f"the errors of the epoch are {ours}, the book's {peer}")


def _require(condition: bool | np.bool_, message: str) -> None:
    """Raise AssertionError unless the condition holds; `assert` would not, under `python -O`."""
    if not condition:
        raise AssertionError(message)
