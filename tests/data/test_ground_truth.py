"""What an evaluation knows of a picture: the batches are those of training, and nothing of the original is lost."""

import numpy as np
import pytest

from ssd_common.config import ModelConfig
from ssd_common.data.dataset import Subset, ignored_objects
from ssd_common.data.ground_truth import batches_with_truth
from ssd_common.data.sampling import batches, in_order
from ssd_common.data.synthetic.scenes import SyntheticDataset

MODEL = ModelConfig(image_size=64)
CROWD = np.array([[0, 0.5, 0.5, 1, 1]], np.float32)


class Pictures:
    """Three pictures of different sizes with 0, 1 and 2 objects; the last has a crowd as well."""

    name, class_names = "pictures", ("banana",)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if not 0 <= index < 3:
            raise IndexError(index)
        labels = np.tile(np.array([[0, 0.1, 0.2, 0.3, 0.4]], np.float32), (index, 1))
        return np.full((50 + index, 80, 3), index, np.uint8), labels

    def ignored(self, index):
        return CROWD if index == 2 else np.zeros((0, 5), np.float32)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_batches_of_an_evaluation_are_those_of_training(batch_size):
    data = Pictures()
    found = list(batches_with_truth(data, in_order(3, batch_size), MODEL))
    expected = list(batches(data, in_order(3, batch_size), MODEL))
    assert len(found) == len(expected)
    for (images, labels, truths), (same_images, same_labels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)
        assert len(truths) == len(images)
    everything = [truth for _, _, truths in found for truth in truths]
    assert [truth.size for truth in everything] == [(50, 80), (51, 80), (52, 80)]
    assert [len(truth.labels) for truth in everything] == [0, 1, 2]  # no padding
    assert [len(truth.ignored) for truth in everything] == [0, 0, 1]


def test_a_data_set_may_have_objects_that_are_ignored():
    for data in (Pictures(), Subset(Pictures(), 3), Subset(Subset(Pictures(), 3), 3)):
        np.testing.assert_array_equal(ignored_objects(data, 2), CROWD)
        assert ignored_objects(data, 0).shape == (0, 5)


@pytest.mark.parametrize("data", [SyntheticDataset(num_images=1), Subset(SyntheticDataset(num_images=2), 1)])
def test_a_data_set_without_such_objects_has_none(data):
    none = ignored_objects(data, 0)
    assert (none.shape, none.dtype) == ((0, 5), np.float32)
