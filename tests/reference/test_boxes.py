"""Box formats, overlaps and offsets: the book's, torchvision's, and the same in numpy and both backends."""

import numpy as np
import pytest

from ssd_common import boxes
from tests.reference.box_cases import WITHOUT_AREA, random_boxes

TOLERANCE = {"float64": 1e-12, "float32": 1e-6}
SQUARE = [0.0, 0.0, 0.5, 0.5]

PAIRS = {
    "random": (random_boxes(0, 40), random_boxes(1, 25)),
    "one and one": (random_boxes(2, 1), random_boxes(3, 1)),
    "none and some": (np.zeros((0, 4)), random_boxes(4, 3)),
    "some and none": (random_boxes(5, 3), np.zeros((0, 4))),
    "identical": (random_boxes(6, 9), random_boxes(6, 9)),
    "sharing an edge": (np.array([SQUARE]), np.array([[0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]])),
    "sharing a corner": (np.array([SQUARE]), np.array([[0.5, 0.5, 1.0, 1.0]])),
    "apart": (np.array([SQUARE]), np.array([[0.7, 0.0, 1.0, 0.5], [-3.0, -2.0, -1.0, -0.5]])),
    "one inside the other": (np.array([SQUARE]), np.array([[0.1, 0.2, 0.3, 0.4]])),
    "tied overlaps": (np.array([SQUARE]), np.array([[0.25, 0.0, 0.75, 0.5], [0.0, 0.25, 0.5, 0.75]])),
    "in pixels": (256 * random_boxes(7, 20), 256 * random_boxes(8, 20)),
}
"""Boxes with area, for which every implementation is well defined."""
BATCHES = {
    "a batch and a batch": (random_boxes(9, 3, 20), random_boxes(10, 3, 7)),
    "anchors and a batch": (random_boxes(11, 20), random_boxes(12, 3, 7)),
    "a batch without boxes": (random_boxes(13, 20), np.zeros((3, 0, 4))),
}


