"""An error planted in a backend fails the rung where it is, by each path, and no other by itself."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_common import greedy
from ssd_common.config import BOOK
from ssd_common.parity.ladder import LADDER, climb
from tests.parity.ladder_cases import SMALL, both_backends, make_subject

pytestmark = pytest.mark.backend("torch", "mxnet")


def wrap(monkeypatch, function, places, wrapper):
    """Replace a function in its own module and in those that imported it by name."""
    original = getattr(places[0], function)
    for module in places:
        monkeypatch.setattr(module, function, wrapper(original))


def shifted_anchors(monkeypatch, b):
    wrap(monkeypatch, "multibox_prior", [b.anchors, b.model], lambda f: lambda *a, **k: f(*a, **k) + 1e-6)


def change_iou(*ndims):
    """Return what plants an error in the overlaps of arguments with so many dimensions."""

    def plant(monkeypatch, b):
        def wrapper(function):
            return lambda a, b: function(a, b) * (1 - 1e-9 * ((a.ndim, b.ndim) == ndims))

        users = [module for module in (b.targets, b.detection) if getattr(module, "box_iou", None) is b.boxes.box_iou]
        wrap(monkeypatch, "box_iou", [b.boxes, *users], wrapper)

    return plant


def iou_in_training(monkeypatch, b):
    change_iou(3, 2)(monkeypatch, b)  # boxes of all images, anchors


def iou_in_suppression(monkeypatch, b):
    change_iou(2, 2)(monkeypatch, b)


def iou_of_anchors_and_boxes_of_all_images(monkeypatch, b):
    change_iou(2, 3)(monkeypatch, b)


def anchor_0_always_assigned(monkeypatch, b):
    def wrapper(function):
        def assign(*args, **kwargs):
            assigned = function(*args, **kwargs)
            assigned[..., 0] = 0
            return assigned

        return assign

    wrap(monkeypatch, "assign_anchor_to_bbox", [b.targets], wrapper)


def other_matching(monkeypatch, b):
    wrap(monkeypatch, "match", [b.targets], lambda f: lambda overlaps, threshold: f(overlaps, threshold - 0.1))


def other_matching_on_the_host(monkeypatch, b):
    wrap(monkeypatch, "match", [greedy], lambda f: lambda overlaps, threshold: f(overlaps, threshold - 0.1))


def other_suppression(monkeypatch, b):
    wrap(monkeypatch, "suppress", [b.detection], lambda f: lambda x, s, threshold, *a: f(x, s, threshold - 0.1, *a))


def other_suppression_on_the_host(monkeypatch, b):
    wrap(monkeypatch, "suppress", [greedy], lambda f: lambda x, s, threshold, *a: f(x, s, threshold - 0.1, *a))


def one_image_assigned_otherwise(monkeypatch, b):
    def wrapper(function):
        def assign(ground_truth, *args, **kwargs):
            assigned = function(ground_truth, *args, **kwargs)
            if ground_truth.ndim == 2:
                assigned[0] = 0
            return assigned

        return assign

    wrap(monkeypatch, "assign_anchor_to_bbox", [b.targets], wrapper)


def changed_class_label(monkeypatch, b):
    def wrapper(function):
        def multibox_target(*args):
            offsets, mask, class_labels = function(*args)
            class_labels[0, 0] = 1
            return offsets, mask, class_labels

        return multibox_target

    wrap(monkeypatch, "multibox_target", [b.targets], wrapper)


def changed_eps_in_the_offsets(monkeypatch, b):
    wrap(monkeypatch, "offset_boxes", [b.boxes, b.targets], lambda f: lambda *a: f(*a, eps=1e-5))


def other_nms_threshold(monkeypatch, b):
    wrap(monkeypatch, "nms", [b.detection], lambda f: lambda x, s, t, **k: f(x, s, t - 0.1, **k))


def classes_ignored_by_nms(monkeypatch, b):
    wrap(monkeypatch, "nms", [b.detection], lambda f: lambda *a, class_ids=None: f(*a))


def other_nms_threshold_in_detection(monkeypatch, b):
    def wrapper(function):
        return lambda probs, offsets, anchors, nms, *a, **k: function(probs, offsets, anchors, nms - 0.1, *a, **k)

    wrap(monkeypatch, "multibox_detection", [b.detection], wrapper)


def classes_ignored_in_detection(monkeypatch, b):
    def wrapper(function):
        return lambda *args, **kwargs: function(*args, **{**kwargs, "class_aware": False})

    wrap(monkeypatch, "multibox_detection", [b.detection], wrapper)


def every_box_competes(monkeypatch, b):
    wrap(monkeypatch, "multibox_detection", [b.detection], lambda f: lambda *a, **k: f(*a, **{**k, "top_k": None}))


def detections_not_clipped(monkeypatch, b):
    wrap(monkeypatch, "multibox_detection", [b.detection], lambda f: lambda *a, **k: f(*a, **{**k, "clip": False}))


def changed_eps_in_batch_normalisation(monkeypatch, b):
    layer, eps = ("BatchNorm2d", "eps") if b.name == "torch" else ("BatchNorm", "epsilon")
    wrap(monkeypatch, layer, [b.model.nn], lambda f: lambda *a, **k: f(*a, **{**k, eps: 1e-3}))


def transposed_weight(monkeypatch, b):
    def wrapper(function):
        def set_weights(net, weights):
            name = "blk_1.3.weight"
            function(net, {**weights, name: weights[name].transpose(1, 0, 2, 3)})

        return set_weights

    wrap(monkeypatch, "set_weights", [b.weights], wrapper)


def loss_that_is_a_sum(monkeypatch, b):
    wrap(monkeypatch, "calc_loss", [b.losses], lambda f: lambda cls, *a: f(cls, *a) * cls.shape[1])


def other_weight_of_the_offset_loss(monkeypatch, b):
    def terms(*args):
        cls, bbox = b.losses.loss_terms(*args)
        return cls, bbox * 1.001

    wrap(monkeypatch, "forward_backward", [b.train], lambda f: lambda *args: f(*args[:4], terms))


def no_weight_decay(monkeypatch, b):
    def wrapper(function):
        return lambda net, config: function(net, dataclasses.replace(config, weight_decay=0.0))

    wrap(monkeypatch, "make_trainer", [b.train], wrapper)


def skipped_batch(monkeypatch, b):
    def wrapper(function):
        counts = {}

        def train_step(net, trainer, *args):
            counts[id(net)] = counts.get(id(net), 0) + 1
            if counts[id(net)] == 2:
                return b.train.forward_backward(net, *args)
            return function(net, trainer, *args)

        return train_step

    wrap(monkeypatch, "train_step", [b.train], wrapper)


def momentum_lost_in_the_weights_file(monkeypatch, b):
    wrap(monkeypatch, "set_velocity", [b.weights], lambda f: lambda *a: None)


def velocity_not_rescaled(monkeypatch, b):
    def wrapper(function):
        def set_learning_rate(trainer, lr):
            if b.name == "torch":  # as if it kept `lr * v`, which is what MXNet does
                for state in trainer.state.values():
                    state["momentum_buffer"] *= trainer.param_groups[0]["lr"] / lr
                function(trainer, lr)
            else:
                trainer.set_learning_rate(lr)

        return set_learning_rate

    wrap(monkeypatch, "set_learning_rate", [b.train], wrapper)


def scaled_detections(monkeypatch, b):
    wrap(monkeypatch, "multibox_detection", [b.predict], lambda f: lambda *a, **k: f(*a, **k) * 1.01)


@pytest.mark.parametrize(
    ("rungs", "plant"),
    [
        ([1], shifted_anchors),
        ([2], iou_in_training),
        ([2], iou_in_suppression),
        ([2], iou_of_anchors_and_boxes_of_all_images),
        ([3], anchor_0_always_assigned),
        ([3], other_matching),
        ([3], one_image_assigned_otherwise),
        ([3], changed_class_label),
        ([4], changed_eps_in_the_offsets),
        ([5], other_suppression),
        ([5], other_nms_threshold),
        ([5], classes_ignored_by_nms),
        ([5], other_nms_threshold_in_detection),
        ([5], classes_ignored_in_detection),
        ([5], every_box_competes),
        ([6], detections_not_clipped),
        ([7], changed_eps_in_batch_normalisation),
        ([7], transposed_weight),
        ([8], loss_that_is_a_sum),
        ([9], other_weight_of_the_offset_loss),
        ([10], no_weight_decay),
        ([11], skipped_batch),
        ([12], momentum_lost_in_the_weights_file),
        ([13], scaled_detections),
    ],
)
@pytest.mark.parametrize("name", ["torch", "mxnet"])
def test_a_planted_error_fails_its_rung_and_no_other_by_itself(monkeypatch, name, rungs, plant):
    fails_where_it_is(monkeypatch, name, rungs, plant)


@pytest.mark.parametrize(("rungs", "plant"), [([3], other_matching_on_the_host), ([5], other_suppression_on_the_host)])
def test_an_error_planted_on_the_host_fails_there_too(monkeypatch, rungs, plant):
    """MXNet leaves matching and suppression to the host."""
    fails_where_it_is(monkeypatch, "mxnet", rungs, plant)


def fails_where_it_is(monkeypatch, name, rungs, plant):
    subject, backends = make_subject(SMALL, "float64", 3), both_backends()
    plant(monkeypatch, backends[name])
    rows = list(climb(subject, backends))
    failed = [row for row in rows if not row.passed]
    assert sorted({row.rung for row in failed if not row.caused_by}) == rungs, failed
    for row in failed:  # whatever else failed says why
        assert row.caused_by in ((), tuple(rungs)), row


@pytest.mark.parametrize("name", ["torch", "mxnet"])
def test_velocities_that_keep_their_old_learning_rate_fail(monkeypatch, name):
    train = dataclasses.replace(BOOK.train, lr=0.02, momentum=0.9, schedule="one-cycle")
    small = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, image_size=64), train=train)
    subject, backends = make_subject(small, "float64", 3), both_backends()
    velocity_not_rescaled(monkeypatch, backends[name])
    (row,) = climb(subject, backends, [11])
    assert not row.passed


def test_a_training_that_diverges_fails_its_rungs_and_ends_in_rows(monkeypatch):
    def wrapper(function):
        def train_step(net, trainer, *args):
            metrics = function(net, trainer, *args)
            weights = backends["mxnet"].weights.get_weights(net)
            backends["mxnet"].weights.set_weights(net, {**weights, "cls_4.bias": weights["cls_4.bias"] * np.nan})
            return metrics

        return train_step

    backends = both_backends()
    wrap(monkeypatch, "train_step", [backends["mxnet"].train], wrapper)
    rows = list(climb(make_subject(SMALL, "float64", 2), backends, range(10, 13)))
    assert [row.passed for row in rows] == [False, False, False]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 8, 13])
def test_no_backend_calls_a_function_that_its_reference_calls(number):
    """Of the modules in `ssd_common` itself: a mistake there would be on both sides of the comparison."""
    calls = {True: set(), False: set()}  # by whether a backend made the call

    def profile(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.parent.name == "ssd_common":
            caller = frame.f_back
            while caller and Path(caller.f_code.co_filename).parent.name not in ("ssd_torch", "ssd_mxnet"):
                caller = caller.f_back
            calls[caller is not None].add((path.name, frame.f_code.co_name))

    subject, backends = make_subject(SMALL, "float64", 1), both_backends()
    (measure,) = {rung.measure for rung in LADDER if rung.number == number}
    sys.setprofile(profile)
    try:
        measure(subject, backends)
    finally:
        sys.setprofile(None)
    assert calls[False]
    assert calls[False] & calls[True] == set()
