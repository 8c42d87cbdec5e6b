"""The order of the images and their batches: the same for both backends, from the seed alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ssd_common.config import ModelConfig
from ssd_common.config.augment import AugmentConfig
from ssd_common.data.augment.augmentation import augment as augment_picture
from ssd_common.data.augment.augmentation import picture_rng
from ssd_common.data.dataset import Dataset, Example
from ssd_common.data.transforms import checked_image, normalise, resize_image

Batch = tuple[NDArray[np.floating], NDArray[np.float32]]


def epoch_order(num_images: int, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Return the image indices of each batch of one epoch, shuffled; the last batch may be smaller.

    The order depends on its arguments only: training that is resumed sees what it would have seen.

    Args:
        num_images: images in the dataset.
        batch_size: images a batch.
        seed: of the training.
        epoch: from 0.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_images)
    return [order[i : i + batch_size] for i in range(0, num_images, batch_size)]


def in_order(num_images: int, batch_size: int) -> list[NDArray[np.int64]]:
    """Return the image indices of each batch, not shuffled; the last batch may be smaller."""
    return [np.arange(i, min(i + batch_size, num_images)) for i in range(0, num_images, batch_size)]


def batches(
    data: Dataset,
    order: Iterable[Sequence[int] | NDArray[np.integer]],
    model_config: ModelConfig,
    dtype: str = "float32",
    *,
    augment_config: AugmentConfig = AugmentConfig(),
    seed: int = 0,
    epoch: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of a dataset as the network takes them.

    Args:
        data: the dataset.
        order: image indices of each batch.
        model_config: its image size and mean are applied.
        dtype: of the images.
        augment_config: how the images are changed at random; as they are, by default.
        seed: of the training; with the epoch and the index of an image it decides how that is changed.
        epoch: from 0.

    Yields:
        images `(batch, 3, height, width)`, 0…255 minus the mean, channels last in memory;
        labels `(batch, max_objects, 5)` float32, rows of -1 where an image has fewer objects; `max_objects` is at
        least 1.
    """

    def example(index: int) -> Example:
        image, labels, ignored = data[index]
        if augment_config == AugmentConfig():
            return Example(image, labels, ignored)
        rng = picture_rng(seed, epoch, index)
        changed = augment_picture(image, labels, augment_config, model_config.image_size, rng)
        return Example(changed.image, changed.labels)

    for indices in order:
        images, labels, _ = zip(*(example(int(i)) for i in indices), strict=True)
        yield to_batch(images, model_config, dtype), pad_labels(labels)


def to_batch(
    images: Sequence[NDArray[np.uint8]], model_config: ModelConfig, dtype: str = "float32"
) -> NDArray[np.floating]:
    """Return images of any size as one batch for the network.

    Args:
        images: uint8 `(height, width, 3)` RGB.
        model_config: its image size and mean are applied.
        dtype: of the result.

    Returns:
        `(batch, 3, image_size, image_size)`.

    Raises:
        InputError: an image is of another kind.
    """
    size = (model_config.image_size, model_config.image_size)
    fitting = [image if image.shape[:2] == size else resize_image(image, size) for image in map(checked_image, images)]
    return normalise(np.stack(fitting), model_config.mean, np.dtype(dtype))


def pad_labels(labels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the labels of a batch, rows of -1 where an image has fewer objects than another.

    Args:
        labels: `(num_objects, 5)` each.

    Returns:
        `(batch, max_objects, 5)` float32; `max_objects` is at least 1.
    """
    padded = np.full((len(labels), max(1, *(len(rows) for rows in labels)), 5), -1, np.float32)
    for i, rows in enumerate(labels):
        padded[i, : len(rows)] = rows
    return padded
