"""Data sets, all of the same shape whatever their source: `load_dataset("voc:DIR", "val")`."""

from ssd_common.data.dataset import Dataset
from ssd_common.data.load import (
    DATASETS,
    SPLITS,
    load_dataset,
    parse_spec,
    read_annotations,
    separate_splits,
    split_names,
)  # fmt: skip

__all__ = [
    "DATASETS", "SPLITS", "Dataset", "load_dataset", "parse_spec", "read_annotations", "separate_splits",
    "split_names",
]  # fmt: skip
