"""Decoded pictures are kept, as many as the bound allows, and are the same as before."""

import numpy as np
import pytest

from ssd_common.data import load_dataset
from ssd_common.data.cache import Cached


class Counting:
    """Five pictures of 4 x 4, 48 bytes, with one object, 20 bytes, each; counts how often each is read."""

    name, class_names = "counting", ("one",)

    def __init__(self):
        self.reads = []

    def __len__(self):
        return 5

    def __getitem__(self, index, /):
        if not 0 <= index < 5:
            raise IndexError(index)
        self.reads.append(index)
        return np.full((4, 4, 3), index, np.uint8), np.array([[0, 0, 0, 1, 1]], np.float32)


def test_each_picture_is_read_once():
    data = Counting()
    cached = Cached(data)
    for _ in range(3):
        for i, (image, labels) in enumerate(cached):
            np.testing.assert_array_equal(image, np.full((4, 4, 3), i))
            np.testing.assert_array_equal(labels, [[0, 0, 0, 1, 1]])
    assert data.reads == [0, 1, 2, 3, 4]
    assert (len(cached), cached.name, cached.class_names) == (5, "counting", ("one",))


def test_what_does_not_fit_is_read_each_time():
    data = Counting()
    cached = Cached(data, max_bytes=2 * 68)
    for _ in range(2):
        list(cached)
    assert data.reads == [0, 1, 2, 3, 4, 2, 3, 4]


def test_a_kept_picture_cannot_be_changed():
    image, labels = Cached(Counting())[0]
    for array in (image, labels):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1


def test_an_index_out_of_range_is_an_error():
    with pytest.raises(IndexError):
        Cached(Counting())[5]


def test_the_drawn_pictures_are_kept():
    data = load_dataset("synthetic", limit=1)
    assert data[0][0] is data[0][0]
