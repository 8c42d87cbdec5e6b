"""Non-maximum suppression and detections: the book's, torchvision's and MXNet's, in numpy and both backends."""

import numpy as np
import pytest

from ssd_common.anchors import multibox_prior
from ssd_common.boxes import offset_inverse
from ssd_common.detection import multibox_detection, nms
from tests.reference.box_cases import WITHOUT_AREA, random_boxes

GRID = multibox_prior(np.zeros((4, 4)), [0.2, 0.37], [1, 2, 0.5])  # 64 anchors
WIDE = multibox_prior(np.zeros((3, 8)), [0.3], [1, 2])


def random_case(seed, n, num_classes=3, ties=False):
    """Return `n` boxes, scores and class ids; with `ties`, of ten different scores."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 10, n) / 10 if ties else rng.random(n)
    return random_boxes([seed, 1], n), scores, rng.integers(0, num_classes, n)


BOX, SHIFTED, APART = [0.1, 0.1, 0.5, 0.5], [0.15, 0.1, 0.55, 0.5], [0.6, 0.6, 0.9, 0.9]
UNTIED = {
    "random": random_case(0, 70),
    "one box": random_case(1, 1),
    "many classes": random_case(2, 50, num_classes=20),
    "identical boxes": (np.array([BOX] * 4), np.array([0.3, 0.9, 0.1, 0.4]), np.array([0, 1, 0, 1])),
    "touching boxes": (np.array([BOX, [0.5, 0.1, 0.9, 0.5]]), np.array([0.4, 0.9]), np.array([0, 0])),
    "a chain": (np.array([APART, SHIFTED, BOX]), np.array([0.7, 0.8, 0.9]), np.array([0, 0, 0])),
    "in pixels": (256 * random_boxes(3, 30), np.linspace(0, 1, 30), np.arange(30) % 2),
}
"""Boxes, scores and class ids that the book's function can take."""
OTHERS = {
    "no boxes": (np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)),
    "tied scores": random_case(4, 120, ties=True),
    "many boxes": random_case(8, 300),
    "all scores tied": (random_boxes(5, 60), np.full(60, 0.5), np.arange(60) % 3),
    "all scores 0": (random_boxes(6, 20), np.zeros(20), np.zeros(20, np.int64)),
    "an infinite score": (random_boxes(7, 4), np.array([0.1, np.inf, 0.2, 0.1]), np.zeros(4, np.int64)),
    **{
        f"a box without area ({name})": (np.array([BOX, box, SHIFTED]), np.array([0.5, 0.9, 0.8]), np.array([0, 0, 0]))
        for name, box in WITHOUT_AREA.items()
    },
}
"""Boxes that are none, and ties, which the book's two editions break differently."""


def table(cases):
    return pytest.mark.parametrize(("boxes", "scores", "class_ids"), cases.values(), ids=cases)


def of_backend(backend, boxes, scores, threshold, class_ids=None):
    d, n = backend.data.to_device, backend.data.to_numpy
    class_ids = None if class_ids is None else d(class_ids)
    kept = n(backend.detection.nms(d(boxes), d(scores), threshold, class_ids=class_ids))
    assert kept.dtype == np.int64
    return kept


@table(UNTIED)
@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_the_kept_boxes_are_the_book_s(boxes, scores, class_ids, threshold, backend, book, dtype):
    boxes, scores, d = boxes.astype(dtype), scores.astype(dtype), backend.data.to_device
    theirs = backend.data.to_numpy(book.nms(d(boxes), d(scores), threshold))
    np.testing.assert_array_equal(nms(boxes, scores, threshold), theirs)
    np.testing.assert_array_equal(of_backend(backend, boxes, scores, threshold), theirs)


@pytest.mark.backend("torch")
@table(UNTIED | OTHERS)
def test_the_kept_boxes_are_torchvision_s(boxes, scores, class_ids):
    import torch
    import torchvision

    arrays = [torch.from_numpy(array) for array in (boxes, scores, class_ids)]
    ours, of_a_class = nms(boxes, scores, 0.5), nms(boxes, scores, 0.5, class_ids=class_ids)
    np.testing.assert_array_equal(ours, torchvision.ops.nms(*arrays[:2], 0.5).numpy())
    if np.isfinite(boxes).all():  # it shifts the classes apart by the largest coordinate
        np.testing.assert_array_equal(of_a_class, torchvision.ops.batched_nms(*arrays, 0.5).numpy())


