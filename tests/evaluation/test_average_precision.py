"""Average precision is pycocotools' where COCO defined it, and what the VOC paper says where VOC did."""

import contextlib
import io
from fractions import Fraction

import numpy as np
import pytest

from ssd_common.data.ground_truth import GroundTruth
from ssd_common.evaluation.average_precision import (
    FALSE,
    IGNORED,
    PrecisionRecall,
    best_precision,
    coco_average_precision,
    match_objects,
    mean_over_classes,
    precision_recall,
    voc07_average_precision,
    voc12_average_precision,
    voc_average_precision,
)
from tests.reference.box_cases import random_boxes

COCO_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
NO_DETECTION, NO_OBJECT = np.zeros((0, 6)), np.zeros((0, 5))


def random_set(seed, *, pictures=12, classes=1, most=5, crowds=False, ties=False, missed=0.2):
    """Return detections, truths and classes: objects found more or less well, twice, not at all, or as another class.

    Objects lie on whole pixels of images of any size, so that some have the very area that divides COCO's sizes.
    """
    rng = np.random.default_rng(seed)
    detections, truths = [], []
    for _ in range(pictures):
        scale = np.array([rng.integers(110, 700), rng.integers(110, 500)] * 2)  # width, height, width, height
        count = rng.integers(0, most + 1)
        sides = rng.choice([20, 25, 32, 32, 50, 96, 96, 107], (count, 2))
        corner = (rng.random((count, 2)) * (scale[:2] - sides)).astype(int)
        boxes = np.hstack((corner, corner + sides)) / scale
        objects = np.column_stack((rng.integers(0, classes, count), boxes)).astype(np.float32)
        found = objects[rng.random(count) >= missed].repeat(2, axis=0).astype(np.float64)
        found[:, 1:] += rng.normal(0, 2.5, (len(found), 4)) / scale
        invented = np.column_stack((rng.integers(0, classes, 4), random_boxes(rng.integers(1 << 30), 4)))
        rows = np.concatenate((found, invented))
        wrong = rng.random(len(rows)) < 0.1
        rows[wrong, 0] = rng.integers(0, classes, wrong.sum())
        scores = rng.integers(1, 5, len(rows)) / 5 if ties else rng.random(len(rows))
        detections.append(np.insert(rows, 1, scores, axis=1))
        is_ignored = rng.random(count) < (0.3 if crowds else 0)
        truths.append(GroundTruth(objects[~is_ignored], (scale[1], scale[0]), objects[is_ignored]))
    return detections, truths, classes


def crowded_picture():
    """More detections of each of two classes than the 100 that COCO counts, the good ones last."""
    boxes = np.concatenate((np.tile([0.7, 0.7, 0.9, 0.9], (200, 1)), np.tile([0.2, 0.2, 0.6, 0.6], (60, 1))))
    rows = np.column_stack((np.arange(260) % 2, np.linspace(1, 0, 260), boxes))
    return [rows], [GroundTruth(np.array([[0, 0.2, 0.2, 0.6, 0.6], [1, 0.2, 0.2, 0.6, 0.6]]), (300, 200))], 2


def hundred_objects(found):
    """Exactly 100 objects of which so many are found: every recall of COCO's 101 is met, except for rounding."""
    labels = np.zeros((100, 5))
    labels[:, 1:] = np.array([0.2, 0.2, 0.6, 0.6])
    detections = [np.insert(row[None], 1, 1 - i / 1000, axis=1) for i, row in enumerate(labels)]
    detections[found:] = [NO_DETECTION] * (100 - found)
    detections[::3] = [rows + np.array([0, 0.001, 0.4, 0.4, 0.4, 0.4]) for rows in detections[::3]]  # false
    return detections, [GroundTruth(row[None], (64, 64)) for row in labels], 1


def perfect(truths, classes):
    return [np.insert(truth.labels, 1, 0.9, axis=1) for truth in truths], truths, classes


