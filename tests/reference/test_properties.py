"""Whatever the boxes, numpy, PyTorch and MXNet agree: empty, inverted, infinite, tied, touching and identical ones."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssd_common import anchors, boxes, detection, targets

agree = settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
    # The only fixture of a test's own switches off warnings: nothing is left over from one example to the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def _numpy_does_not_warn_of_infinity():
    with np.errstate(all="ignore"):
        yield


# Corners on a coarse grid make identical and touching boxes and tied overlaps; those in between do not.
GRID, SIDES = st.integers(0, 4).map(lambda k: k / 4), st.sampled_from([0.25, 0.5, 1.0])
POINTS, LENGTHS = st.floats(-1, 2, width=32, allow_subnormal=False), st.floats(1 / 64, 1, width=32)
SPECIAL = st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.0, 0.5])
CLASSES = st.integers(0, 19)


def corners(x, y, width, height):
    return [x, y, x + width, y + height]


with_area = st.one_of(
    st.builds(corners, GRID, GRID, SIDES, SIDES), st.builds(corners, POINTS, POINTS, LENGTHS, LENGTHS)
)
any_box = st.one_of(
    with_area,
    with_area,
    st.lists(GRID, min_size=4, max_size=4),  # often without area or inverted
    st.lists(SPECIAL, min_size=4, max_size=4),
)


def arrays(box, min_size=0, max_size=10):
    """Return `(n, 4)` arrays."""
    return st.lists(box, min_size=min_size, max_size=max_size).map(lambda rows: np.array(rows, float).reshape(-1, 4))


@st.composite
def same_number(draw, *box_kinds):
    """Return as many boxes of each kind."""
    n = draw(st.integers(0, 10))
    return [draw(arrays(kind, n, n)) for kind in box_kinds]


@st.composite
def feature_maps(draw):
    """Return a small feature map, seldom a square one."""
    return np.zeros((draw(st.integers(1, 4)), draw(st.integers(1, 4))))


RATIOS = st.sampled_from([[1], [1, 2], [2, 0.5, 1]])


@st.composite
def grids(draw):
    """Return the anchors of a small feature map."""
    return anchors.multibox_prior(draw(feature_maps()), draw(st.lists(SIDES, min_size=1, max_size=2)), draw(RATIOS))


@st.composite
def label_batches(draw):
    """Return labels of images with different numbers of objects; class id -1 is padding, which may come anywhere."""
    rows = st.builds(lambda class_id, box: [class_id, *box], st.one_of(CLASSES, CLASSES, st.just(-1)), any_box)
    pictures = draw(st.lists(st.lists(rows, max_size=3), min_size=1, max_size=3))
    labels = np.full((len(pictures), max(map(len, pictures)), 5), -1.0)
    for i, picture in enumerate(pictures):
        labels[i, : len(picture)] = np.reshape(picture, (-1, 5))
    return labels


@st.composite
def scored_boxes(draw):
    """Return boxes, scores of which many are tied, and class ids or None."""
    n = draw(st.integers(0, 12))
    scores = draw(st.lists(st.one_of(GRID, st.floats(0, 1)), min_size=n, max_size=n))
    class_ids = draw(st.one_of(st.none(), st.lists(CLASSES, min_size=n, max_size=n), st.just([0, 1] * 6)))
    class_ids = None if class_ids is None else np.array(class_ids[:n], np.int64)
    return draw(arrays(any_box, n, n)), np.array(scores, float), class_ids


@st.composite
def predictions(draw):
    """Return probabilities, offsets and anchors; many scores are tied, some offsets are not finite."""
    grid = draw(grids())
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 20)) + 1, grid.shape[1])
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = rng.integers(0, draw(st.sampled_from([2, 5, 1000])), shape) / 1000 * draw(st.sampled_from([1, 100]))
    offsets = rng.normal(0, draw(st.sampled_from([0.0, 1.0, 5.0])), (shape[0], shape[2] * 4))
    for _ in range(draw(st.integers(0, 3))):
        offsets.flat[draw(st.integers(0, offsets.size - 1))] = draw(st.one_of(SPECIAL, st.just(1e4)))
    return probabilities.clip(0, 1), offsets, grid


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "nms_threshold": st.sampled_from([0.0, 0.25, 0.75, 1.0]),
        "pos_threshold": st.sampled_from([0.0, 0.25, 1.0]),
        "class_aware": st.booleans(),
        "clip": st.booleans(),
        "top_k": st.one_of(st.none(), st.integers(1, 80)),
    },
)


def of_backend(backend, function, *arguments, **options):
    """Return what a backend's function makes of numpy arrays, as numpy arrays."""
    d, n = backend.data.to_device, backend.data.to_numpy
    arguments = [d(a) if isinstance(a, np.ndarray) else a for a in arguments]
    options = {name: d(a) if isinstance(a, np.ndarray) else a for name, a in options.items()}
    result = function(*arguments, **options)
    return [n(array) for array in result] if isinstance(result, tuple) else n(result)


