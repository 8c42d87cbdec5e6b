"""The ladder: every rung passes in float64 and float32, and an error planted in a backend fails where it should."""

import dataclasses
import itertools

import numpy as np
import pytest

from ssd_common.backends import load_backend
from ssd_common.config import BOOK, STRAIGHT_DOPE
from ssd_common.data import load_dataset
from ssd_common.data.sampling import batches, epoch_order
from ssd_common.errors import InputError
from ssd_common.parity import LADDER, Subject, climb, count_mismatches, max_difference, parse_rungs
from ssd_common.weights import initial_weights

pytestmark = pytest.mark.backend("torch", "mxnet")
RUNGS = [rung.number for rung in LADDER]
STEPS = 20


def make_subject(preset, dtype, steps):
    data = load_dataset("synthetic", limit=2 * steps)
    order = epoch_order(len(data), 2, preset.train.seed, 0)[:steps]
    first = list(batches(data, order, preset.model))
    return Subject(preset, initial_weights(preset.model, preset.train), first, dtype)


def both_backends():
    return {name: load_backend(name) for name in ("torch", "mxnet")}


@pytest.fixture(scope="module")
def measured():
    """The rows of the book's ladder by dtype and rung, climbed once."""
    rows = {}
    for dtype in ("float64", "float32"):
        subject = make_subject(BOOK, dtype, STEPS)
        rows |= {(dtype, row.rung): row for row in climb(subject, both_backends())}
    return rows


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_rung_passes(measured, dtype, rung):
    row = measured[dtype, rung]
    np.testing.assert_array_less(row.difference, np.nextafter(row.tolerance, np.inf), err_msg=str(row))
    assert row.passed, row


@pytest.mark.parametrize("rung", RUNGS)
def test_both_backends_are_measured_on_every_rung(measured, rung):
    assert measured["float32", rung].errors["torch"] is not None
    assert measured["float32", rung].errors["mxnet"] is not None
    assert measured["float64", rung].difference is not None


def test_the_losses_of_the_straight_dope_pass_in_float64():
    for row in climb(make_subject(STRAIGHT_DOPE, "float64", 3), both_backends(), range(8, 12)):
        assert row.passed, row


def test_momentum_passes_in_float64():
    with_momentum = dataclasses.replace(BOOK, train=dataclasses.replace(BOOK.train, lr=0.02, momentum=0.9))
    (row,) = climb(make_subject(with_momentum, "float64", 3), both_backends(), range(11, 12))
    assert row.passed, row


def test_the_real_pictures_pass_in_float64(data_dir):
    preset = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, class_names=("pikachu",)))
    data = load_dataset("pikachu", data_dir=data_dir, limit=6)
    first = list(batches(data, epoch_order(6, 2, 0, 0), preset.model))
    subject = Subject(preset, initial_weights(preset.model, preset.train), first, "float64")
    for row in climb(subject, both_backends()):
        assert row.passed, row


def shifted(function):
    return lambda *args, **kwargs: function(*args, **kwargs) + 1e-9


def off_by_one(function):
    def assign(*args, **kwargs):
        assigned = function(*args, **kwargs)
        assigned[..., 0] = 0
        return assigned

    return assign


@pytest.mark.parametrize(
    ("rung", "module", "function", "error"),
    [
        (1, "anchors", "multibox_prior", shifted),
        (2, "boxes", "box_iou", shifted),
        (3, "targets", "assign_anchor_to_bbox", off_by_one),
        (4, "boxes", "offset_inverse", shifted),
        (5, "detection", "nms", lambda function: lambda *args, **kwargs: function(*args, **kwargs)[:-1]),
        (6, "detection", "multibox_detection", shifted),
        (8, "losses", "calc_loss", shifted),
    ],
)
@pytest.mark.parametrize("name", ["torch", "mxnet"])
def test_an_error_planted_in_a_backend_fails_its_rung(monkeypatch, name, rung, module, function, error):
    backends = both_backends()
    owner = getattr(backends[name], module)
    monkeypatch.setattr(owner, function, error(getattr(owner, function)))
    (row,) = climb(make_subject(BOOK, "float64", 1), backends, range(rung, rung + 1))
    assert not row.passed
    assert row.difference > row.tolerance


def test_a_value_that_is_not_a_number_fails(monkeypatch):
    backends = both_backends()
    monkeypatch.setattr(backends["torch"].boxes, "box_iou", lambda a, b: a[0, 0] * np.nan + b)
    (row,) = climb(make_subject(BOOK, "float64", 1), backends, range(2, 3))
    assert not row.passed


def test_arrays_of_different_shape_are_infinitely_far_apart():
    np.testing.assert_equal(max_difference(np.zeros(3), np.zeros(4)), np.inf)


def test_mismatches_are_counted():
    np.testing.assert_equal(count_mismatches([np.array([1, 2, 3]), np.array([4])], [np.array([1, 0, 0]), [4]]), 2)
    np.testing.assert_equal(count_mismatches(np.array([1, 2, 3]), np.array([1, 2])), 3)


@pytest.mark.parametrize(("text", "rungs"), [("3", range(3, 4)), ("7-11", range(7, 12)), ("1-1", range(1, 2))])
def test_rungs_are_named_by_number_or_span(text, rungs):
    assert parse_rungs(text) == rungs


@pytest.mark.parametrize("text", ["", "0", "12", "5-3", "a", "3-", "-3", "1-12", "1-2-3"])
def test_other_rungs_are_refused_in_one_line(text):
    with pytest.raises(InputError, match=f"^--rungs {text}: .*rung") as caught:
        parse_rungs(text)
    assert "\n" not in str(caught.value)


def test_the_ladder_is_numbered_from_the_bottom():
    assert list(itertools.islice(itertools.count(1), len(LADDER))) == RUNGS