@table(UNTIED | OTHERS)
def test_the_kept_boxes_are_the_same_in_numpy_and_the_backends(boxes, scores, class_ids, backend, dtype):
    boxes, scores = boxes.astype(dtype), scores.astype(dtype)
    for ids in (None, class_ids):
        reference = nms(boxes, scores, 0.5, class_ids=ids)
        np.testing.assert_array_equal(of_backend(backend, boxes, scores, 0.5, ids), reference)


def test_boxes_are_kept_as_worked_out_by_hand(backend, dtype):
    boxes, scores = np.array([APART, SHIFTED, BOX], dtype), np.array([0.7, 0.8, 0.9], dtype)
    for class_ids, expected in [(None, [2, 0]), ([0, 0, 0], [2, 0]), ([0, 0, 1], [2, 1, 0])]:
        class_ids = None if class_ids is None else np.array(class_ids)
        np.testing.assert_array_equal(nms(boxes, scores, 0.5, class_ids=class_ids), expected)
        np.testing.assert_array_equal(of_backend(backend, boxes, scores, 0.5, class_ids), expected)


def test_of_tied_scores_the_lower_index_is_kept(backend, dtype):
    boxes, scores = np.array([BOX, APART, SHIFTED, APART], dtype), np.full(4, 0.5, dtype)
    np.testing.assert_array_equal(nms(boxes, scores, 0.5), [0, 1])
    np.testing.assert_array_equal(of_backend(backend, boxes, scores, 0.5), [0, 1])


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45, 0.5, 0.6, 0.7])
def test_an_overlap_of_exactly_the_threshold_is_kept(threshold, backend, book, dtype):
    boxes = np.array([[0, 0, 100, 1], [0, 0, round(100 * threshold), 1]], dtype)  # IoU: the rounded quotient
    scores, d = np.array([0.9, 0.8], dtype), backend.data.to_device
    np.testing.assert_array_equal(backend.data.to_numpy(book.nms(d(boxes), d(scores), threshold)), [0, 1])
    np.testing.assert_array_equal(nms(boxes, scores, threshold), [0, 1])
    np.testing.assert_array_equal(of_backend(backend, boxes, scores, threshold), [0, 1])


