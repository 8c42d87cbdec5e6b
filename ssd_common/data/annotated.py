"""A dataset of annotated images: read when they are asked for, without the objects that are wrong."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import numpy as np

from ssd_common.data.cache import CACHE_BYTES, ExampleCache
from ssd_common.data.dataset import Dataset, Example, counted
from ssd_common.data.formats.annotations import AnnotatedSet
from ssd_common.data.formats.objects import check_objects
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError


class AnnotatedDataset:
    """The images of an `AnnotatedSet`, whatever its format; the arrays of an item are read-only.

    Objects that are wrong (see `check_objects`) are left out and counted; those that are difficult or crowds are in
    `ignored`.

    Args:
        source: what the files say.
        limit: use only the first so many images.
        cache_bytes: how many bytes of decoded images are kept once they have been asked for. Beyond them an image is
            read again each time, so that memory is bounded however many there are.

    Raises:
        InputError: there is no image, or one cannot be used. `dataset[i]` raises it for an image that is damaged.
    """

    def __init__(self, source: AnnotatedSet, limit: int | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        require_usable(source)
        self.name, self.class_names = source.name, source.class_names
        self._annotations = source.annotations
        self._length = min(len(source.annotations), limit or len(source.annotations))
        self._cache = ExampleCache(cache_bytes)
        self._counts = np.zeros((self._length, 3), np.int64)  # objects skipped, objects in all, other size, once known
        self._num_strays, self._num_doubts = len(source.strays), len(source.doubts)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} is out of range, the dataset has {len(self)} images")
        return self._cache.get(index, self._read)

    def skipped(self) -> tuple[int, int]:
        """Return how many objects were wrong, and how many there were in all, in the images read so far."""
        skipped, total, _ = self._counts.sum(axis=0).tolist()
        return skipped + self._num_strays, total + self._num_strays

    def image_name(self, index: int) -> str:
        """Return what messages call an image."""
        return self._annotations[index].image_label

    def remarks(self) -> list[str]:
        """Return what is to be said about the images read so far, nothing if all is well."""
        (skipped, total), other_size = self.skipped(), int(self._counts[:, 2].sum())
        lines = [f"skipped {skipped:,} of {total:,} boxes"] if skipped else []
        if other_size:
            where = counted(other_size, "annotation")
            lines.append(f"the size in {where} is not that of the image, so boxes may lie elsewhere")
        return lines + ([f"doubtful {counted(self._num_doubts, 'annotation')}"] if self._num_doubts else [])

    def _read(self, index: int) -> Example:
        annotation = self._annotations[index]
        image = read_image(annotation.image, annotation.image_label)
        good, corners, problems = check_objects(annotation, *image.shape[:2])
        unread = len(annotation.problems)
        other_size = annotation.header_size not in (None, image.shape[1::-1])
        self._counts[index] = len(problems) + unread, len(good) + unread, other_size
        rows = np.concatenate([annotation.class_ids[:, None].astype(np.float32), corners], axis=1)
        return Example(image, rows[good & ~annotation.ignored], rows[good & annotation.ignored])


def require_usable(source: AnnotatedSet) -> None:
    """Raise InputError unless the set has images, all of which can be used."""
    if source.problems:
        more = f" (and {len(source.problems) - 1} more)" if len(source.problems) > 1 else ""
        check = f"tinyssd data check {shlex.quote(source.name)}"
        raise InputError(f"{source.name}: {source.problems[0]}{more}: fix it; {check} lists every error")
    if len(source.annotations) == 0:
        raise InputError(f"{source.name}: has no images: check the path and the split")


def image_names(data: Dataset, indices: Iterable[int]) -> list[str]:
    """Return what messages call images: their files, or their places in a dataset that has none."""
    if isinstance(data, AnnotatedDataset):
        return [data.image_name(index) for index in indices]
    return [f"{data.name}[{index}]" for index in indices]


def describe_skipped(data: Dataset) -> str:
    """Return the line that says what was left out or is doubtful; empty if nothing is, or none was read from a file."""
    remarks = data.remarks() if isinstance(data, AnnotatedDataset) else []
    if not remarks:
        return ""
    return f"{data.name}: {'; '.join(remarks)}: run tinyssd data check {shlex.quote(data.name)}"
