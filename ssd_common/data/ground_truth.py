"""What an evaluation knows of an image: its objects, those that do not count, its size before it was resized."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssd_common.config import ModelConfig
from ssd_common.data.dataset import Dataset
from ssd_common.data.sampling import pad_labels, to_batch


class GroundTruth(NamedTuple):
    """The objects of one image; a row is `[class_id, xmin, ymin, xmax, ymax]`, corners 0…1."""

    labels: NDArray[np.floating]
    """`(num_objects, 5)`: those to find, without padding."""
    size: tuple[int, int]
    """Height and width of the original image in pixels."""
    ignored: NDArray[np.floating] = np.zeros((0, 5))
    """`(num_ignored, 5)`: those that may be found or not (COCO's crowds, VOC's difficult objects)."""


def batches_with_truth(
    data: Dataset, order: Iterable[Sequence[int] | NDArray[np.integer]], model_config: ModelConfig
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.float32], list[GroundTruth]]]:
    """Yield the batches of a dataset as the network takes them, see `batches`, with the ground truth of each image.

    Args:
        data: the dataset.
        order: image indices of each batch.
        model_config: its image size and mean are applied.

    Yields:
        images `(batch, 3, height, width)`, labels `(batch, max_objects, 5)` padded with -1, and a list of `batch`.
    """
    for indices in order:
        examples = [data[int(i)] for i in indices]
        truths = [GroundTruth(item.labels, item.size, item.ignored) for item in examples]
        images, labels, _ = zip(*examples, strict=True)
        yield to_batch(images, model_config), pad_labels(labels), truths
