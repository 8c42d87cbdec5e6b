"""The dataset of the Straight Dope: Pikachu, as RecordIO."""

from __future__ import annotations

import os
from pathlib import Path

from ssd_common.data.formats.annotations import AnnotatedSet, Opened
from ssd_common.data.formats.records import read_record_set
from ssd_common.errors import InputError


def open_pikachu(data_dir: str | Path | None) -> Opened:
    """Return the Straight Dope's Pikachu set: 900 + 100 images of 256 x 256 with one object each.

    Source: the chapter "Object Detection Using Convolutional Neural Networks" of the Straight Dope. All coordinates of
    the set are inside 0...1, so its labels are returned as they are stored.

    Args:
        data_dir: the folder with `pikachu/train.rec`, `train.rec` or `pikachu_train.rec` (and the same for `val`); by
            default the one that the environment variable `TINYSSD_DATA` names.
    """

    def read(split: str, name: str) -> AnnotatedSet:
        return read_record_set(_find_pikachu(split, data_dir), name, ("pikachu",))

    return Opened(("train", "val"), read)


def _find_pikachu(split: str, data_dir: str | Path | None) -> Path:
    data_dir = data_dir or os.environ.get("TINYSSD_DATA")
    wanted = (f"pikachu/{split}.rec", f"{split}.rec", f"pikachu_{split}.rec")
    if not data_dir:
        raise InputError(f"pikachu: where is {wanted[0]}? Name its folder with --data-dir or TINYSSD_DATA")
    for path in (Path(data_dir) / name for name in wanted):
        if path.is_file():
            return path
    raise InputError(
        f"pikachu: no {' or '.join(wanted)} in {data_dir}: name the folder that has it with --data-dir or TINYSSD_DATA"
    )
