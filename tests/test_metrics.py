"""Average precision is pycocotools', an epoch's metrics are sums over its batches, the baselines what they claim."""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
from box_cases import random_boxes, random_labels

from ssd_common.anchors import multibox_prior
from ssd_common.metrics import EpochMeter, average_precision
from ssd_common.targets import multibox_target

NO_DETECTION, NO_OBJECT, PADDING = np.zeros((0, 6)), np.zeros((0, 5)), np.full((2, 5), -1.0)


def random_set(seed, num_images, num_classes=1, most_objects=4, ties=False):
    """Return detections and truths: objects found more or less well, twice, not at all, or as the wrong class."""
    rng = np.random.default_rng(seed)
    detections, truths = [], []
    for i in range(num_images):
        count = rng.integers(0, most_objects + 1)
        truth = random_labels([seed, i], 1, count, num_classes)[0]
        found = truth[rng.random(count) < 0.8].repeat(2, axis=0)
        found[:, 1:] += rng.normal(0, 0.03, (len(found), 4))
        invented = random_labels([seed, i, 1], 1, rng.integers(0, 4), num_classes)[0]
        rows = np.concatenate((found, invented))
        wrong = rng.random(len(rows)) < 0.1
        rows[wrong, 0] = rng.integers(0, num_classes, wrong.sum())
        scores = rng.integers(1, 5, len(rows)) / 5 if ties else rng.random(len(rows))
        detections.append(np.insert(rows, 1, scores, axis=1))
        truths.append(np.concatenate((truth, np.full((rng.integers(0, 3), 5), -1))))
    return detections, truths


def crowded_picture():
    """More than the 100 detections a picture that count, of one object."""
    boxes = np.concatenate((random_boxes(0, 150), [[0.2, 0.2, 0.6, 0.6]]))
    rows = np.column_stack((np.zeros(151), np.linspace(1, 0, 151), boxes))
    return [rows], [np.array([[0, 0.2, 0.2, 0.6, 0.6]])]


def perfect(truths):
    return [np.insert(truth[truth[:, 0] >= 0], 1, 0.9, axis=1) for truth in truths]


SETS = {
    "one picture": (*random_set(1, 1), 1),
    "twenty pictures": (*random_set(2, 20), 1),
    "a hundred pictures": (*random_set(3, 100), 1),
    "five classes": (*random_set(4, 40, num_classes=5, most_objects=10), 5),
    "a class without objects": (*random_set(5, 10, num_classes=2), 3),
    "tied scores": (*random_set(6, 30, num_classes=2, ties=True), 2),
    "a picture without detections": ([NO_DETECTION, *random_set(7, 5)[0]], [*random_set(7, 5)[1], NO_OBJECT], 1),
    "more detections than count": (*crowded_picture(), 1),
    "perfect": (perfect(random_set(8, 10)[1]), random_set(8, 10)[1], 1),
    "everything missed": ([np.array([[0, 0.9, 0.0, 0.0, 0.1, 0.1]])], [np.array([[0, 0.5, 0.5, 0.9, 0.9]])], 1),
}


def of_pycocotools(detections, truths, num_classes, size):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def box(corners):
        xmin, ymin, xmax, ymax = (size * np.asarray(corners)).tolist()
        return [xmin, ymin, xmax - xmin, ymax - ymin]

    annotations, results = [], []
    for i, (found, truth) in enumerate(zip(detections, truths, strict=True)):
        for class_id, *corners in truth[truth[:, 0] >= 0].tolist():
            x, y, width, height = box(corners)
            annotations.append({"image_id": i, "category_id": int(class_id), "bbox": [x, y, width, height]})
            annotations[-1] |= {"id": len(annotations), "area": width * height, "iscrowd": 0}
        for class_id, score, *corners in found.tolist():
            results.append({"image_id": i, "category_id": int(class_id), "bbox": box(corners), "score": score})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(len(truths))],
        "categories": [{"id": i} for i in range(num_classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("ap", "ap50", "ap75"), evaluation.stats[:3], strict=True))


@pytest.mark.parametrize("case", SETS.values(), ids=SETS)
@pytest.mark.parametrize("size", [256, 64])
def test_average_precision_is_that_of_pycocotools(case, size):
    ours, theirs = average_precision(*case, size), of_pycocotools(*case, size)
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=0, atol=1e-9)


def test_the_sets_are_neither_trivial_nor_alike():
    values = [average_precision(*case)["ap"] for case in SETS.values()]
    assert len(set(np.round(values, 6))) >= 8
    np.testing.assert_allclose(average_precision(*SETS["perfect"])["ap"], 1)
    np.testing.assert_allclose(average_precision(*SETS["everything missed"])["ap50"], 0)


