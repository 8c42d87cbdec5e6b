"""Data sets, all of the same shape whatever their source: `load_dataset("pikachu:val")`."""

from __future__ import annotations

from pathlib import Path

from ssd_common.data.dataset import Dataset, Subset
from ssd_common.data.pikachu import PikachuDataset
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.errors import InputError

DATASETS = {
    "synthetic": "drawn bananas on drawn backgrounds, 1000 train + 100 val pictures; needs no files",
    "pikachu": "the Pikachu pictures of The Straight Dope as RecordIO; needs --data-dir or TINYSSD_DATA",
}
"""Name and description of each data set."""
SPLITS = ("train", "val")


def load_dataset(
    spec: str, split: str = "train", *, data_dir: str | Path | None = None, limit: int | None = None
) -> Dataset:
    """Return a data set by name.

    Args:
        spec: one of `DATASETS`; `name:split` overrides `split`.
        split: "train" or "val".
        data_dir: where data sets that are files live; by default the environment variable `TINYSSD_DATA`.
        limit: keep only the first so many pictures.

    Raises:
        InputError: the name, the split or the limit is not valid, or the files are missing or damaged.
    """
    name, _, own_split = spec.partition(":")
    split = own_split or split
    if name not in DATASETS:
        raise InputError(f"unknown data set '{name}'; the data sets are {', '.join(DATASETS)}")
    if split not in SPLITS:
        raise InputError(f"unknown split '{split}' of data set '{name}'; the splits are {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    data: Dataset = SyntheticDataset(split) if name == "synthetic" else PikachuDataset(split, data_dir)
    return data if limit is None else Subset(data, limit)
