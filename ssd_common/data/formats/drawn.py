"""A dataset that has no files, as if it were read from some."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ssd_common.data.dataset import Dataset
from ssd_common.data.formats.annotations import AnnotatedSet, Annotation, Opened, Row, annotate
from ssd_common.data.synthetic import SyntheticDataset, scenes


def draw(make: type[SyntheticDataset], split: str, limit: int | None = None) -> Dataset:
    """Return a drawn dataset, at most so many images of it."""
    count = scenes.SPLITS[split]
    return make(split, num_images=min(count, limit or count))


class DrawnAnnotations:
    """The images of a dataset as PNG, made when they are asked for, and their labels."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int, /) -> Annotation:
        image, labels, _ = self._data[index]
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        rows = [Row(i, int(row[0]), tuple(row[1:])) for i, row in enumerate(labels.tolist(), start=1)]
        name = f"{index:06}"
        return annotate(file.getvalue(), name, f"{self._data.name}: {name}", rows, fractions=True, dtype=np.float32)


def open_drawn(make: type[SyntheticDataset]) -> Opened:
    """Return a drawn dataset, each of its images made when it is asked for."""

    def read(split: str, name: str) -> AnnotatedSet:
        data = draw(make, split)
        return AnnotatedSet(name, data.class_names, DrawnAnnotations(data))

    return Opened(tuple(scenes.SPLITS), read)
