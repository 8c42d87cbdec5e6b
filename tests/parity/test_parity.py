"""The ladder: every rung passes in float64 and float32, and an error planted in a backend fails where it should."""

import dataclasses

import numpy as np
import pytest

from ssd_common.backends import load_backend
from ssd_common.checkpoints.convert import load_weights
from ssd_common.config import BOOK, IMPROVED, STRAIGHT_DOPE, AnchorConfig
from ssd_common.data import load_dataset
from ssd_common.data.sampling import batches, epoch_order, in_order
from ssd_common.errors import InputError
from ssd_common.parity.ladder import LADDER, NUM_RUNGS, climb, parse_rungs
from ssd_common.parity.rungs import Subject, count_mismatches, max_difference
from ssd_common.weights import initial_weights

pytestmark = pytest.mark.backend("torch", "mxnet")
RUNGS = range(1, NUM_RUNGS + 1)


def make_subject(preset, dtype, steps):
    """Return what the ladder is climbed with: drawn pictures, and initial weights also in place of trained ones."""
    data = load_dataset("synthetic", limit=2 * steps)
    order = epoch_order(len(data), 2, preset.train.seed, 0)[:steps]
    first = list(batches(data, order, preset.model))
    weights = initial_weights(preset.model, preset.train)
    return Subject(preset, weights, first, dtype, trained=weights, pictures=first[:2])


def both_backends():
    return {name: load_backend(name) for name in ("torch", "mxnet")}


@pytest.fixture(scope="module")
def measured():
    """The rows of the book's ladder by dtype and name, climbed once."""
    rows = {}
    for dtype in ("float64", "float32"):
        subject = make_subject(BOOK, dtype, steps=20)
        rows |= {(dtype, row.name): row for row in climb(subject, both_backends())}
    return rows


@pytest.mark.parametrize("name", [rung.name for rung in LADDER])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_rung_passes(measured, dtype, name):
    row = measured[dtype, name]
    np.testing.assert_array_less(row.difference, np.nextafter(row.tolerance, np.inf), err_msg=str(row))
    assert row.passed, row


@pytest.mark.parametrize("name", [rung.name for rung in LADDER])
def test_both_backends_are_measured_on_every_rung(measured, name):
    assert measured["float32", name].errors["torch"] is not None
    assert measured["float32", name].errors["mxnet"] is not None
    assert measured["float64", name].difference is not None


def test_the_losses_of_all_steps_are_kept(measured):
    losses = measured["float64", "steps"].series
    assert sorted(losses) == ["mxnet", "torch"]
    np.testing.assert_equal(len(losses["torch"]), 20)
    np.testing.assert_allclose(losses["mxnet"], losses["torch"], rtol=1e-9)


def test_the_losses_of_the_straight_dope_pass_in_float64():
    for row in climb(make_subject(STRAIGHT_DOPE, "float64", 3), both_backends(), range(8, 12)):
        assert row.passed, row


def test_momentum_passes_in_float64():
    with_momentum = dataclasses.replace(BOOK, train=dataclasses.replace(BOOK.train, lr=0.02, momentum=0.9))
    (row,) = climb(make_subject(with_momentum, "float64", 3), both_backends(), range(11, 12))
    assert row.passed, row


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_a_learning_rate_that_changes_passes_with_momentum_in_float64(schedule):
    train = dataclasses.replace(BOOK.train, lr=0.02, momentum=0.9, schedule=schedule)
    small = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, image_size=64), train=train)
    for row in climb(make_subject(small, "float64", 8), both_backends(), range(10, 13)):
        assert row.passed, row


@pytest.mark.parametrize(("image_size", "dtype"), [(128, "float64"), (320, "float32")])
def test_the_improved_preset_passes_at_another_size_with_as_many_anchors_as_each_block_likes(image_size, dtype):
    anchors = AnchorConfig(((0.12,), *IMPROVED.model.anchors.sizes[1:]), (*IMPROVED.model.anchors.ratios[:4], (1.0,)))
    assert [anchors.per_unit(i) for i in range(5)] == [3, 4, 4, 4, 2]
    model = dataclasses.replace(IMPROVED.model, image_size=image_size, anchors=anchors)
    for row in climb(make_subject(dataclasses.replace(IMPROVED, model=model), dtype, 4), both_backends()):
        assert row.passed, row


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_real_pictures_and_published_weights_pass(dtype, data_dir):
    """Every rung; the last one with the weights that the Straight Dope published."""
    trained = load_weights(data_dir / "pretrained" / "ssd_pikachu-fbb7d872.params")
    preset = dataclasses.replace(BOOK, model=trained.model)
    data, val = (load_dataset("pikachu", split, data_dir=data_dir, limit=10) for split in ("train", "val"))
    first = list(batches(data, epoch_order(10, 2, 0, 0), preset.model))
    pictures = list(batches(val, in_order(10, 5), preset.model))
    weights = initial_weights(preset.model, preset.train)
    for row in climb(Subject(preset, weights, first, dtype, 0, trained.weights, pictures), both_backends()):
        assert row.passed, row


