"""An epoch's metrics are sums over its batches, the baselines what they claim."""

from types import SimpleNamespace

import numpy as np
import pytest

from ssd_common.anchors import multibox_prior
from ssd_common.metrics import EpochMeter
from ssd_common.targets import multibox_target
from tests.reference.box_cases import random_labels

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


def test_an_epoch_that_goes_on_has_the_sums_of_one_that_was_not_stopped():
    rng = np.random.default_rng(0)
    steps = [{name: np.float32(rng.uniform(1, 2)) for name in FIRST} for _ in range(20)]
    whole = EpochMeter()
    for number, step in enumerate(steps):
        whole.add(step)
        if number == 4:
            first = EpochMeter()
            for earlier in steps[:5]:
                first.add(earlier)
            first.summary()  # reads them, in the middle of those that are read together
            rest = EpochMeter(first.sums, first.steps)
        if number > 4:
            rest.add(step)
    assert rest.steps == whole.steps == 20
    ours, theirs = rest.summary(), whole.summary()
    assert rest.sums == whole.sums
    assert all(ours[name] == theirs[name] for name in ours if name != "examples_per_second")


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
