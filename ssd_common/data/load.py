"""Datasets, all of the same shape whatever their source: `load_dataset("voc:DIR", "val")`."""

from __future__ import annotations

from pathlib import Path

from ssd_common.data.annotated import AnnotatedDataset
from ssd_common.data.dataset import Dataset
from ssd_common.data.formats.annotations import AnnotatedSet
from ssd_common.data.specs import FORMATS, parse_spec
from ssd_common.errors import InputError


def load_dataset(
    spec: str, split: str = "train", *, data_dir: str | Path | None = None, limit: int | None = None
) -> Dataset:
    """Return a dataset by name.

    Args:
        spec: one of `DATASETS`, see `parse_spec`; `name:split` overrides `split`.
        split: "train", "val", or another one that the dataset has. Formats with a single split take any name for it.
        data_dir: where the datasets that are built in and are files live; by default the environment variable
            `TINYSSD_DATA`.
        limit: keep only the first so many images.

    Raises:
        InputError: the name, the split or the limit is not valid, or the files are missing or damaged.
    """
    return DataSource(spec, data_dir).load(split, limit)


class DataSource:
    """A dataset, opened by its name; what its splits share is read once, however many of them are read.

    `splits` are the names of its splits; empty where it is not divided, as COCO, RecordIO, and VOC without ImageSets.

    Args:
        spec: as in `load_dataset`.
        data_dir: as in `load_dataset`.
        allow_outside: read the files that the dataset names outside of its folder, too.

    Raises:
        InputError: there is no such dataset, or it has no splits though its format has.
    """

    def __init__(self, spec: str, data_dir: str | Path | None = None, allow_outside: bool = False) -> None:
        self.spec = parse_spec(spec)
        self.format = FORMATS[self.spec.kind]
        self.splits, self._read, self._repeated = self.format.open(self.spec.path, data_dir, allow_outside)

    def separate_splits(self) -> tuple[str | None, ...]:
        """Return the splits that together are the dataset, each image in one of them.

        The split that the name has, if it has one; else all but the lists of VOC whose images are in the others. None
        stands for a dataset that is not divided.
        """
        if self.spec.split or not self.splits:
            return (self.spec.split,)
        return tuple(name for name in self.splits if name not in self._repeated)

    def read(self, split: str | None) -> AnnotatedSet:
        """Return a split as its files have it; any name will do where the dataset is not divided.

        Raises:
            InputError: there is no such split, or its files are missing, or are not of the format.
        """
        self._check(split)
        return self._read(split or "train", self.spec.of_split(split if self.splits else self.spec.split))

    def load(self, split: str, limit: int | None = None) -> Dataset:
        """Return a split, unless the dataset's name has another one; see `load_dataset`."""
        split = self.spec.split or split
        if limit is not None and limit < 1:
            raise InputError(f"limit must be at least 1, got {limit}")
        if self.format.draw is not None:
            self._check(split)
            return self.format.draw(split, limit)
        return AnnotatedDataset(self.read(split), limit)

    def _check(self, split: str | None) -> None:
        if self.splits and split not in self.splits:
            raise InputError(f"{self.spec.whole}: no split '{split}'; the splits are {', '.join(self.splits)}")
