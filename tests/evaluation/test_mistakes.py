"""Each wrong detection and each missed object is one mistake, of the right kind; the worst come first."""

import numpy as np
import pytest

from ssd_common.data.ground_truth import GroundTruth
from ssd_common.evaluation.average_precision import precision_recall
from ssd_common.evaluation.mistakes import KINDS, Mistake, count_mistakes, find_mistakes, worst_mistakes
from tests.evaluation.test_average_precision import RANDOM_SETS, random_set

CAT, DOG = 0, 1
BOX, ELSEWHERE = [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]
HALF_BESIDE = [0.3, 0.1, 0.7, 0.5]  # IoU with BOX 1/3
CLOSE = [0.1, 0.1, 0.5, 0.4]  # 3/4
CORNER = [0.45, 0.45, 0.6, 0.6]  # 0.014


def mistakes_in(detected, labels, ignored=()):
    """Return the mistakes in one image as (kind, score of the detection, class of the object, IoU)."""
    arrays = [
        np.array(rows, np.float64).reshape(-1, width) for rows, width in ((detected, 6), (labels, 5), (ignored, 5))
    ]
    found = find_mistakes(arrays[:1], [GroundTruth(arrays[1], (9, 9), arrays[2])])
    return [
        (
            m.kind,
            None if m.detection is None else m.detection[1],
            None if m.truth is None else m.truth[0],
            round(m.iou, 3),
        )
        for m in found
    ]


@pytest.mark.parametrize(
    ("detected", "labels", "expected"),
    [
        ([[CAT, 0.9, *CLOSE]], [[CAT, *BOX]], []),
        ([], [], []),
        ([[CAT, 0.9, *BOX]], [], [("false positive", 0.9, None, 0)]),
        ([[CAT, 0.9, *CORNER], [CAT, 0.8, *BOX]], [[CAT, *BOX]], [("false positive", 0.9, None, 0)]),
        ([[CAT, 0.9, *HALF_BESIDE], [DOG, 0.8, *BOX]], [[DOG, *BOX]], [("false positive", 0.9, None, 0)]),
        ([[CAT, 0.9, *CLOSE]], [[DOG, *BOX]], [("wrong class", 0.9, DOG, 0.75)]),
        ([[CAT, 0.9, *HALF_BESIDE]], [[CAT, *BOX]], [("badly placed", 0.9, CAT, 0.333)]),
        ([[CAT, 0.8, *BOX], [CAT, 0.9, *CLOSE]], [[CAT, *BOX]], [("duplicate", 0.8, CAT, 1)]),
        ([], [[DOG, *BOX]], [("missed", None, DOG, 0)]),
        ([[CAT, 0.4, *CLOSE]], [[CAT, *BOX]], [("missed", 0.4, CAT, 0.75)]),
        ([[CAT, 0.3, *BOX], [CAT, 0.4, *CLOSE]], [[CAT, *BOX]], [("missed", 0.4, CAT, 0.75)]),
        ([[DOG, 0.4, *CLOSE]], [[CAT, *BOX]], [("missed", None, CAT, 0)]),
        (
            [[CAT, 0.9, *ELSEWHERE]],
            [[CAT, *BOX]],
            [("false positive", 0.9, None, 0), ("missed", None, CAT, 0)],
        ),
    ],
)
def test_a_mistake_is_told_by_what_it_overlaps(detected, labels, expected):
    assert mistakes_in(detected, labels) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (BOX, []),
        (CLOSE, []),
        ([0.2, 0.2, 0.3, 0.3], []),  # one of a crowd: inside, however small
        (HALF_BESIDE, []),  # just half of it inside
        ([0.4, 0.4, 0.7, 0.7], [("false positive", 0.9, None, 0)]),
    ],
)
def test_a_detection_in_a_crowd_is_no_mistake_and_neither_is_a_crowd_that_nothing_found(box, expected):
    assert mistakes_in([[CAT, 0.9, *box]], [], [[CAT, *BOX]]) == expected
    assert mistakes_in([[DOG, 0.9, *box]], [], [[CAT, *BOX]]) == [("false positive", 0.9, None, 0)]
    assert mistakes_in([], [], [[CAT, *BOX]]) == []


def test_an_object_inside_of_a_crowd_is_still_found():
    inside = [CAT, 0.2, 0.2, 0.3, 0.3]
    assert mistakes_in([[CAT, 0.9, *inside[1:]]], [inside], [[CAT, *BOX]]) == []


@pytest.mark.parametrize("case", [case for name, case in RANDOM_SETS.items() if "'crowds': True" not in name][::5])
def test_the_mistakes_are_what_precision_and_recall_count(case):
    detections, truths, classes = case
    counts = count_mistakes(find_mistakes(detections, truths, score_threshold=0.5))
    curves = [precision_recall([rows[rows[:, 1] >= 0.5] for rows in detections], truths, c) for c in range(classes)]
    found = sum(int(curve.found[-1]) for curve in curves if curve.found.size)
    false = sum(len(curve.scores) for curve in curves) - found
    assert sum(counts.values()) - counts["missed"] == false
    not_found = sum(curve.num_objects for curve in curves) - found
    assert not_found - counts["wrong class"] - counts["badly placed"] <= counts["missed"] <= not_found


def test_mistakes_do_not_depend_on_the_order_of_the_detections():
    detections, truths, _ = random_set(3, classes=2)
    backwards = [rows[::-1] for rows in detections]
    for mistake, other in zip(find_mistakes(detections, truths), find_mistakes(backwards, truths), strict=True):
        assert mistake.kind == other.kind
        np.testing.assert_array_equal(mistake.detection, other.detection)


def test_the_worst_are_the_most_confident_and_the_largest():
    def wrong(kind, score):
        return Mistake(kind, 0, np.array([CAT, score, *BOX]), None, 0.0)

    def missed(side):
        return Mistake("missed", 0, None, np.array([CAT, 0, 0, side, side]), 0.0)

    mistakes = [missed(0.1), wrong("false positive", 0.6), missed(0.9), wrong("duplicate", 0.7), missed(0.5)]
    mistakes += [wrong("false positive", 0.9), wrong("false positive", 0.8)]
    worst = worst_mistakes(mistakes, per_kind=2)
    assert [mistake.kind for mistake in worst] == ["false positive"] * 2 + ["duplicate"] + ["missed"] * 2
    assert [mistake.detection[1] for mistake in worst[:3]] == [0.9, 0.8, 0.7]
    assert [mistake.truth[3] for mistake in worst[3:]] == [0.9, 0.5]
    assert count_mistakes(mistakes) == dict(zip(KINDS, (3, 0, 0, 1, 3), strict=True))
