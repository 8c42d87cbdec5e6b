"""The order of the images depends on the seed and the epoch alone, and batches are what the networks take."""

import numpy as np
import pytest
from PIL import Image

from ssd_common.config import ModelConfig
from ssd_common.data import Example
from ssd_common.data.sampling import batches, epoch_order, in_order, pad_labels, to_batch
from ssd_common.errors import InputError

MODEL = ModelConfig(image_size=64)
MEAN = (123.0, 117.0, 104.0)


class Pictures:
    """A dataset of random images; image `i` has `num_objects[i]` objects of class `i`."""

    name, class_names = "pictures", ("a", "b", "c", "d")

    def __init__(self, num_objects, sizes=None):
        self.num_objects, self.sizes = num_objects, sizes or [(64, 64)] * len(num_objects)

    def __len__(self):
        return len(self.num_objects)

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (*self.sizes[index], 3), np.uint8)
        labels = rng.random((self.num_objects[index], 5)).astype("float32")
        labels[:, 0] = index
        return Example(image, labels)


@pytest.mark.parametrize(("num_images", "batch_size"), [(10, 3), (9, 3), (2, 5), (1, 1), (1000, 32)])
def test_an_epoch_shows_every_picture_once_and_the_last_batch_may_be_short(num_images, batch_size):
    sizes = [batch_size] * (num_images // batch_size) + [num_images % batch_size] * (num_images % batch_size > 0)
    shuffled, ordered = epoch_order(num_images, batch_size, 0, 0), in_order(num_images, batch_size)
    assert [len(batch) for batch in shuffled] == [len(batch) for batch in ordered] == sizes
    np.testing.assert_array_equal(np.sort(np.concatenate(shuffled)), np.arange(num_images))
    np.testing.assert_array_equal(np.concatenate(ordered), np.arange(num_images))


def test_no_pictures_make_no_batches():
    assert epoch_order(0, 4, 0, 0) == in_order(0, 4) == []
    assert list(batches(Pictures([]), [], MODEL)) == []


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    def order(seed, epoch, batch_size=32):
        return np.concatenate(epoch_order(100, batch_size, seed, epoch)).tolist()

    np.random.seed(1)  # noqa: NPY002 the global state must not matter
    first = order(0, 0)
    np.random.seed(2)  # noqa: NPY002
    assert order(0, 0) == first
    assert order(0, 0, batch_size=7) == first
    others = [order(seed, epoch) for seed in range(4) for epoch in range(4)]
    assert len({tuple(indices) for indices in others}) == 16


def test_batches_are_the_pictures_in_the_order_asked_for(dtype):
    data = Pictures([1, 2, 1])
    (first, _), (second, _) = batches(data, [[2, 0], np.array([1])], MODEL, dtype)
    assert first.dtype == second.dtype == dtype
    np.testing.assert_array_equal(first, np.stack([data[2][0], data[0][0]]).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(second, data[1][0][None].transpose(0, 3, 1, 2))


def test_batches_are_channels_last_in_memory():
    images = to_batch([Pictures([1])[0][0]] * 2, MODEL)
    assert images.shape == (2, 3, 64, 64)
    assert images.transpose(0, 2, 3, 1).flags.c_contiguous
    assert images.base is not None  # a view


@pytest.mark.backend("torch")
def test_pytorch_takes_a_batch_as_channels_last_without_copying():
    import torch

    images = to_batch([Pictures([1])[0][0]] * 2, MODEL)
    X = torch.from_numpy(images)
    assert X.is_contiguous(memory_format=torch.channels_last)
    assert X.data_ptr() == images.ctypes.data


def test_a_batch_arrives_on_the_device_as_it_is(backend, dtype):
    images = to_batch([Pictures([1, 1])[i][0] for i in range(2)], MODEL, dtype)
    on_device = backend.data.to_device(images)
    np.testing.assert_array_equal(backend.data.to_numpy(on_device), images)


def test_the_mean_is_subtracted_from_each_channel(dtype):
    image = Pictures([1])[0][0]
    (batch,) = to_batch([image], ModelConfig(image_size=64, mean=MEAN), dtype)
    np.testing.assert_array_equal(batch, image.transpose(2, 0, 1) - np.array(MEAN, dtype)[:, None, None])
    (batch,) = to_batch([image], MODEL, dtype)
    np.testing.assert_array_equal(batch, image.transpose(2, 0, 1))


def test_pictures_of_another_size_are_resized_by_pillow():
    data = Pictures([1, 1, 1], sizes=[(64, 64), (100, 40), (30, 90)])
    images = [data[i][0] for i in range(3)]
    resized = [np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR)) for image in images]
    np.testing.assert_array_equal(to_batch(images, MODEL), np.stack(resized).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(resized[0], images[0])


@pytest.mark.parametrize(
    "image", ["a.png", Image.new("RGB", (64, 64)), np.ones((64, 64, 3)), np.ones((3, 64, 64), np.uint8)]
)
def test_what_is_no_image_is_refused(image):
    """A network would take fractions, or channels that come first, without a word, and find nothing."""
    with pytest.raises(InputError, match="an image is "):
        to_batch([image], MODEL)


def test_labels_are_padded_with_rows_of_minus_1():
    data = Pictures([2, 0, 3])
    ((_, labels),) = batches(data, [[0, 1, 2]], MODEL)
    assert labels.shape == (3, 3, 5)
    assert labels.dtype == np.float32
    for i, num_objects in enumerate([2, 0, 3]):
        np.testing.assert_array_equal(labels[i, :num_objects], data[i][1])
        np.testing.assert_array_equal(labels[i, num_objects:], np.full((3 - num_objects, 5), -1))


def test_a_batch_without_objects_has_one_row_of_padding():
    np.testing.assert_array_equal(pad_labels([np.zeros((0, 5), np.float32)] * 2), np.full((2, 1, 5), -1))