@given(arrays(any_box), arrays(any_box))
@agree
def test_box_iou(backends, boxes1, boxes2):
    reference = boxes.box_iou(boxes1, boxes2)
    for b in backends:
        np.testing.assert_allclose(of_backend(b, b.boxes.box_iou, boxes1, boxes2), reference, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(boxes.box_iou(boxes2, boxes1), reference.T)
    assert ((reference >= 0) & (reference <= 1)).all()


@given(arrays(any_box))
@agree
def test_formats(backends, array):
    for name in ("box_corner_to_center", "box_center_to_corner"):
        reference = getattr(boxes, name)(array)
        for b in backends:
            np.testing.assert_array_equal(of_backend(b, getattr(b.boxes, name), array), reference)


@given(same_number(with_area, with_area))
@agree
def test_offsets_and_their_inverse(backends, pair):
    offsets = boxes.offset_boxes(*pair, eps=0)
    np.testing.assert_allclose(boxes.offset_inverse(pair[0], offsets), pair[1], rtol=0, atol=1e-12)
    assert np.isfinite(boxes.offset_boxes(*pair)).all()
    for b in backends:
        ours = of_backend(b, b.boxes.offset_boxes, *pair, eps=0)
        np.testing.assert_allclose(ours, offsets, rtol=1e-12, atol=1e-12)
        inverse = of_backend(b, b.boxes.offset_inverse, pair[0], offsets)
        np.testing.assert_allclose(inverse, pair[1], rtol=0, atol=1e-12)


@given(same_number(with_area, any_box))
@agree
def test_boxes_from_any_offsets(backends, pair):
    reference = boxes.offset_inverse(*pair)
    for b in backends:
        ours = of_backend(b, b.boxes.offset_inverse, *pair)
        np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-12)


@given(feature_maps(), st.lists(SIDES, min_size=1, max_size=3), RATIOS)
@agree
def test_multibox_prior(backends, feature_map, sizes, ratios):
    reference = anchors.multibox_prior(feature_map, sizes, ratios)
    assert reference.shape == (1, feature_map.size * (len(sizes) + len(ratios) - 1), 4)
    assert (boxes.box_corner_to_center(reference)[..., 2:] > 0).all()
    for b in backends:
        ours = b.data.to_numpy(b.anchors.multibox_prior(b.data.to_device(feature_map), sizes, ratios))
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12)


@given(arrays(any_box, max_size=4), arrays(any_box, min_size=1), st.sampled_from([0.25, 0.5, 0.75]))
@agree
def test_assign_anchor_to_bbox(backends, truth, any_anchors, threshold):
    reference = targets.assign_anchor_to_bbox(truth, any_anchors, threshold)
    for b in backends:
        ours = of_backend(b, b.targets.assign_anchor_to_bbox, truth, any_anchors, threshold)
        np.testing.assert_array_equal(ours, reference)
    overlaps = boxes.box_iou(any_anchors, truth)
    for anchor in np.flatnonzero(reference >= 0):
        assert overlaps[anchor, reference[anchor]] > 0
    if len(truth):
        assert (reference[overlaps.max(axis=1) >= threshold] >= 0).all()


@given(grids(), label_batches())
@agree
def test_multibox_target(backends, grid, labels):
    reference = targets.multibox_target(grid, labels)
    for b in backends:
        ours = of_backend(b, b.targets.multibox_target, grid, labels)
        np.testing.assert_allclose(ours[0], reference[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(ours[1], reference[1])
        np.testing.assert_array_equal(ours[2], reference[2])
    assert np.isfinite(reference[0]).all()
    np.testing.assert_array_equal(reference[1], np.repeat(reference[2] > 0, 4, axis=1))


@given(scored_boxes(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
@agree
def test_nms(backends, case, threshold):
    array, scores, class_ids = case
    reference = detection.nms(array, scores, threshold, class_ids=class_ids)
    for b in backends:
        ours = of_backend(b, b.detection.nms, array, scores, threshold, class_ids=class_ids)
        np.testing.assert_array_equal(ours, reference)
    assert (np.diff(scores[reference]) <= 0).all()
    overlaps = np.triu(boxes.box_iou(array[reference], array[reference]), 1)
    if class_ids is not None:
        overlaps[class_ids[reference][:, None] != class_ids[reference]] = 0
    assert (overlaps <= threshold).all()


@given(predictions(), OPTIONS)
@agree
def test_multibox_detection(backends, case, options):
    reference = detection.multibox_detection(*case, **options)
    for b in backends:
        ours = of_backend(b, b.detection.multibox_detection, *case, **options)
        np.testing.assert_array_equal(ours[..., :2], reference[..., :2])
        np.testing.assert_allclose(ours[..., 2:], reference[..., 2:], rtol=1e-12, atol=1e-12)