def predictions(seed, anchors, num_classes, batch=2, ties=False):
    """Return probabilities, offsets and anchors as `multibox_detection` takes them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (batch, num_classes + 1, anchors.shape[1]))
    logits = logits.round() if ties else logits
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, rng.normal(size=(batch, anchors.shape[1] * 4)), anchors


DETECTIONS = {
    "one class": predictions(0, GRID, 1),
    "three classes": predictions(1, GRID, 3),
    "twenty classes": predictions(2, GRID, 20),
    "a map that is not square": predictions(3, WIDE, 2, batch=1),
    "one anchor": predictions(4, GRID[:, :1], 2),
}
TIED = {
    "tied scores": predictions(5, GRID, 3, ties=True),
    "all alike": (np.full((1, 3, 64), 1 / 3), np.zeros((1, 256)), GRID),
}
OPTIONS = {
    "as in the book": {},
    "low threshold": {"nms_threshold": 0.25},
    "high score": {"pos_threshold": 0.5},
    "no score too low": {"pos_threshold": 0.0},
    "class aware": {"class_aware": True},
    "clip": {"clip": True},
    "top 10": {"top_k": 10},
    "top 1000": {"top_k": 1000},
    "all three": {"class_aware": True, "clip": True, "top_k": 20},
}


def predicted(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


def detect(backend, case, **options):
    d = backend.data.to_device
    return backend.data.to_numpy(backend.detection.multibox_detection(*(d(array) for array in case), **options))


@predicted(DETECTIONS)
@pytest.mark.parametrize("options", [{}, {"nms_threshold": 0.25, "pos_threshold": 0.5}], ids=["default", "other"])
def test_detections_are_the_book_s(case, options, backend, book):
    case, d = [array.astype("float32") for array in case], backend.data.to_device
    theirs = backend.data.to_numpy(book.multibox_detection(*(d(array) for array in case), **options))
    np.testing.assert_array_equal(detect(backend, case, **options), theirs)
    # numpy's exponential rounds the last digit otherwise
    np.testing.assert_allclose(multibox_detection(*case, **options), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.backend("mxnet")
@predicted(DETECTIONS)
@pytest.mark.parametrize("class_aware", [False, True], ids=["any class", "class aware"])
@pytest.mark.parametrize("clip", [False, True], ids=["not clipped", "clipped"])
@pytest.mark.parametrize("top_k", [None, 10], ids=["all", "top 10"])
def test_detections_are_those_of_mxnet_s_operator(case, class_aware, clip, top_k):
    from mxnet import np as mxnp
    from mxnet import npx

    case = [array.astype("float32") for array in case]
    arrays, top = [mxnp.array(array) for array in case], -1 if top_k is None else top_k
    theirs = npx.multibox_detection(*arrays, clip=clip, force_suppress=not class_aware, nms_topk=top).asnumpy()
    ours = multibox_detection(*case, class_aware=class_aware, clip=clip, top_k=top_k)
    for our_rows, their_rows in zip(ours, theirs, strict=True):
        detected = our_rows[our_rows[:, 0] >= 0]
        assert len(detected) > 0
        np.testing.assert_allclose(detected, their_rows[their_rows[:, 0] >= 0], rtol=1e-5, atol=1e-6)


@predicted(DETECTIONS | TIED)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_detections_are_the_same_in_numpy_and_the_backends(case, options, backend, dtype):
    case = [array.astype(dtype) for array in case]
    ours, reference = detect(backend, case, **options), multibox_detection(*case, **options)
    assert ours.dtype == reference.dtype == dtype
    assert ours.shape == reference.shape == (len(case[0]), case[2].shape[1], 6)
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance)


@predicted(DETECTIONS | TIED)
def test_every_anchor_has_one_row_and_the_options_do_what_they_say(case):
    probabilities, offsets, anchors = case
    boxes = offset_inverse(anchors, offsets.reshape(len(offsets), -1, 4))
    for rows, decoded in zip(multibox_detection(*case), boxes, strict=True):
        np.testing.assert_array_equal(np.sort(rows[:, 2:], axis=0), np.sort(decoded, axis=0))
    clipped = multibox_detection(*case, clip=True)[..., 2:]
    assert 0 <= clipped.min() <= clipped.max() <= 1
    assert ((multibox_detection(*case, top_k=10)[..., 0] >= 0).sum(axis=1) <= 10).all()
    few, many = (multibox_detection(*case, class_aware=aware)[..., 0] >= 0 for aware in (False, True))
    assert (few.sum(axis=1) <= many.sum(axis=1)).all()


def test_a_score_below_the_threshold_is_background_of_the_other_score(backend, dtype):
    anchors = np.array([[BOX, APART, SHIFTED]], dtype)
    probabilities = np.array([[[0.1, 0.75, 0.2], [0.9, 0.25, 0.8]]], dtype)
    case = (probabilities, np.zeros((1, 12), dtype), anchors)
    expected = [[0, 0.9, *BOX], [-1, 0.75, *APART], [-1, 0.8, *SHIFTED]]
    for rows in (multibox_detection(*case, pos_threshold=0.5), detect(backend, case, pos_threshold=0.5)):
        np.testing.assert_allclose(rows[0], np.array(expected, dtype), rtol=1e-6)


def test_of_tied_classes_the_lower_is_detected(backend):
    case = (np.array([[[0.2], [0.4], [0.4]]]), np.zeros((1, 4)), np.array([[BOX]]))
    for rows in (multibox_detection(*case), detect(backend, case)):
        np.testing.assert_allclose(rows, [[[0, 0.4, *BOX]]], rtol=1e-15)


@pytest.mark.parametrize("broken", ["score", "box"])
def test_an_anchor_with_a_value_that_is_not_a_number_suppresses_no_other(broken, backend, dtype):
    anchors, probabilities = np.array([[BOX, SHIFTED]], dtype), np.array([[[0.5, 0.1], [0.5, 0.9]]], dtype)
    offsets = np.zeros((1, 8), dtype)
    if broken == "score":
        probabilities[:, :, 1] = np.nan
    else:
        offsets[:, 4:] = np.nan
    case = (probabilities, offsets, anchors)
    for rows in (multibox_detection(*case), detect(backend, case)):
        detected = rows[0][(rows[0, :, 0] >= 0) & np.isfinite(rows[0, :, 2:]).all(axis=1)]
        np.testing.assert_allclose(detected, [[0, 0.5, *BOX]], rtol=1e-6)


@pytest.mark.parametrize("top_k", [0, 1])
def test_top_k_is_how_many_boxes_compete(top_k, backend, dtype):
    case = [array.astype(dtype) for array in DETECTIONS["one class"]]
    for rows in (multibox_detection(*case, top_k=top_k), detect(backend, case, top_k=top_k)):
        np.testing.assert_array_equal((rows[..., 0] >= 0).sum(axis=1), [top_k, top_k])
