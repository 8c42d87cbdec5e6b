"""Which detections two backends have in common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd_common.errors import InputError
from ssd_common.evaluation.agreement import differing

CAT = [0, 0.9, 0.2, 0.2, 0.6, 0.6]
DOG = [1, 0.8, 0.1, 0.5, 0.3, 0.9]


def changed(row: list[float], **values: float) -> list[float]:
    names = ("class_id", "score", "xmin", "ymin", "xmax", "ymax")
    return [values.get(name, value) for name, value in zip(names, row, strict=True)]


def random_detections(seed: int, count: int = 30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, 5, (count, 2, 2)) / 4, axis=1).reshape(count, 4)  # many alike, some without area
    return np.column_stack([rng.integers(-1, 3, count), rng.integers(0, 4, count) / 100, corners])


def test_equal_detections_differ_nowhere() -> None:
    first, second = differing([CAT, DOG], [CAT, DOG])
    assert (first.dtype, second.dtype) == (bool, bool)
    np.testing.assert_array_equal([first, second], [[False, False]] * 2)


def test_a_detection_that_one_backend_lacks_is_found_at_its_own_row() -> None:
    first, second = differing([DOG, CAT], [CAT])
    np.testing.assert_array_equal(first, [True, False])
    np.testing.assert_array_equal(second, [False])


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (changed(CAT, class_id=1), True),
        (changed(CAT, score=0.9 + 2**-7), False),
        (changed(CAT, score=0.9 - 2**-6), True),
        (changed(CAT, xmax=0.61), False),  # IoU 0.40 / 0.41
        (changed(CAT, xmax=0.63), True),  # IoU 0.40 / 0.43
        (changed(CAT, score=float("nan")), True),
        (changed(CAT, xmin=float("nan")), True),
    ],
)
def test_counterparts_have_one_class_almost_one_score_and_almost_one_box(other: list[float], differs: bool) -> None:
    np.testing.assert_array_equal(differing([CAT], [other]), [[differs]] * 2)
    np.testing.assert_array_equal(differing([other], [CAT]), [[differs]] * 2)


def test_the_limits_are_those_that_are_asked_for() -> None:
    half = changed(CAT, xmax=0.4, score=0.5)
    np.testing.assert_array_equal(differing([CAT], [half], iou=0.4, score=0.5), [[False]] * 2)
    np.testing.assert_array_equal(differing([CAT], [half], iou=0.6, score=0.5), [[True]] * 2)
    np.testing.assert_array_equal(differing([CAT], [half], iou=0.4, score=0.3), [[True]] * 2)


def test_one_detection_is_the_counterpart_of_one() -> None:
    first, second = differing([CAT, CAT], [CAT])
    np.testing.assert_array_equal(first, [False, True])
    np.testing.assert_array_equal(second, [False])


def test_the_best_score_chooses_first() -> None:
    first, second = differing([changed(CAT, score=0.895), CAT], [CAT])
    np.testing.assert_array_equal(first, [True, False])
    np.testing.assert_array_equal(second, [False])


def test_the_counterpart_is_the_box_that_fits_best() -> None:
    first, second = differing([CAT], [changed(CAT, xmax=0.605), CAT, changed(CAT, score=0.905, ymax=0.605)])
    np.testing.assert_array_equal(first, [False])
    np.testing.assert_array_equal(second, [True, False, True])


def test_background_needs_no_counterpart_and_is_none() -> None:
    background = changed(CAT, class_id=-1)
    first, second = differing([background, CAT], [background])
    np.testing.assert_array_equal(first, [False, True])
    np.testing.assert_array_equal(second, [False])


def test_a_box_without_area_is_the_counterpart_of_one_with_its_corners() -> None:
    point = changed(CAT, xmax=0.2, ymax=0.2)
    np.testing.assert_array_equal(differing([point], [point]), [[False]] * 2)
    np.testing.assert_array_equal(differing([point], [changed(point, xmax=0.1)]), [[True]] * 2)


@pytest.mark.parametrize("nothing", [[], np.empty((0, 6)), np.empty((0,), np.float32)])
def test_where_one_backend_found_nothing_all_of_the_other_differs(nothing: object) -> None:
    first, second = differing(nothing, [CAT, DOG])
    assert first.shape == (0,)
    np.testing.assert_array_equal(second, [True, True])


def test_detections_of_a_whole_batch_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(n, 6\), not \(1, 2, 6\)"):
        differing([[CAT, DOG]], [CAT])


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_the_order_of_equal_detections_does_not_matter(seed: int, data: st.DataObject) -> None:
    rows = random_detections(seed)
    shuffled = rows[data.draw(st.permutations(range(len(rows))))]
    np.testing.assert_array_equal(differing(rows, shuffled), np.zeros((2, len(rows)), bool))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_as_many_detections_of_one_have_a_counterpart_as_of_the_other(seed1: int, seed2: int) -> None:
    rows1, rows2 = random_detections(seed1), random_detections(seed2, 20)
    first, second = differing(rows1, rows2)
    matched1, matched2 = rows1[~first & (rows1[:, 0] >= 0)], rows2[~second & (rows2[:, 0] >= 0)]
    np.testing.assert_array_equal(np.sort(matched1[:, 0]), np.sort(matched2[:, 0]))