RANDOM_SETS = {
    f"{seed}: {options}": random_set(seed, **options)
    for seed, options in enumerate(
        [
            *[{"crowds": seed % 2 == 1} for seed in range(10)],
            *[{"classes": 3, "most": 10, "crowds": seed % 2 == 1} for seed in range(20)],
            *[{"classes": 2, "ties": True, "crowds": seed % 2 == 1} for seed in range(10)],
            *[{"pictures": 60, "classes": 5, "crowds": True, "missed": 0.6} for _ in range(10)],
            *[{"pictures": 1, "most": 2} for _ in range(10)],
        ]
    )
}
CHOSEN_SETS = {
    "a class without objects": (*random_set(5, classes=2)[:2], 3),
    "an image without detections": ([NO_DETECTION, *random_set(7)[0][1:]], *random_set(7)[1:]),
    "more detections than count": crowded_picture(),
    "perfect": perfect(*random_set(8, classes=2)[1:]),
    "everything missed": ([np.array([[0, 0.9, 0, 0, 0.1, 0.1]])], [GroundTruth(np.full((1, 5), 0.5), (99, 99))], 1),
    "only a crowd": (
        [np.array([[0, 0.9, 0.1, 0.1, 0.3, 0.3]])],
        [GroundTruth(NO_OBJECT, (99, 99), np.array([[0, 0, 0, 0.5, 0.5]]))],
        1,
    ),
    **{f"a hundred objects, {found} found": hundred_objects(found) for found in (100, 58, 29)},
}