def table(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


@table(PAIRS)
def test_overlaps_are_the_book_s(case, backend, book, dtype):
    boxes1, boxes2 = (array.astype(dtype) for array in case)
    d, n = backend.data.to_device, backend.data.to_numpy
    theirs = n(book.box_iou(d(boxes1), d(boxes2)))
    np.testing.assert_array_equal(n(backend.boxes.box_iou(d(boxes1), d(boxes2))), theirs)
    np.testing.assert_array_max_ulp(boxes.box_iou(boxes1, boxes2), theirs, 1, dtype)


@pytest.mark.backend("torch")
@table(PAIRS)
def test_overlaps_are_torchvision_s(case):
    import torch
    import torchvision

    theirs = torchvision.ops.box_iou(*(torch.from_numpy(array) for array in case))
    np.testing.assert_allclose(boxes.box_iou(*case), theirs.numpy(), rtol=0, atol=1e-12)


@table(PAIRS | BATCHES)
def test_overlaps_are_the_same_in_numpy_and_the_backends(case, backend, dtype):
    boxes1, boxes2 = (array.astype(dtype) for array in case)
    d, n = backend.data.to_device, backend.data.to_numpy
    ours, reference = n(backend.boxes.box_iou(d(boxes1), d(boxes2))), boxes.box_iou(boxes1, boxes2)
    assert ours.dtype == reference.dtype == dtype
    np.testing.assert_allclose(ours, reference, rtol=0, atol=TOLERANCE[dtype])


@table(BATCHES)
def test_overlaps_of_a_batch_are_those_of_its_pictures(case):
    boxes1, boxes2 = np.broadcast_to(case[0], (3, *case[0].shape[-2:])), case[1]
    one_by_one = [boxes.box_iou(a, b) for a, b in zip(boxes1, boxes2, strict=True)]
    np.testing.assert_array_equal(boxes.box_iou(*case), np.stack(one_by_one))


def test_the_overlap_of_boxes_drawn_by_hand():
    third = boxes.box_iou(np.array([SQUARE]), np.array([[0.25, 0.0, 0.75, 0.5]]))
    np.testing.assert_allclose(third, [[1 / 3]], rtol=1e-15)
    quarter = boxes.box_iou(np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([SQUARE]))
    np.testing.assert_array_equal(quarter, [[0.25]])


@table(WITHOUT_AREA)
def test_a_box_without_area_overlaps_nothing_not_even_itself(case, backend, dtype):
    without = np.array([case], dtype)
    others = np.concatenate((without, random_boxes(14, 9).astype(dtype), [[-1e3, -1e3, 1e3, 1e3]])).astype(dtype)
    d, n = backend.data.to_device, backend.data.to_numpy
    np.testing.assert_array_equal(boxes.box_iou(without, others), np.zeros((1, 11)))
    np.testing.assert_array_equal(boxes.box_iou(others, without), np.zeros((11, 1)))
    np.testing.assert_array_equal(n(backend.boxes.box_iou(d(without), d(others))), np.zeros((1, 11)))
    np.testing.assert_array_equal(n(backend.boxes.box_iou(d(others), d(without))), np.zeros((11, 1)))


FORMATS = {"random": random_boxes(15, 30), "none": np.zeros((0, 4)), "inverted": np.array([WITHOUT_AREA["x inverted"]])}


@table(FORMATS)
@pytest.mark.parametrize("name", ["box_corner_to_center", "box_center_to_corner"])
def test_the_formats_are_converted_as_in_the_book(case, name, backend, book, dtype):
    array, d, n = case.astype(dtype), backend.data.to_device, backend.data.to_numpy
    theirs = n(getattr(book, name)(d(array)))
    np.testing.assert_array_equal(n(getattr(backend.boxes, name)(d(array))), theirs)
    np.testing.assert_allclose(getattr(boxes, name)(array), theirs, rtol=0, atol=TOLERANCE[dtype])
    in_a_batch = n(getattr(backend.boxes, name)(d(np.stack((array, array)))))
    np.testing.assert_array_equal(in_a_batch, np.stack((theirs, theirs)))


@pytest.mark.backend("torch")
def test_the_formats_are_converted_as_in_torchvision():
    import torch
    from torchvision.ops import box_convert

    corners = random_boxes(16, 30)
    centers = box_convert(torch.from_numpy(corners), "xyxy", "cxcywh").numpy()
    np.testing.assert_allclose(boxes.box_corner_to_center(corners), centers, rtol=0, atol=1e-12)
    np.testing.assert_allclose(boxes.box_center_to_corner(centers), corners, rtol=0, atol=1e-12)


OFFSETS = {
    "random": (random_boxes(17, 30), random_boxes(18, 30)),
    "onto itself": (random_boxes(19, 30), random_boxes(19, 30)),
    "one": (random_boxes(20, 1), random_boxes(21, 1)),
    "none": (np.zeros((0, 4)), np.zeros((0, 4))),
    "in pixels": (256 * random_boxes(22, 30), 256 * random_boxes(23, 30)),
}


@table(OFFSETS)
@pytest.mark.parametrize("name", ["offset_boxes", "offset_inverse"])
def test_offsets_are_the_book_s(case, name, backend, book, dtype):
    # For offset_inverse the second array is offsets, whatever their values.
    anchors, others = (array.astype(dtype) for array in case)
    if name == "offset_inverse":
        others = others % 1  # exp(256 / 5) is 2e22
    d, n = backend.data.to_device, backend.data.to_numpy
    theirs = n(getattr(book, name)(d(anchors), d(others)))
    np.testing.assert_array_equal(n(getattr(backend.boxes, name)(d(anchors), d(others))), theirs)
    # numpy's logarithm and exponential round the last digit otherwise.
    reference, tolerance = getattr(boxes, name)(anchors, others), TOLERANCE[dtype] * anchors.max(initial=1)
    np.testing.assert_allclose(reference, theirs, rtol=TOLERANCE[dtype], atol=tolerance)


@pytest.mark.backend("torch")
def test_offsets_are_torchvision_s_but_for_eps():
    import torch
    from torchvision.models.detection._utils import BoxCoder

    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    anchors, truths = random_boxes(24, 50), random_boxes(25, 50)
    theirs = coder.encode_single(torch.from_numpy(truths), torch.from_numpy(anchors)).numpy()
    np.testing.assert_allclose(boxes.offset_boxes(anchors, truths, eps=0), theirs, rtol=1e-12, atol=1e-12)
    decoded = coder.decode_single(torch.from_numpy(theirs), torch.from_numpy(anchors)).numpy()
    # torchvision limits the stretching to 1000 / 16, which not every pair of random boxes respects
    usual = (theirs[:, 2:] < 5 * np.log(1000 / 16)).all(axis=1)
    assert usual.sum() > 40
    np.testing.assert_allclose(boxes.offset_inverse(anchors, theirs)[usual], decoded[usual], rtol=0, atol=1e-12)


def test_the_inverse_of_the_offsets_is_the_box(backend):
    anchors, truths = random_boxes(26, 2, 50), random_boxes(27, 2, 50)
    np.testing.assert_allclose(
        boxes.offset_inverse(anchors, boxes.offset_boxes(anchors, truths, eps=0)), truths, rtol=0, atol=1e-12
    )
    d, n = backend.data.to_device, backend.data.to_numpy
    offsets = backend.boxes.offset_boxes(d(anchors), d(truths), 0)
    np.testing.assert_allclose(n(backend.boxes.offset_inverse(d(anchors), offsets)), truths, rtol=0, atol=1e-12)


def test_one_set_of_anchors_serves_a_batch(backend, dtype):
    anchors, others = random_boxes(28, 1, 6).astype(dtype), random_boxes(29, 3, 6).astype(dtype)
    d, n = backend.data.to_device, backend.data.to_numpy
    expected = boxes.offset_inverse(anchors, others)
    np.testing.assert_array_equal(expected, np.stack([boxes.offset_inverse(anchors[0], rows) for rows in others]))
    ours = n(backend.boxes.offset_inverse(d(anchors), d(others)))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.backend("torch")
def test_the_overlap_of_boxes_in_whole_pixels_is_that_of_the_same_boxes_as_fractions():
    import torch

    import ssd_torch.boxes

    pixels = np.array([[0, 0, 100, 50], [50, 0, 150, 50], [30, 40, 20, 60]])
    fractions = boxes.box_iou(pixels / 256, pixels / 256)
    np.testing.assert_allclose(boxes.box_iou(pixels, pixels), fractions, rtol=1e-12)
    np.testing.assert_allclose(ssd_torch.boxes.box_iou(*[torch.tensor(pixels)] * 2), fractions, rtol=1e-6)
    np.testing.assert_allclose(fractions[0, 1], 1 / 3)


@pytest.mark.backend("torch")
def test_in_torch_the_overlap_has_a_gradient():
    """So that a loss can be built on it; MXNet's `where` has none."""
    import torch

    import ssd_torch.boxes

    first, second = np.array([[0.0, 0.0, 0.5, 0.5]]), np.array([[0.25, 0.0, 0.75, 0.5]])
    moved = [boxes.box_iou(first + [[d, 0, d, 0]], second)[0, 0] for d in (-1e-6, 1e-6)]
    box = torch.tensor(first, requires_grad=True)
    ssd_torch.boxes.box_iou(box, torch.tensor(second)).sum().backward()
    np.testing.assert_allclose(box.grad[0, 0] + box.grad[0, 2], (moved[1] - moved[0]) / 2e-6, rtol=1e-6)
