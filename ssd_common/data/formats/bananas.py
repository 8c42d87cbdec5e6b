"""The book's banana set: 1000 + 100 images of 256 x 256, a banana in each, downloaded when it is first asked for.

Source: d2l, section "The Object Detection Dataset".
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from ssd_common.data.formats.annotations import (
    SIDES,
    AnnotatedSet,
    BadObjectError,
    Box,
    Opened,
    annotate,
    read_box,
    read_rows,
)
from ssd_common.data.formats.download import fetch_folder
from ssd_common.data.formats.files import lies_outside, read_text
from ssd_common.errors import InputError

URL = "http://d2l-data.s3-accelerate.amazonaws.com/banana-detection.zip"
SHA1 = "5de26c8fce5ccdea9f91267273464dc968d20d72"
FOLDER = "banana-detection"
COLUMNS = ("img_name", "label", *SIDES)


def open_bananas(data_dir: str | Path | None = None) -> Opened:
    """Return the banana set, fetched into the user's cache folder when a split is read, unless it is there.

    Args:
        data_dir: the folder that may have `banana-detection`; by default the one that `TINYSSD_DATA` names.
    """
    return Opened(("train", "val"), lambda split, name: read_bananas(_find_bananas(data_dir), split, name))


def _find_bananas(data_dir: str | Path | None) -> Path:
    data_dir = data_dir or os.environ.get("TINYSSD_DATA")
    if data_dir and (Path(data_dir) / FOLDER).is_dir():
        return Path(data_dir) / FOLDER
    return fetch_folder(URL, SHA1, FOLDER)


def read_bananas(folder: Path, split: str, name: str) -> AnnotatedSet:
    """Return a split of the banana set as its file has it.

    Args:
        folder: with `bananas_train` and `bananas_val` in it.
        split: `"train"` or `"val"`.
        name: what to call the set.

    Raises:
        InputError: its `label.csv` is missing or has other columns.
    """
    path = folder / f"bananas_{split}" / "label.csv"
    try:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""))
        columns = tuple(table.fieldnames or ())
        lines = list(enumerate(table, start=2))
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table ({error}): delete {folder}, and it is fetched again") from error
    if not set(COLUMNS) <= set(columns):
        raise InputError(f"{path}: its columns are {', '.join(columns)}; expected {', '.join(COLUMNS)}")
    by_picture: dict[str, list[tuple[int, Mapping[str, str | None]]]] = {}
    for number, line in lines:
        by_picture.setdefault(line["img_name"] or "", []).append((number, line))
    annotations = []
    for image_name, items in by_picture.items():
        where = f"bananas_{split}/label.csv"
        rows, problems = read_rows(items, _read_object, where, "line")
        if lies_outside(image_name):
            raise InputError(f"{path}: {image_name} lies outside: delete {folder}, and it is fetched again")
        annotations.append(
            annotate(path.parent / "images" / image_name, image_name, where, rows, problems, noun="line")
        )
    return AnnotatedSet(name, ("banana",), annotations)


def _read_object(line: Mapping[str, str | None]) -> tuple[int, Box, bool]:
    if line["label"] != "0":
        raise BadObjectError(f"label {line['label']}", "unknown class, the only one is 0")
    return 0, read_box([line[side] for side in SIDES]), False
