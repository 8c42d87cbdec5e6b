"""Where the book's functions fail or are wrong: what they return, and what ours return instead.

Each test asserts both, so a row that the book mends fails here.
"""

import numpy as np
import pytest
from PIL import Image

from ssd_common import boxes, targets
from ssd_common.anchors import multibox_prior
from ssd_common.data.pikachu import read_detection_label
from ssd_common.detection import nms

PAD = [-1.0, -1.0, -1.0, -1.0, -1.0]
GRID = multibox_prior(np.zeros((4, 4), np.float32), [0.3], [1])  # anchor 0 is the upper left one
OBJECT = [1.0, 0.6, 0.6, 0.9, 0.9]


@pytest.fixture
def both_targets(backend, book):
    """Return a function: offsets, mask and class labels of one picture by the book, by numpy and by the backend."""
    d, n = backend.data.to_device, backend.data.to_numpy

    def of_picture(objects, anchors=GRID):
        labels = np.array([objects], np.float32).reshape(1, -1, 5)
        on_device = d(anchors), d(labels)
        theirs = [n(array)[0] for array in book.multibox_target(*on_device)]
        reference = [array[0] for array in targets.multibox_target(anchors, labels)]
        ours = [n(array)[0] for array in backend.targets.multibox_target(*on_device)]
        return theirs, reference, ours

    return of_picture


def test_padding_makes_a_phantom_positive(both_targets):
    """The mask calls anchor 0 positive, its class is background, and its offsets are those of a box at (-1, -1)."""
    (offsets, mask, classes), *right = both_targets([OBJECT, PAD])
    np.testing.assert_array_equal(mask[:4], [1, 1, 1, 1])
    assert classes[0] == 0
    assert np.abs(offsets[:4]).min() > 10
    for offsets, mask, classes in right:
        np.testing.assert_array_equal(mask[:4], [0, 0, 0, 0])
        np.testing.assert_array_equal(offsets[:4], [0, 0, 0, 0])
        np.testing.assert_array_equal(mask.reshape(-1, 4)[:, 0], classes > 0)


def test_a_picture_without_objects_raises(backend, book):
    if backend.name == "torch":
        error = IndexError
    else:
        import mxnet

        error = mxnet.MXNetError
    labels, d, n = np.zeros((1, 0, 5), np.float32), backend.data.to_device, backend.data.to_numpy
    with pytest.raises(error):
        n(book.multibox_target(d(GRID), d(labels))[2])
    for array in targets.multibox_target(GRID, labels):
        np.testing.assert_array_equal(array, np.zeros_like(array))
    for array in backend.targets.multibox_target(d(GRID), d(labels)):
        np.testing.assert_array_equal(n(array), np.zeros(array.shape))


def test_an_inverted_box_has_offsets_that_are_not_numbers(both_targets):
    (offsets, _, _), *right = both_targets([[0, 0.9, 0.2, 0.3, 0.6], OBJECT])
    assert np.isnan(offsets).any()
    for offsets, _, classes in right:
        assert np.isfinite(offsets).all()
        np.testing.assert_array_equal(np.unique(classes), [0, 2])


@pytest.mark.parametrize("box", [[2.0, 2.0, 3.0, 3.0], [0.5, 0.5, 0.5, 0.5]], ids=["outside", "zero area"])
def test_a_box_that_overlaps_no_anchor_is_forced_onto_anchor_0(box, both_targets):
    (_, mask, classes), *right = both_targets([OBJECT, [4, *box]])
    assert classes[0] == 5
    assert mask[0] == 1
    for _, mask, classes in right:
        assert classes[0] == mask[0] == 0
        np.testing.assert_array_equal(np.unique(classes), [0, 2])


