"""What an evaluation knows of an image: the batches are those of training, and nothing of the original is lost."""

import numpy as np
import pytest

from ssd_common.config import ModelConfig
from ssd_common.data import Example, load_dataset
from ssd_common.data.convert import convert_data
from ssd_common.data.formats.recordio import IndexedRecordReader
from ssd_common.data.ground_truth import batches_with_truth
from ssd_common.data.sampling import batches, in_order
from ssd_common.data.synthetic.scenes import SyntheticDataset
from tests.data.data_cases import write_coco

MODEL = ModelConfig(image_size=64)
CROWD = np.array([[0, 0.5, 0.5, 1, 1]], np.float32)


class Pictures:
    """Three images of different sizes with 0, 1 and 2 objects; the last has a crowd as well."""

    name, class_names = "pictures", ("banana",)

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if not 0 <= index < 3:
            raise IndexError(index)
        labels = np.tile(np.array([[0, 0.1, 0.2, 0.3, 0.4]], np.float32), (index, 1))
        image = np.full((50 + index, 80, 3), index, np.uint8)
        return Example(image, labels, CROWD) if index == 2 else Example(image, labels)


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


def test_a_data_set_without_ignored_objects_has_none():
    none = SyntheticDataset(num_images=1)[0].ignored
    assert (none.shape, none.dtype) == ((0, 5), np.float32)


def test_a_record_is_read_once_for_all_evaluations(tmp_path, monkeypatch):
    convert_data(write_coco(tmp_path), f"rec:{tmp_path / 'a.rec'}")
    read, asked = IndexedRecordReader.read, []
    monkeypatch.setattr(IndexedRecordReader, "read", lambda self, key: asked.append(key) or read(self, key))
    data = load_dataset(f"rec:{tmp_path / 'a.rec'}")
    asked.clear()
    for _ in range(3):
        truths = [truth for _, _, some in batches_with_truth(data, in_order(2, 2), MODEL) for truth in some]
        assert [len(truth.ignored) for truth in truths] == [0, 1]
    assert asked == [0, 1]
