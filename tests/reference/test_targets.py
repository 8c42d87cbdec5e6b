"""Targets: the book's and those of MXNet's operator on valid labels, and right on all others, in numpy and backends."""

import numpy as np
import pytest

from ssd_common.anchors import anchor_grid, multibox_prior
from ssd_common.config import BOOK, OFFSET_EPS
from ssd_common.targets import assign_anchor_to_bbox, multibox_target
from tests.reference.box_cases import WITHOUT_AREA, random_boxes, random_labels

PAD = [-1.0, -1.0, -1.0, -1.0, -1.0]
GRID = multibox_prior(np.zeros((8, 8)), [0.2, 0.37], [1, 2, 0.5])
WIDE = multibox_prior(np.zeros((4, 11)), [0.3, 0.5], [1, 3])
BOOK_GRID = anchor_grid(BOOK.model, "float64")
HALVES = np.array([[[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]])

VALID = {
    "one object": (GRID, random_labels(0, 1, 1, 1)),
    "twenty-five objects of twenty classes": (GRID, random_labels(1, 3, 25, 20)),
    "a map that is not square": (WIDE, random_labels(2, 2, 9, 3)),
    "the book's anchors": (BOOK_GRID, random_labels(3, 2, 6, 4)),
    "an object smaller than any anchor": (GRID, np.array([[[0, 0.501, 0.501, 0.502, 0.502]]])),
    "an object larger than any anchor": (GRID, np.array([[[2, 0.0, 0.0, 1.0, 1.0]]])),
    "objects that are anchors": (GRID, np.concatenate((np.ones((1, 4, 1)), GRID[:, 40:44]), axis=-1)),
    "an overlap of exactly the threshold": (HALVES, np.array([[[0, 0.0, 0.0, 1.0, 1.0]]])),
    "an object tied between two anchors": (HALVES, np.array([[[1, 0.25, 0.0, 0.75, 1.0]]])),
    "the same object twice": (GRID, np.array([[[0, 0.2, 0.2, 0.6, 0.7], [1, 0.2, 0.2, 0.6, 0.7]]])),
    "touching objects": (GRID, np.array([[[0, 0.25, 0.25, 0.5, 0.5], [1, 0.5, 0.25, 0.75, 0.5]]])),
    "an object that reaches out of the image": (GRID, np.array([[[0, -0.2, 0.6, 0.3, 1.4]]])),
}
"""Anchors, and labels for which the book's function is well defined."""
OTHERS = {
    "no objects": (GRID, np.zeros((2, 0, 5))),
    "padding only": (GRID, np.array([[PAD, PAD]])),
    "different numbers of objects": (GRID, np.array([[[3, 0.1, 0.2, 0.4, 0.6], PAD], [PAD, PAD]])),
    "a box that class id -1 takes out": (GRID, np.array([[[3, 0.1, 0.2, 0.4, 0.6], [-1, 0.5, 0.5, 0.9, 0.9]]])),
    "padding before an object": (GRID, np.array([[PAD, [3, 0.1, 0.2, 0.4, 0.6]]])),
    "more objects than anchors": (HALVES, random_labels(4, 1, 5, 3)),
    "an object far outside": (GRID, np.array([[[0, 5.0, 5.0, 6.0, 6.0], [1, 0.1, 0.1, 0.4, 0.4]]])),
    "a class id that is not a number": (GRID, np.array([[[np.nan, 0.1, 0.1, 0.4, 0.4]]])),
    "an infinite class id": (GRID, np.array([[[np.inf, 0.1, 0.1, 0.4, 0.4]]])),
    **{
        f"a box without area ({name}) beside an object": (GRID, np.array([[[0, *box], [1, 0.1, 0.2, 0.4, 0.6]]]))
        for name, box in WITHOUT_AREA.items()
    },
}
"""Anchors, and labels with rows that the book's function cannot take."""


def table(cases):
    return pytest.mark.parametrize(("anchors", "labels"), cases.values(), ids=cases)


def of_backend(backend, anchors, labels):
    d, n = backend.data.to_device, backend.data.to_numpy
    return [n(array) for array in backend.targets.multibox_target(d(anchors), d(labels))]


@table(VALID)
def test_targets_are_the_book_s(anchors, labels, backend, book):
    anchors, labels = anchors.astype("float32"), labels.astype("float32")  # the book's function takes no float64
    d, n = backend.data.to_device, backend.data.to_numpy
    offsets, mask, classes = (n(array) for array in book.multibox_target(d(anchors), d(labels)))
    assert (classes > 0).any()
    # Against numpy, which rounds the last digit of a logarithm otherwise: the smallest object has offsets of -30.
    for ours, tolerance in [(of_backend(backend, anchors, labels), 0), (multibox_target(anchors, labels), 5e-6)]:
        np.testing.assert_allclose(ours[0], offsets, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(ours[1], mask)
        np.testing.assert_array_equal(ours[2], classes)


# The operator wants more than the threshold, stops at the first padding row, insists that all of it is -1, and takes no
# empty array.
OPERATOR_DIFFERS = {
    "an overlap of exactly the threshold",
    "no objects",
    "a box that class id -1 takes out",
    "padding before an object",
    "a class id that is not a number",
    "an infinite class id",
}


@pytest.mark.backend("mxnet")
@table({name: case for name, case in (VALID | OTHERS).items() if name not in OPERATOR_DIFFERS})
def test_targets_are_those_of_mxnet_s_operator(anchors, labels):
    from mxnet import np as mxnp
    from mxnet import npx

    anchors, labels = anchors.astype("float32"), labels.astype("float32")
    logits = mxnp.zeros((len(labels), int(labels[..., 0].max()) + 2, anchors.shape[1]))
    theirs = npx.multibox_target(mxnp.array(anchors), mxnp.array(labels), logits)
    offsets, mask, classes = (array.asnumpy() for array in theirs)
    offsets = offsets.astype("float64").reshape(-1, 4)
    offsets[:, 2:] = 5 * np.log(OFFSET_EPS + np.exp(offsets[:, 2:] / 5))  # the operator adds none
    ours = multibox_target(anchors, labels)
    np.testing.assert_allclose(ours[0], offsets.reshape(mask.shape) * mask, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(ours[1], mask)
    np.testing.assert_array_equal(ours[2], classes.clip(0))  # -1 throughout an image without objects


@table(VALID | OTHERS)
def test_targets_are_the_same_in_numpy_and_the_backends(anchors, labels, backend, dtype):
    anchors, labels = anchors.astype(dtype), labels.astype(dtype)
    ours, reference = of_backend(backend, anchors, labels), multibox_target(anchors, labels)
    assert ours[0].dtype == ours[1].dtype == reference[0].dtype == reference[1].dtype == dtype
    assert ours[2].dtype == reference[2].dtype == np.int64
    np.testing.assert_allclose(ours[0], reference[0], rtol=0, atol=1e-12 if dtype == "float64" else 5e-6)
    np.testing.assert_array_equal(ours[1], reference[1])
    np.testing.assert_array_equal(ours[2], reference[2])
    assert np.isfinite(reference[0]).all()
    np.testing.assert_array_equal(reference[1], np.repeat(reference[2] > 0, 4, axis=1))
    np.testing.assert_array_equal(reference[0][reference[1] == 0], 0)


@table(VALID)
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_assignments_are_the_book_s(anchors, labels, threshold, backend, book, dtype):
    d, n = backend.data.to_device, backend.data.to_numpy
    grid, truth = anchors[0].astype(dtype), labels[0, :, 1:].astype(dtype)
    device = d(grid).device if backend.name == "torch" else d(grid).ctx
    theirs = n(book.assign_anchor_to_bbox(d(truth), d(grid), device, threshold))
    np.testing.assert_array_equal(n(backend.targets.assign_anchor_to_bbox(d(truth), d(grid), threshold)), theirs)
    np.testing.assert_array_equal(assign_anchor_to_bbox(truth, grid, threshold), theirs)


UNIT = [0.0, 0.0, 1.0, 1.0]
BY_HAND = {
    "the better box": ([UNIT], [[0.0, 0.0, 1.0, 0.6], [0.0, 0.0, 1.0, 0.9]], [1]),
    "of two tied boxes the lower": ([UNIT], [[0.0, 0.0, 1.0, 0.8], [0.0, 0.2, 1.0, 1.0]], [0]),
    "of two tied anchors the lower claims": ([UNIT, UNIT], [[0.0, 0.0, 0.5, 0.5]], [0, -1]),
    "both tied anchors above the threshold": ([UNIT, UNIT], [[0.0, 0.0, 1.0, 0.8]], [0, 0]),
    "two boxes claim two tied anchors in order": ([UNIT, UNIT], [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]], [0, 1]),
    "a claim overrules the threshold": (
        [UNIT, [2.0, 2.0, 3.0, 3.0]],
        [[0.0, 0.0, 1.0, 0.9], [0.0, 0.0, 0.9, 0.9]],
        [0, -1],
    ),
    "the larger overlap claims first": ([UNIT, [0.0, 0.0, 1.0, 0.5]], [[0.0, 0.0, 1.0, 0.4], UNIT], [1, 0]),
    "below the threshold, claimed": ([UNIT], [[0.0, 0.0, 0.1, 0.1]], [0]),
    "no overlap": ([UNIT], [[2.0, 2.0, 3.0, 3.0]], [-1]),
    "touching is no overlap": ([UNIT], [[1.0, 0.0, 2.0, 1.0]], [-1]),
    "more boxes than anchors": ([UNIT], [[0.0, 0.0, 0.1, 0.1], [0.0, 0.0, 0.3, 0.3], [0.0, 0.0, 0.2, 0.2]], [1]),
    "no boxes": ([UNIT, UNIT], np.zeros((0, 4)), [-1, -1]),
}
"""Anchors, boxes, and the box of each anchor."""


@pytest.mark.parametrize(("anchors", "truth", "expected"), BY_HAND.values(), ids=BY_HAND)
def test_assignments_worked_out_by_hand(anchors, truth, expected, backend, dtype):
    anchors, truth = np.array(anchors, dtype), np.array(truth, dtype)
    d, n = backend.data.to_device, backend.data.to_numpy
    np.testing.assert_array_equal(assign_anchor_to_bbox(truth, anchors), expected)
    np.testing.assert_array_equal(n(backend.targets.assign_anchor_to_bbox(d(truth), d(anchors))), expected)
    batch = np.stack((truth, truth))
    np.testing.assert_array_equal(assign_anchor_to_bbox(batch, anchors), [expected, expected])
    assigned = n(backend.targets.assign_anchor_to_bbox(d(batch), d(anchors)))
    np.testing.assert_array_equal(assigned, [expected, expected])


def test_a_picture_has_the_same_targets_alone_and_in_a_batch(backend):
    labels = random_labels(5, 4, 7, 3)
    labels[1, 3:] = labels[2] = PAD
    together = of_backend(backend, GRID, labels)
    for i, rows in enumerate(labels):
        alone = of_backend(backend, GRID, rows[None][:, rows[:, 0] >= 0])
        for both, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(both[i], one[0])


@pytest.mark.backend("mxnet")
def test_targets_may_be_computed_while_mxnet_records():
    from mxnet import autograd

    from ssd_common.backends import load_backend

    backend, labels = load_backend("mxnet"), random_labels(6, 2, 5, 3)
    with autograd.record():
        recorded = of_backend(backend, GRID, labels)
    for ours, reference in zip(recorded, multibox_target(GRID, labels), strict=True):
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_objects", [0, 1, 3])
def test_no_object_makes_every_anchor_background(num_objects, backend, dtype):
    labels = np.full((2, num_objects, 5), -1, dtype)
    for targets in (multibox_target(GRID.astype(dtype), labels), of_backend(backend, GRID.astype(dtype), labels)):
        for array in targets:
            np.testing.assert_array_equal(array, np.zeros_like(array))


def test_every_object_with_area_gets_an_anchor_of_its_own():
    boxes = random_boxes(7, 4, 20)
    for assigned in assign_anchor_to_bbox(boxes, BOOK_GRID[0]):
        np.testing.assert_array_equal(np.unique(assigned), np.arange(-1, 20))