def test_the_published_weights_detect_the_same_in_all_validation_pictures(data_dir):
    trained = load_weights(data_dir / "pretrained" / "ssd_pikachu-fbb7d872.params")
    val = load_dataset("pikachu", "val", data_dir=data_dir)
    pictures = list(batches(val, in_order(len(val), 20), trained.model))
    np.testing.assert_equal(len(val), 100)
    subject = Subject(STRAIGHT_DOPE, trained.weights, [], "float32", trained=trained.weights, pictures=pictures)
    for row in climb(subject, both_backends(), [NUM_RUNGS]):
        assert row.passed, row


# Errors planted in a backend: each is what could go wrong there, and makes one rung fail by itself.


def wrap(monkeypatch, function, places, wrapper):
    """Replace a function in its own module and in those that imported it by name."""
    original = getattr(places[0], function)
    for module in places:
        monkeypatch.setattr(module, function, wrapper(original))


def shifted_anchors(monkeypatch, b):
    wrap(monkeypatch, "multibox_prior", [b.anchors, b.model], lambda f: lambda *a, **k: f(*a, **k) + 1e-6)


def changed_iou(monkeypatch, b):
    wrap(monkeypatch, "box_iou", [b.boxes, b.targets], lambda f: lambda *a: f(*a) * (1 - 1e-9))


def anchor_0_always_assigned(monkeypatch, b):
    def wrapper(function):
        def assign(*args, **kwargs):
            assigned = function(*args, **kwargs)
            assigned[..., 0] = 0
            return assigned

        return assign

    wrap(monkeypatch, "assign_anchor_to_bbox", [b.targets], wrapper)


def changed_eps_in_the_offsets(monkeypatch, b):
    wrap(monkeypatch, "offset_boxes", [b.boxes, b.targets], lambda f: lambda *a: f(*a, eps=1e-5))


def other_nms_threshold(monkeypatch, b):
    wrap(monkeypatch, "nms", [b.detection], lambda f: lambda x, s, t, **k: f(x, s, t - 0.1, **k))


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
    def wrapper(function):
        def loss_terms(*args):
            cls, bbox = function(*args)
            return cls, bbox * 1.001

        return loss_terms

    wrap(monkeypatch, "loss_terms", [b.train], wrapper)


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
        ([2], changed_iou),
        ([3], anchor_0_always_assigned),
        ([4], changed_eps_in_the_offsets),
        ([5], other_nms_threshold),
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
    small = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, image_size=64))
    subject, backends = make_subject(small, "float64", 3), both_backends()
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


def test_a_value_that_is_not_a_number_fails(monkeypatch):
    backends = both_backends()
    monkeypatch.setattr(backends["torch"].boxes, "box_iou", lambda a, b: a[0, 0] * np.nan + b)
    (row,) = climb(make_subject(BOOK, "float64", 1), backends, range(2, 3))
    assert not row.passed


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_that_is_not_a_number_is_seen_in_any_array(place):
    """`max` drops a NaN that does not come first."""
    arrays = [np.zeros(2), np.zeros(3), np.zeros(4)]
    broken = [array.copy() for array in arrays]
    broken[place][1] = np.nan
    assert np.isnan(max_difference(broken, arrays))


def test_a_training_that_diverges_fails_its_rungs_and_ends_in_rows(monkeypatch):
    def wrapper(function):
        def train_step(net, trainer, *args):
            metrics = function(net, trainer, *args)
            weights = backends["mxnet"].weights.get_weights(net)
            backends["mxnet"].weights.set_weights(net, {**weights, "cls_4.bias": weights["cls_4.bias"] * np.nan})
            return metrics

        return train_step

    small = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, image_size=64))
    backends = both_backends()
    wrap(monkeypatch, "train_step", [backends["mxnet"].train], wrapper)
    rows = list(climb(make_subject(small, "float64", 2), backends, range(10, 13)))
    assert [row.passed for row in rows] == [False, False, False]


def test_trained_weights_that_detect_nothing_prove_nothing():
    small = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, image_size=64))
    small = dataclasses.replace(small, predict=dataclasses.replace(small.predict, pos_threshold=1.0))
    rows = list(climb(make_subject(small, "float64", 1), both_backends(), [NUM_RUNGS]))
    assert not rows[0].passed


def test_arrays_of_different_shape_are_infinitely_far_apart():
    np.testing.assert_equal(max_difference(np.zeros(3), np.zeros(4)), np.inf)


def test_mismatches_are_counted():
    np.testing.assert_equal(count_mismatches([np.array([1, 2, 3]), np.array([4])], [np.array([1, 0, 0]), [4]]), 2)
    np.testing.assert_equal(count_mismatches(np.array([1, 2, 3]), np.array([1, 2])), 3)


@pytest.mark.parametrize(("text", "rungs"), [("3", range(3, 4)), ("7-11", range(7, 12)), ("1-1", range(1, 2))])
def test_rungs_are_named_by_number_or_span(text, rungs):
    assert parse_rungs(text) == rungs


@pytest.mark.parametrize("text", ["", "0", "14", "5-3", "a", "3-", "-3", "1-14", "1-2-3"])
def test_other_rungs_are_refused_in_one_line(text):
    with pytest.raises(InputError, match=f"^--rungs {text}: .*rung") as caught:
        parse_rungs(text)
    assert "\n" not in str(caught.value)


def test_the_ladder_is_numbered_from_the_bottom():
    assert sorted({rung.number for rung in LADDER}) == list(RUNGS)
    for rung in LADDER:
        assert all(lower < rung.number for lower in rung.stands_on), rung