def test_more_objects_than_anchors_take_anchor_0_from_its_object(both_targets):
    """When every anchor is taken the largest overlap left is -1, and that of anchor 0 with object 0 is found first."""
    anchors = np.array([[[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]], np.float32)
    right_object, left_object, third = [0, 0.6, 0.0, 1.0, 1.0], [1, 0.0, 0.0, 0.4, 1.0], [2, 0.0, 0.0, 0.1, 0.1]
    (_, _, classes), *right = both_targets([right_object, left_object, third], anchors)
    np.testing.assert_array_equal(classes, [1, 1])
    for _, _, classes in right:
        np.testing.assert_array_equal(classes, [2, 1])


def test_the_overlap_of_two_empty_boxes_is_not_a_number(backend, book):
    point, d, n = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32), backend.data.to_device, backend.data.to_numpy
    np.testing.assert_array_equal(n(book.box_iou(d(point), d(point))), [[np.nan]])
    np.testing.assert_array_equal(boxes.box_iou(point, point), [[0]])
    np.testing.assert_array_equal(n(backend.boxes.box_iou(d(point), d(point))), [[0]])


def test_a_large_index_is_rounded_to_another_anchor(backend, book, monkeypatch):
    """`(max_idx / n).long()` divides in float32, which has no odd numbers above 2**24.

    Box 0 overlaps anchor 0, and box 1 an anchor in the millions. The overlaps are given: to compute them takes seconds.
    """
    right = 2**23 + 1
    overlaps = np.zeros((right + 2, 2), np.float32)
    overlaps[0, 0], overlaps[right, 1] = 0.3, 0.4
    d, n = backend.data.to_device, backend.data.to_numpy
    anchors, truth = d(overlaps), d(np.zeros((2, 4), np.float32))  # of the anchors only the number matters
    monkeypatch.setattr(book, "box_iou", lambda anchors, truth: d(overlaps.copy()))
    monkeypatch.setattr(targets, "box_iou", lambda anchors, truth: overlaps.copy())
    monkeypatch.setattr(backend.targets, "box_iou", lambda anchors, truth: d(overlaps[None].copy()))
    device = anchors.device if backend.name == "torch" else anchors.ctx
    theirs = n(book.assign_anchor_to_bbox(truth, anchors, device))
    assert theirs[right] == -1
    assert theirs[right + 1] >= 0  # in the MXNet edition, whose argmax is rounded already, of the wrong box as well
    reference = targets.assign_anchor_to_bbox(np.zeros((2, 4)), overlaps)
    for assigned in (reference, n(backend.targets.assign_anchor_to_bbox(truth, anchors))):
        np.testing.assert_array_equal(np.flatnonzero(assigned >= 0), [0, right])
        np.testing.assert_array_equal(assigned[[0, right]], [0, 1])


def test_class_ids_are_divided_by_256_like_the_coordinates(backend, book, tmp_path, monkeypatch):
    folder = tmp_path / "bananas_train"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (256, 256)).save(folder / "images" / "0.png")
    (folder / "label.csv").write_text("img_name,label,xmin,ymin,xmax,ymax\n0.png,3,64,64,128,192\n")
    monkeypatch.setattr(book, "download_extract", lambda name: tmp_path)
    theirs = backend.data.to_numpy(book.read_data_bananas()[1])
    np.testing.assert_array_equal(theirs, [[[3 / 256, 0.25, 0.25, 0.5, 0.75]]])
    ours = read_detection_label(np.array([2, 5, 3, 0.25, 0.25, 0.5, 0.75]), num_classes=4)
    np.testing.assert_array_equal(ours, [[3, 0.25, 0.25, 0.5, 0.75]])
    for labels, class_label in [(theirs, 1), (ours[None], 4)]:
        labels = labels.astype(np.float32)
        np.testing.assert_array_equal(np.unique(targets.multibox_target(GRID, labels)[2]), [0, class_label])


def test_of_tied_scores_the_two_editions_keep_different_boxes(backend, book):
    """PyTorch's sort leaves them in order, MXNet's is reversed."""
    overlapping, scores = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32), np.array([0.5, 0.5], np.float32)
    d, n = backend.data.to_device, backend.data.to_numpy
    theirs = n(book.nms(d(overlapping), d(scores), 0.5))
    np.testing.assert_array_equal(theirs, [0] if backend.name == "torch" else [1])
    np.testing.assert_array_equal(nms(overlapping, scores, 0.5), [0])
    np.testing.assert_array_equal(n(backend.detection.nms(d(overlapping), d(scores), 0.5)), [0])
