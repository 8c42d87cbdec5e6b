"""The ladder: every rung passes in float64 and float32."""

import dataclasses

import numpy as np
import pytest

from ssd_common.checkpoints.convert import load_weights
from ssd_common.config import BOOK, IMPROVED, STRAIGHT_DOPE, AnchorConfig
from ssd_common.data import load_dataset
from ssd_common.data.sampling import batches, epoch_order, in_order
from ssd_common.errors import InputError
from ssd_common.parity.ladder import LADDER, NUM_RUNGS, climb, parse_rungs
from ssd_common.parity.rungs import LazyBatches, Subject, count_mismatches, max_difference
from ssd_common.weights import initial_weights
from tests.parity.ladder_cases import SMALL, both_backends, make_subject

pytestmark = pytest.mark.backend("torch", "mxnet")
RUNGS = range(1, NUM_RUNGS + 1)


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
    preset = dataclasses.replace(BOOK, model=trained.config.model)
    data, val = (load_dataset("pikachu", split, data_dir=data_dir, limit=10) for split in ("train", "val"))
    first = list(batches(data, epoch_order(10, 2, 0, 0), preset.model))
    pictures = list(batches(val, in_order(10, 5), preset.model))
    weights = initial_weights(preset.model, preset.train)
    for row in climb(Subject(preset, weights, first, dtype, 0, trained.weights, pictures), both_backends()):
        assert row.passed, row


def test_the_published_weights_detect_the_same_in_all_validation_pictures(data_dir):
    trained = load_weights(data_dir / "pretrained" / "ssd_pikachu-fbb7d872.params")
    val = load_dataset("pikachu", "val", data_dir=data_dir)
    pictures = list(batches(val, in_order(len(val), 20), trained.config.model))
    np.testing.assert_equal(len(val), 100)
    subject = Subject(STRAIGHT_DOPE, trained.weights, [], "float32", trained=trained.weights, pictures=pictures)
    for row in climb(subject, both_backends(), [NUM_RUNGS]):
        assert row.passed, row


def test_a_value_that_is_not_a_number_fails(monkeypatch):
    backends = both_backends()
    right = backends["torch"].boxes.box_iou
    monkeypatch.setattr(backends["torch"].boxes, "box_iou", lambda a, b: right(a, b) * np.nan)
    (row,) = climb(make_subject(BOOK, "float64", 1), backends, range(2, 3))
    assert not row.passed


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_that_is_not_a_number_is_seen_in_any_array(place):
    """`max` drops a NaN that does not come first."""
    arrays = [np.zeros(2), np.zeros(3), np.zeros(4)]
    broken = [array.copy() for array in arrays]
    broken[place][1] = np.nan
    assert np.isnan(max_difference(broken, arrays))


def test_trained_weights_that_detect_nothing_prove_nothing():
    small = dataclasses.replace(SMALL, predict=dataclasses.replace(SMALL.predict, pos_threshold=1.0))
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


class Counted:
    """A dataset that counts how many images were decoded."""

    def __init__(self, data):
        self._data, self.decoded = data, 0
        self.name, self.class_names = data.name, data.class_names

    def __len__(self):
        return len(self._data)

    def __getitem__(self, i):
        self.decoded += 1
        return self._data[i]


@pytest.mark.parametrize(
    ("rungs", "of_training", "of_validation"),
    [([1, 5, 6], 0, 0), ([2, 3, 4], 2, 0), ([7, 8, 9, 10], 2, 0), ([12], 16, 0), ([11], 20, 0), ([13], 0, 4)],
)
def test_a_rung_decodes_the_images_that_it_needs_and_no_others(rungs, of_training, of_validation):
    data, val = Counted(load_dataset("synthetic", limit=20)), Counted(load_dataset("synthetic", "val", limit=4))
    weights = initial_weights(SMALL.model, SMALL.train)
    lazy = LazyBatches(data, epoch_order(20, 2, 0, 0), SMALL.model)
    pictures = LazyBatches(val, in_order(4, 2), SMALL.model)
    list(climb(Subject(SMALL, weights, lazy, trained=weights, pictures=pictures), both_backends(), rungs))
    assert (data.decoded, val.decoded) == (of_training, of_validation)


def test_held_to_avx2_the_two_against_each_other_are_judged_and_more_narrowly():
    """Whatever this machine has: the instructions themselves are chosen before a framework computes."""
    subject = make_subject(SMALL, "float32", 1)
    _, native = climb(subject, both_backends(), [7])  # inference, training
    _, held = climb(dataclasses.replace(subject, isa="avx2"), both_backends(), [7])
    assert held.tolerance < native.tolerance
    assert held.errors == native.errors
