"""Random changes of the training images, the same pixels for both backends."""

from ssd_common.data.augment.augmentation import augment, picture_rng

__all__ = ["augment", "picture_rng"]