def pycocotools_evaluation(detections, truths, classes, change=lambda params: None):
    """Return the evaluation that pycocotools has done, with its parameters changed first."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def box(corners, size):
        (xmin, ymin), (xmax, ymax) = np.reshape(corners, (2, 2)) * size[::-1]
        return [xmin, ymin, xmax - xmin, ymax - ymin]

    annotations, results = [], []
    for i, (found, truth) in enumerate(zip(detections, truths, strict=True)):
        for iscrowd, rows in ((0, truth.labels), (1, truth.ignored)):
            for class_id, *corners in rows.tolist():
                on_pixels = np.round(box(corners, truth.size), 2).tolist()  # as a file of annotations has it
                annotations.append({"image_id": i, "category_id": int(class_id), "bbox": on_pixels})
                area = on_pixels[2] * on_pixels[3]
                annotations[-1] |= {"id": len(annotations), "area": area, "iscrowd": iscrowd}
        for class_id, score, *corners in found.tolist():
            position = box(corners, truth.size)
            results.append({"image_id": i, "category_id": int(class_id), "bbox": position, "score": score})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(len(truths))],
        "categories": [{"id": i} for i in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        change(evaluation.params)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def of_pycocotools(*case):
    """Return its six average precisions over all classes, and those of each `(6, classes)`; NaN where it has -1."""
    evaluation = pycocotools_evaluation(*case)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    precision = evaluation.eval["precision"][..., -1]  # (thresholds, recalls, classes, sizes), of 100 detections
    per_class = np.stack([precision[..., 0], *[precision[[i], ..., 0].repeat(10, 0) for i in (0, 5)]])
    per_class = np.concatenate((per_class, np.moveaxis(precision[..., 1:], -1, 0))).mean(axis=(1, 2))
    return [np.where(np.less(values, 0), np.nan, values) for values in (evaluation.stats[:6], per_class)]


# COCO


@pytest.mark.parametrize("case", [*RANDOM_SETS.values(), *CHOSEN_SETS.values()], ids=[*RANDOM_SETS, *CHOSEN_SETS])
def test_coco_s_average_precision_is_that_of_pycocotools(case):
    ours = coco_average_precision(*case)
    overall, per_class = of_pycocotools(*case)
    assert tuple(ours) == COCO_NAMES
    np.testing.assert_allclose(list(ours.values()), per_class, rtol=0, atol=1e-9)
    np.testing.assert_allclose(list(mean_over_classes(ours).values()), overall, rtol=0, atol=1e-9)


def test_the_sets_are_neither_trivial_nor_alike():
    assert len(RANDOM_SETS) >= 50
    values = np.array(
        [list(mean_over_classes(coco_average_precision(*case)).values()) for case in RANDOM_SETS.values()]
    )
    assert len(set(np.round(values[:, 0], 6))) >= 50
    assert (np.nanmax(values, axis=0) > np.nanmin(values, axis=0) + 0.2).all()
    borders = [
        np.isclose(area, [32**2, 96**2], rtol=1e-6).any()
        for _, truths, _ in RANDOM_SETS.values()
        for truth in truths
        for area in np.prod((truth.labels[:, 3:] - truth.labels[:, 1:3]) * truth.size[::-1], axis=1)
    ]
    assert np.sum(borders) > 50
    assert sum(len(truth.ignored) for _, truths, _ in RANDOM_SETS.values() for truth in truths) > 50


def test_what_coco_does_not_count_is_what_the_table_says():
    """Of the best 100 detections of each class none is good; without that limit VOC finds both objects."""
    case = crowded_picture()
    np.testing.assert_array_equal(coco_average_precision(*case)["ap50"], [0, 0])
    assert (voc_average_precision(*case)["voc12"] > 0).all()


def test_no_detection_at_all_has_average_precision_0():
    """There pycocotools raises an IndexError."""
    _, truths, classes = random_set(1, classes=2)
    detections = [NO_DETECTION] * len(truths)
    with pytest.raises(IndexError):
        of_pycocotools(detections, truths, classes)
    for values in coco_average_precision(detections, truths, classes).values():
        np.testing.assert_array_equal(values, [0, 0])
    for values in voc_average_precision(detections, truths, classes).values():
        np.testing.assert_array_equal(values, [0, 0])


@pytest.mark.parametrize("truths", [[GroundTruth(NO_OBJECT, (9, 9))], []], ids=["no object", "no image"])
@pytest.mark.parametrize("average_precision", [coco_average_precision, voc_average_precision])
def test_average_precision_of_no_object_is_not_a_number(average_precision, truths):
    detections = [np.array([[0, 0.9, 0.1, 0.1, 0.5, 0.5]])] * len(truths)
    per_class = average_precision(detections, truths, 2)
    np.testing.assert_array_equal(list(per_class.values()), np.full((len(per_class), 2), np.nan))
    assert np.isnan(list(mean_over_classes(per_class).values())).all()


@pytest.mark.parametrize("box", [(0.8, 0.8, 1, 1), (-1e4, -1e4, 1e4, 1e4), (-np.inf, 0, np.inf, 1), (0, 0, 1, np.inf)])
def test_a_mistake_is_one_however_large_it_is(box):
    """COCO's sizes end at 1e10 pixels, beyond which a detection would not count."""
    rows = np.array([[0, 0.9, *box], [0, 0.8, 0.2, 0.2, 0.6, 0.6]])
    found = coco_average_precision([rows], [GroundTruth(np.array([[0, 0.2, 0.2, 0.6, 0.6]]), (300, 200))], 1)
    np.testing.assert_allclose(found["ap50"], 0.5)


def test_small_medium_and_large_are_those_of_the_original_picture():
    """Half of the width and height: 32 pixels of an image of 64, 128 of one of 256; on the border it is both."""
    rows = np.array([[0, 0.25, 0.25, 0.75, 0.75]])
    for side, sizes in ((60, [1, 0, 0]), (64, [1, 1, 0]), (68, [0, 1, 0]), (192, [0, 1, 1]), (256, [0, 0, 1])):
        found = coco_average_precision(*perfect([GroundTruth(rows, (side, side))], 1))
        has = [not np.isnan(found[name][0]) for name in ("ap_small", "ap_medium", "ap_large")]
        np.testing.assert_array_equal(has, sizes, err_msg=f"{side}")


# VOC


