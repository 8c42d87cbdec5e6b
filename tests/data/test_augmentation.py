"""Augmentation: objects stay in their boxes, and the same seed, epoch and image give the same pixels everywhere."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_common.config import BOOK, STRAIGHT_DOPE, ModelConfig, TrainConfig
from ssd_common.config.augment import AUGMENTATIONS, AugmentConfig, get_augmentation
from ssd_common.config.tables import from_dict, to_dict
from ssd_common.data import Example
from ssd_common.data.augment.augmentation import augment, picture_rng
from ssd_common.data.sampling import batches, epoch_order
from ssd_common.data.transforms import resize_image
from ssd_common.errors import InputError

MODEL = ModelConfig(image_size=64)
ALL = AugmentConfig("iou", 0.95, 200, 3.0, 0.1, 0.5, 0.3, 0.3, 0.3, 0.1, 8)
NAMES = pytest.mark.parametrize("name", AUGMENTATIONS)
examples = settings(max_examples=300, deadline=None, derandomize=True)


class Pictures:
    """A dataset of random images of different sizes, two objects in each."""

    name, class_names = "pictures", ("a", "b")

    def __len__(self):
        return 10

    def __getitem__(self, index, /):
        if not 0 <= index < len(self):
            raise IndexError(index)
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (50 + 5 * index, 90 - 3 * index, 3), np.uint8)
        return Example(image, np.array([[0, 0.1, 0.2, 0.5, 0.6], [1, 0.4, 0.3, 0.9, 0.8]], np.float32))


# --- What comes out


GEOMETRY = st.builds(
    AugmentConfig,
    crop=st.sampled_from(["none", "iou", "object"]),
    min_object_covered=st.sampled_from([0.1, 0.5, 0.95]),
    max_attempts=st.just(20),
    expand=st.sampled_from([1.0, 2.0, 4.0]),
    shift=st.sampled_from([0.0, 0.1, 0.4]),
    flip=st.sampled_from([0.0, 1.0]),
)


@st.composite
def rectangles(draw, most):
    """Return the width and height of an image and rectangles in it, corners in whole pixels."""
    width, height = draw(st.integers(16, 120)), draw(st.integers(16, 120))
    found = []
    for _ in range(draw(st.integers(0 if most > 1 else 1, most))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
        found.append((left, top, right, bottom))
    return width, height, found


def as_labels(width, height, rectangles):
    """Return rectangles as labels, class ids 0, 1, ..."""
    rows = [[i, *np.array(box) / (width, height, width, height)] for i, box in enumerate(rectangles)]
    return np.array(rows, np.float32).reshape(-1, 5)


@given(rectangles(5), GEOMETRY, st.integers(0, 2**32 - 1))
@examples
def test_the_labels_are_always_valid(scene, config, seed):
    width, height, boxes = scene
    labels = as_labels(width, height, boxes)
    image, kept, mapping = augment(np.zeros((height, width, 3), np.uint8), labels, config, 64, picture_rng(0, 0, seed))
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert kept.dtype == np.float32
    assert ((kept[:, 1:] >= 0) & (kept[:, 1:] <= 1)).all()
    assert (kept[:, 1:3] < kept[:, 3:]).all()
    assert set(kept[:, 0]) <= set(labels[:, 0])  # the class id tells which one it was
    inside = ((kept[:, 1:] > 0) & (kept[:, 1:] < 1)).all(axis=1)
    back = mapping.inverse().apply(kept[inside, 1:].astype(np.float64))
    np.testing.assert_allclose(back, labels[kept[inside, 0].astype(int), 1:], rtol=0, atol=1e-5)


@given(rectangles(1), GEOMETRY, st.integers(0, 2**32 - 1))
@examples
def test_an_object_stays_in_its_box(scene, config, seed):
    width, height, boxes = scene
    ((left, top, right, bottom),) = boxes
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = 255  # brighter than what fills a window beside the image
    image, kept, _ = augment(image, as_labels(width, height, boxes), config, 128, picture_rng(0, 0, seed))
    if not len(kept):
        return
    box = kept[0, 1:] * 128
    if (box[2:] - box[:2]).min() < 3:  # blurred away
        return
    rows, columns = np.nonzero(image.min(axis=2) >= 128)  # at least half covered
    drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(drawn, box, rtol=0, atol=1.0)


@given(rectangles(3), st.integers(0, 2**32 - 1))
@examples
def test_without_changes_a_picture_is_resized_and_that_is_all(scene, seed):
    width, height, boxes = scene
    image, labels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8), as_labels(*scene)
    changed = augment(image, labels, AugmentConfig(), 64, picture_rng(0, 0, seed))
    np.testing.assert_array_equal(changed.image, resize_image(image, 64))
    np.testing.assert_array_equal(changed.labels, labels)


@NAMES
def test_a_picture_without_objects_is_changed_too(name):
    image, nothing = Pictures()[0][0], np.zeros((0, 5), np.float32)
    changed = augment(image, nothing, AUGMENTATIONS[name], 64, picture_rng(0, 0, 1))
    assert changed.image.shape == (64, 64, 3)
    assert changed.labels.shape == (0, 5)


@NAMES
def test_the_picture_that_is_given_stays_as_it_was(name):
    image, labels, _ = Pictures()[0]
    before = image.copy(), labels.copy()
    for array in (image, labels):
        array.flags.writeable = False
    for epoch in range(5):
        augment(image, labels, AUGMENTATIONS[name], 64, picture_rng(0, epoch, 0))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_flips_are_as_frequent_as_asked_for():
    image, labels, _ = Pictures()[0]
    for share in (0.0, 0.3, 1.0):
        scales = [augment(image, labels, AugmentConfig(flip=share), 64, picture_rng(0, e, 0)) for e in range(300)]
        flipped = np.mean([changed.mapping.scale[0] < 0 for changed in scales])
        np.testing.assert_allclose(flipped, share, rtol=0, atol=0.06 if 0 < share < 1 else 0)


# --- The same everywhere


def pictures_of_an_epoch(batch_size, seed=0, epoch=0):
    """Return the augmented image and its labels by index."""
    order = epoch_order(10, batch_size, seed, epoch)
    made = batches(Pictures(), order, MODEL, augment_config=ALL, seed=seed, epoch=epoch)
    found = {}
    for indices, (images, labels) in zip(order, made, strict=True):
        for index, image, rows in zip(indices, images, labels, strict=True):
            found[int(index)] = image, rows[rows[:, 0] >= 0]
    return found


def test_a_picture_depends_on_the_seed_the_epoch_and_its_index_alone():
    expected = pictures_of_an_epoch(batch_size=3)
    np.random.seed(1)  # noqa: NPY002 the global state must not matter
    for batch_size in (1, 4, 10):
        for index, (image, labels) in pictures_of_an_epoch(batch_size).items():
            np.testing.assert_array_equal(image, expected[index][0])
            np.testing.assert_array_equal(labels, expected[index][1])
    for others in (pictures_of_an_epoch(3, seed=1), pictures_of_an_epoch(3, epoch=1)):
        assert not any(np.array_equal(others[index][0], image) for index, (image, _) in expected.items())


def test_two_pictures_alike_are_changed_differently():
    image, labels, _ = Pictures()[0]
    changed = {augment(image, labels, ALL, 64, picture_rng(0, 0, index)).image.tobytes() for index in range(20)}
    assert len(changed) == 20


def train_seeing(backend, monkeypatch, data, config, first_epoch=0):
    """Train for nothing, and return the batches that arrive on the device."""
    seen = []
    names = ("cls_loss", "bbox_loss", "correct", "positives", "anchors", "abs_error", "abs_offsets", "offsets")

    def train_step(net, trainer, X, Y, *_):
        seen.append((backend.data.to_numpy(X), backend.data.to_numpy(Y)))
        return {"examples": len(X), **dict.fromkeys(names, 1.0)}

    monkeypatch.setattr(backend.train, "train_step", train_step)
    monkeypatch.setattr(backend.train, "set_learning_rate", lambda *_: None)
    for _ in backend.train.train(SimpleNamespace(), None, data, MODEL, config, first_epoch):
        pass
    return seen


def test_training_sees_the_augmented_pictures_and_so_does_a_resumed_one(backend, monkeypatch):
    config = TrainConfig(epochs=2, batch_size=4, seed=3, augment=ALL)
    expected = [
        batch
        for epoch in range(2)
        for batch in batches(Pictures(), epoch_order(10, 4, 3, epoch), MODEL, augment_config=ALL, seed=3, epoch=epoch)
    ]
    whole = train_seeing(backend, monkeypatch, Pictures(), config)
    resumed = train_seeing(backend, monkeypatch, Pictures(), config, first_epoch=1)
    for seen, wanted in ((whole, expected), (resumed, expected[3:])):
        for (images, labels), (wanted_images, wanted_labels) in zip(seen, wanted, strict=True):
            np.testing.assert_array_equal(images, wanted_images)
            np.testing.assert_array_equal(labels, wanted_labels)


def test_a_damaged_picture_stops_training_with_its_own_message(backend, monkeypatch):
    class Damaged(Pictures):
        def __getitem__(self, index, /):
            if index == 7:
                raise InputError("images: image 7: cut short")
            return super().__getitem__(index)

    with pytest.raises(InputError, match="^images: image 7: cut short$"):
        train_seeing(backend, monkeypatch, Damaged(), TrainConfig(epochs=1, batch_size=2))


# --- Configuration


def test_the_books_pictures_stay_as_they_are_and_the_straight_dope_crops():
    assert BOOK.train.augment == AugmentConfig()
    assert STRAIGHT_DOPE.train.augment == AugmentConfig(crop="object", min_object_covered=0.95, max_attempts=200)


@pytest.mark.parametrize("augmentation", [*AUGMENTATIONS.values(), ALL])
def test_an_augmentation_is_kept_in_a_file(augmentation):
    config = TrainConfig(augment=augmentation)
    assert from_dict(TrainConfig(), to_dict(config), "run.toml") == config


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("flip", 1.5, "flip must be between 0 and 1, got 1.5"),
        ("contrast", -0.1, "contrast must be between 0 and 1, got -0.1"),
        ("shift", 0.6, "shift must be between 0 and 0.5, got 0.6"),
        ("hue", float("nan"), "hue must be between 0 and 0.5, got nan"),
        ("expand", 0.5, "expand must be a number from 1 on, got 0.5"),
        ("expand", float("inf"), "expand must be a number from 1 on, got inf"),
        ("noise", 200, "noise must be between 0 and 127, got 200"),
        ("min_object_covered", 1.0, "min_object_covered must be at least 0 and below 1, got 1.0"),
        ("max_attempts", 0, "max_attempts must be at least 1, got 0"),
    ],
)
def test_a_value_out_of_range_is_refused(field, value, words):
    with pytest.raises(InputError, match=f"^augment: {words}$"):
        dataclasses.replace(ALL, **{field: value})


def test_an_unknown_setting_names_its_table():
    with pytest.raises(InputError, match="^run.toml: augment: unknown setting 'mirror'; AugmentConfig has crop, "):
        from_dict(TrainConfig(), {"augment": {"mirror": 0.5}}, "run.toml")
    with pytest.raises(InputError, match="^unknown augmentation 'blur'; there are none, flip, jitter, ssd, straight"):
        get_augmentation("blur")
