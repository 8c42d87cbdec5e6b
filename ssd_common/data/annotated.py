"""A data set of annotated pictures: read when they are asked for, without the objects that are wrong."""

from __future__ import annotations

import shlex

import numpy as np
from numpy.typing import NDArray

from ssd_common.data.cache import CACHE_BYTES, ExampleCache
from ssd_common.data.dataset import Example
from ssd_common.data.formats.annotations import AnnotatedSet, Annotation
from ssd_common.data.formats.objects import check_objects, normalised_corners
from ssd_common.data.transforms import image_size, read_image
from ssd_common.errors import InputError


class AnnotatedDataset:
    """The pictures of an `AnnotatedSet`, whatever its format.

    An item is `(image, labels)`: image uint8 RGB `(height, width, 3)`, upright; labels float32 `(num_objects, 5)`, rows
    `[class_id, xmin, ymin, xmax, ymax]`, corners as fractions of the picture. Both are read-only: copy what you change.

    Objects that are wrong (see `check_objects`) are left out and counted; those that are difficult or crowds are in
    `ignored`.

    Args:
        source: what the files say.
        cache_bytes: how many bytes of decoded pictures are kept once they have been asked for. Beyond them a picture is
            read again each time, so that memory is bounded however many there are.

    Raises:
        InputError: there is no picture, or one cannot be used. `dataset[i]` raises it for a picture that is damaged.
    """

    def __init__(self, source: AnnotatedSet, cache_bytes: int = CACHE_BYTES) -> None:
        require_usable(source)
        self.name, self.class_names = source.name, source.class_names
        self._annotations = source.annotations
        self._cache = ExampleCache(cache_bytes)
        self._sizes = np.zeros((len(self), 2), np.int32)  # height and width, once known
        self._objects = np.zeros((len(self), 2), np.int64)  # how many were skipped, and there in all, once known
        self._num_strays = len(source.strays)

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int, /) -> Example:
        self._check(index)
        return self._cache.get(index, self._read)

    def ignored(self, index: int) -> NDArray[np.float32]:
        """Return the objects of a picture that are neither to be found nor missed, `(m, 5)` as labels."""
        self._check(index)
        annotation = self._annotations[index]
        if not annotation.ignored.any():
            return np.empty((0, 5), np.float32)
        if not self._sizes[index].any():
            self._sizes[index] = image_size(annotation.image, annotation.image_label)
        height, width = self._sizes[index].tolist()
        good, _ = check_objects(annotation, height, width)
        return _labels(annotation, good & annotation.ignored, height, width)

    def skipped(self) -> tuple[int, int]:
        """Return how many objects were wrong, and how many there were in all, in the pictures read so far."""
        skipped, total = self._objects.sum(axis=0).tolist()
        return skipped + self._num_strays, total + self._num_strays

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} is out of range, the data set has {len(self)} pictures")

    def _read(self, index: int) -> Example:
        annotation = self._annotations[index]
        image = read_image(annotation.image, annotation.image_label)
        height, width = self._sizes[index] = image.shape[:2]
        good, problems = check_objects(annotation, height, width)
        unread = len(annotation.problems)
        self._objects[index] = len(problems) + unread, len(good) + unread
        return image, _labels(annotation, good & ~annotation.ignored, height, width)


def require_usable(source: AnnotatedSet) -> None:
    """Raise InputError unless the set has pictures, all of which can be used."""
    if source.problems:
        more = f" (and {len(source.problems) - 1} more)" if len(source.problems) > 1 else ""
        check = f"tinyssd data check {shlex.quote(source.name)}"
        raise InputError(f"{source.name}: {source.problems[0]}{more}: mend it; {check} lists all that is wrong")
    if len(source.annotations) == 0:
        raise InputError(f"{source.name}: has no pictures: check the path and the split")


def _labels(annotation: Annotation, chosen: NDArray[np.bool_], height: int, width: int) -> NDArray[np.float32]:
    class_ids = annotation.class_ids[chosen, None].astype(np.float32)
    return np.concatenate([class_ids, normalised_corners(annotation, height, width)[chosen]], axis=1)