def by_definition(detections, truths, class_id):
    """Return VOC07's and VOC12's average precision by counting, one detection at a time, with exact fractions."""

    def overlap(a, b):
        across = min(a[2], b[2]) - max(a[0], b[0])
        down = min(a[3], b[3]) - max(a[1], b[1])
        if across <= 0 or down <= 0:
            return 0.0
        return across * down / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down)

    queue = [
        (score, picture, box)
        for picture, rows in enumerate(detections)
        for c, score, *box in rows.tolist()
        if c == class_id
    ]
    queue.sort(key=lambda entry: -entry[0])
    objects = {
        picture: [("easy", box) for c, *box in truth.labels.tolist() if c == class_id]
        + [("difficult", box) for c, *box in truth.ignored.tolist() if c == class_id]
        for picture, truth in enumerate(truths)
    }
    total = sum(kind == "easy" for entries in objects.values() for kind, _ in entries)
    taken, right, wrong, points = set(), 0, 0, []
    for _, picture, box in queue:
        best, which = 0.0, None
        for number, (_, other) in enumerate(objects[picture]):
            if overlap(box, other) > best:
                best, which = overlap(box, other), number
        if best >= 0.5 and objects[picture][which][0] == "difficult":
            continue
        if best >= 0.5 and (picture, which) not in taken:
            taken.add((picture, which))
            right += 1
        else:
            wrong += 1
        points.append((Fraction(right, total), Fraction(right, right + wrong)))

    def best_from(recall):
        return max((precision for reached, precision in points if reached >= recall), default=0)

    voc07 = sum(best_from(Fraction(level, 10)) for level in range(11)) / Fraction(11)
    voc12 = sum(best_from(Fraction(count + 1, total)) for count in range(total)) / Fraction(total)
    return float(voc07), float(voc12)


