"""Datasets, all of the same shape whatever their source: `load_dataset("voc:DIR", "val")`."""

from ssd_common.data.dataset import Dataset, Example
from ssd_common.data.load import DataSource, load_dataset
from ssd_common.data.specs import DATASETS, parse_spec

__all__ = ["DATASETS", "DataSource", "Dataset", "Example", "load_dataset", "parse_spec"]
