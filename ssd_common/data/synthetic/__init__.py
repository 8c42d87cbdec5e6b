"""Bananas drawn on the spot, on photographs that are drawn, too."""

from ssd_common.data.synthetic.book import BookDataset
from ssd_common.data.synthetic.scenes import SPLITS, Options, Picture, SyntheticDataset

__all__ = ["SPLITS", "BookDataset", "Options", "Picture", "SyntheticDataset"]