@pytest.mark.parametrize("case", RANDOM_SETS.values(), ids=RANDOM_SETS)
def test_voc_s_average_precisions_are_those_of_the_definition(case):
    detections, truths, classes = case
    ours = voc_average_precision(*case)
    for class_id in range(classes):
        if not any((truth.labels[:, 0] == class_id).any() for truth in truths):
            assert np.isnan([ours["voc07"][class_id], ours["voc12"][class_id]]).all()
            continue
        expected = by_definition(detections, truths, class_id)
        np.testing.assert_allclose([ours["voc07"][class_id], ours["voc12"][class_id]], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_voc_s_average_precisions_are_those_of_pycocotools_asked_for_voc_s_recalls(seed):
    """Where no two objects overlap, a detection can take one object only, and the two ways to match are one."""
    detections, truths, _ = random_set(seed, pictures=30, most=1)
    num_objects = sum(len(truth.labels) for truth in truths)
    for name, recalls in (("voc07", np.arange(11) / 10), ("voc12", np.arange(1, num_objects + 1) / num_objects)):

        def ask(params, recalls=recalls):
            params.iouThrs, params.recThrs, params.maxDets = np.array([0.5]), recalls, [10**6]

        expected = pycocotools_evaluation(detections, truths, 1, ask).eval["precision"][0, :, 0, 0, 0].mean()
        np.testing.assert_allclose(voc_average_precision(detections, truths, 1)[name], expected, rtol=0, atol=1e-9)


def curve_of(outcomes, num_objects):
    """Return the curve of detections that are right (1) or wrong (0), the highest score first."""
    return PrecisionRecall(np.linspace(1, 0, len(outcomes)), np.cumsum(outcomes), num_objects)


@pytest.mark.parametrize(
    ("outcomes", "num_objects", "voc07", "voc12"),
    [
        ([1], 1, 1, 1),
        ([0], 1, 0, 0),
        ([], 4, 0, 0),
        ([0, 1], 1, 1 / 2, 1 / 2),
        # Precision 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3: 1 at 0 to 0.3, 2/3 at 0.4 to 0.6, nothing from 0.7 on.
        ([1, 0, 1], 3, (4 + 3 * 2 / 3) / 11, 1 / 3 + 1 / 3 * 2 / 3),
        # Precision 1/2 at recall 1/2, then 3/4 at 3/2: the dip does not count.
        ([0, 1, 1, 1], 3, 3 / 4, 3 / 4),
    ],
)
def test_average_precision_as_computed_by_hand(outcomes, num_objects, voc07, voc12):
    curve = curve_of(outcomes, num_objects)
    np.testing.assert_allclose(voc07_average_precision(curve), voc07, rtol=1e-12)
    np.testing.assert_allclose(voc12_average_precision(curve), voc12, rtol=1e-12)


@pytest.mark.parametrize("found", range(11))
def test_a_recall_of_three_tenths_is_reached_by_three_of_ten_objects(found):
    """In floating point 3 / 10 < 3 * 0.1, and so with 7."""
    assert 3 / 10 < 3 * 0.1
    assert 7 / 10 < 7 * 0.1
    levels = found + 1 if found else 0
    np.testing.assert_allclose(voc07_average_precision(curve_of([1] * found, 10)), levels / 11, rtol=1e-12)


LEFT, RIGHT = [0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]
BETTER, WORSE = [0.0, 0.0, 0.4, 0.39], [0.0, 0.0, 0.4, 0.3]


@pytest.mark.parametrize(
    ("boxes", "objects", "ignored", "expected"),
    [
        ([LEFT], [LEFT], [], [0]),
        ([LEFT], [RIGHT, LEFT], [], [1]),
        ([WORSE, BETTER], [LEFT], [], [0, FALSE]),  # the first takes it, however well the second lies
        ([LEFT], [], [], [FALSE]),
        ([LEFT], [RIGHT], [], [FALSE]),
        ([WORSE, BETTER, RIGHT], [RIGHT], [LEFT], [IGNORED, IGNORED, 0]),
        ([LEFT], [LEFT], [LEFT], [0]),
        ([BETTER, BETTER], [BETTER], [LEFT], [0, FALSE]),  # the nearest is taken: it does not turn to another
    ],
)
def test_a_detection_takes_the_object_that_it_overlaps_most_if_nobody_has(boxes, objects, ignored, expected):
    arrays = [np.array(rows, np.float64).reshape(-1, 4) for rows in (boxes, objects, ignored)]
    np.testing.assert_array_equal(match_objects(*arrays), expected)


def test_an_overlap_of_just_the_threshold_is_enough():
    objects, half = np.array([[0.0, 0.0, 0.5, 0.5]]), np.array([[0.0, 0.0, 0.25, 0.5]])
    np.testing.assert_array_equal(match_objects(half, objects, np.zeros((0, 4))), [0])
    np.testing.assert_array_equal(match_objects(half, objects, np.zeros((0, 4)), 0.51), [FALSE])


def test_the_curve_goes_down_the_scores_of_all_pictures_and_leaves_out_what_is_ignored():
    truths = [
        GroundTruth(np.array([[0, *LEFT], [1, *RIGHT]]), (9, 9)),
        GroundTruth(np.array([[0, *LEFT]]), (9, 9), np.array([[0, *RIGHT]])),
    ]
    detections = [
        np.array([[0, 0.5, *RIGHT], [1, 0.99, *RIGHT], [0, 0.9, *LEFT]]),
        np.array([[0, 0.95, *RIGHT], [0, 0.4, *LEFT]]),
    ]
    curve = precision_recall(detections, truths, 0)
    np.testing.assert_array_equal(curve.scores, [0.9, 0.5, 0.4])
    np.testing.assert_array_equal(curve.recall, [1 / 2, 1 / 2, 1])
    np.testing.assert_array_equal(curve.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_array_equal(best_precision(curve), [1, 2 / 3, 2 / 3])


def test_the_mean_is_over_the_classes_that_have_objects():
    means = mean_over_classes({"ap": np.array([0.25, np.nan, 0.5]), "ap_small": np.array([np.nan] * 3)})
    np.testing.assert_equal(means, {"ap": 0.375, "ap_small": np.nan})