def test_no_detection_at_all_has_average_precision_0():
    """There pycocotools raises an IndexError."""
    truths = SETS["one picture"][1] + [np.array([[0, 0.1, 0.1, 0.5, 0.5]])]
    detections = [NO_DETECTION] * len(truths)
    with pytest.raises(IndexError):
        of_pycocotools(detections, truths, 1, 256)
    assert average_precision(detections, truths, 1) == {"ap": 0.0, "ap50": 0.0, "ap75": 0.0}


@pytest.mark.parametrize("truths", [[NO_OBJECT], [PADDING], []], ids=["no object", "padding", "no picture"])
def test_average_precision_of_no_object_is_not_a_number(truths):
    detections = [np.array([[0, 0.9, 0.1, 0.1, 0.5, 0.5]])] * len(truths)
    np.testing.assert_equal(average_precision(detections, truths, 1), {"ap": np.nan, "ap50": np.nan, "ap75": np.nan})


def test_average_precision_takes_float32():
    detections, truths, num_classes = SETS["five classes"]
    single = [[array.astype("float32") for array in arrays] for arrays in (detections, truths)]
    expected = average_precision(detections, truths, num_classes)["ap"]
    np.testing.assert_allclose(average_precision(*single, num_classes)["ap"], expected, rtol=1e-3)


FIRST = {"examples": 4, "cls_loss": 8.0, "bbox_loss": 2.0, "correct": 30, "anchors": 40, "positives": 6}
FIRST |= {"abs_error": 12.0, "abs_offsets": 24.0, "offsets": 160}
SECOND = {"examples": 1, "cls_loss": 1.0, "bbox_loss": 4.0, "correct": 10, "anchors": 10, "positives": 4}
SECOND |= {"abs_error": 8.0, "abs_offsets": 16.0, "offsets": 40}


def test_an_epoch_s_metrics_are_sums_over_its_batches_whatever_their_size():
    meter = EpochMeter()
    meter.add(FIRST)
    meter.add({name: np.float32(value) for name, value in SECOND.items()})
    summary = meter.summary()
    assert np.isnan(summary.pop("examples_per_second"))
    expected = {
        "loss": 3.0,
        "cls_loss": 9 / 5,
        "bbox_loss": 6 / 5,
        "class_error": 10 / 50,
        "bbox_mae": 20 / 200,
        "baseline_class_error": 10 / 50,
        "baseline_bbox_mae": 40 / 200,
        "data_seconds": 0.0,
    }
    assert list(summary) == list(expected)
    np.testing.assert_allclose(list(summary.values()), list(expected.values()), rtol=1e-12)


def test_throughput_is_examples_over_the_sum_of_the_step_times(monkeypatch):
    """Waiting for the data takes 1 and 2 seconds, the steps take 3 and 7; what is read at the end takes 5 more."""
    ticks = iter([0, 1, 4, 4, 6, 13, 13, 20, 25])
    monkeypatch.setattr("ssd_common.metrics.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    meter, seen = EpochMeter(), []
    for batch in meter.time_data([FIRST, SECOND]):
        seen.append(batch)
        meter.add(batch)
    assert seen == [FIRST, SECOND]
    assert next(ticks, None) is None
    assert meter.summary()["data_seconds"] == 3
    np.testing.assert_allclose(meter.summary()["examples_per_second"], (4 + 1) / (3 + 7 + 5))


@pytest.mark.parametrize("num_objects", [0, 1, 6])
def test_the_baselines_are_all_background_and_zero_offsets(num_objects, backend):
    anchors = multibox_prior(np.zeros((5, 5)), [0.2, 0.4], [1, 2])
    offsets, masks, classes = multibox_target(anchors, random_labels(9, 3, num_objects, 2))
    logits = np.zeros((*classes.shape, 3))
    logits[..., 0] = 1
    case = [backend.data.to_device(array) for array in (logits, classes, np.zeros_like(offsets), offsets, masks)]
    meter = EpochMeter()
    meter.add(backend.evaluate.batch_metrics(*backend.losses.loss_terms(*case), *case))
    summary = meter.summary()
    assert (summary["class_error"] > 0) == (num_objects > 0)
    np.testing.assert_allclose(summary["baseline_class_error"], summary["class_error"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(summary["baseline_bbox_mae"], summary["bbox_mae"], rtol=1e-12)
