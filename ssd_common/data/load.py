"""Data sets, all of the same shape whatever their source: `load_dataset("voc:DIR", "val")`."""

from __future__ import annotations

from pathlib import Path

from ssd_common.data.annotated import AnnotatedDataset
from ssd_common.data.dataset import Dataset, Subset
from ssd_common.data.formats.annotations import AnnotatedSet
from ssd_common.data.formats.bananas import find_bananas, read_bananas
from ssd_common.data.formats.coco import read_coco
from ssd_common.data.formats.drawn import as_annotated_set
from ssd_common.data.formats.pikachu import read_pikachu
from ssd_common.data.formats.records import read_record_set
from ssd_common.data.formats.voc import read_voc, voc_splits
from ssd_common.data.formats.yolo import read_yolo, yolo_splits
from ssd_common.data.specs import BUILT_IN, DATASETS, Spec, coco_paths, parse_spec
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.errors import InputError

__all__ = ["DATASETS", "SPLITS", "load_dataset", "parse_spec", "read_annotations", "separate_splits", "split_names"]

SPLITS = ("train", "val")
"""The splits of the data sets that are built in."""


def load_dataset(
    spec: str, split: str = "train", *, data_dir: str | Path | None = None, limit: int | None = None
) -> Dataset:
    """Return a data set by name.

    Args:
        spec: one of `DATASETS`, see `parse_spec`; `name:split` overrides `split`.
        split: "train", "val", or another one that the data set has. Formats with a single split take any name for it.
        data_dir: where the data sets that are built in and are files live; by default the environment variable
            `TINYSSD_DATA`.
        limit: keep only the first so many pictures.

    Raises:
        InputError: the name, the split or the limit is not valid, or the files are missing or damaged.
    """
    parsed = parse_spec(spec)
    split = parsed.split or split
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    data: Dataset
    _check_split(parsed, split)
    if parsed.kind == "synthetic":
        data = SyntheticDataset(split)
    else:
        data = AnnotatedDataset(read_annotations(parsed, split, data_dir))
    return data if limit is None else Subset(data, limit)


def read_annotations(spec: Spec, split: str | None, data_dir: str | Path | None = None) -> AnnotatedSet:
    """Return a split of a data set as its files have it; `split` is one of `split_names`, None where that is empty.

    Raises:
        InputError: the files are missing, or are not of the format.
    """
    _check_split(spec, split)
    path = Path(spec.path)
    name = spec.of_split(split if split_names(spec) else spec.split)
    if spec.kind == "voc":
        return read_voc(path, split, name)
    if spec.kind == "yolo":
        return read_yolo(path, split, name)
    if spec.kind == "coco":
        return read_coco(*coco_paths(spec.path), name)
    if spec.kind == "rec":
        return read_record_set(path, name)
    if spec.kind == "bananas":
        return read_bananas(find_bananas(data_dir), split or "train")
    if spec.kind == "pikachu":
        return read_pikachu(split or "train", data_dir)
    return as_annotated_set(SyntheticDataset(split or "train"))


def _check_split(spec: Spec, split: str | None) -> None:
    if spec.kind in BUILT_IN and split not in SPLITS:
        raise InputError(f"unknown split '{split}' of data set '{spec.kind}'; the splits are {', '.join(SPLITS)}")


def split_names(spec: Spec) -> tuple[str, ...]:
    """Return the splits of a data set; empty where it is not divided, as COCO, RecordIO, and VOC without ImageSets.

    Raises:
        InputError: the files are missing.
    """
    if spec.kind in BUILT_IN:
        return SPLITS
    if spec.kind == "voc":
        return voc_splits(Path(spec.path))
    return yolo_splits(Path(spec.path)) if spec.kind == "yolo" else ()


def separate_splits(spec: Spec) -> tuple[str | None, ...]:
    """Return the splits that together are the data set, each picture in one of them.

    The split that the name has, if it has one; else all of `split_names`, without the lists of VOC that repeat others:
    trainval, and those of a single class. None stands for a data set that is not divided.
    """
    names = split_names(spec)
    if spec.split or not names:
        return (spec.split,)
    repeated = {name for name in names if any(name.endswith(f"_{other}") for other in names)}
    repeated |= {"trainval"} if {"train", "val"} <= set(names) else set()
    return tuple(name for name in names if name not in repeated)
