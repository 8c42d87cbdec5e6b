"""How a dataset is named: `pikachu`, `voc:DIR`, `coco:IMAGES,FILE.json`, each with `:split` or without.

A format is one row of `FORMATS`: nothing else needs to know of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ssd_common.data.dataset import Dataset
from ssd_common.data.formats.annotations import Opened, Picture
from ssd_common.data.formats.bananas import open_bananas
from ssd_common.data.formats.class_names import FILE_NAME, read_class_names
from ssd_common.data.formats.coco import coco_paths, open_coco, write_coco
from ssd_common.data.formats.data_yaml import YAML, read_names
from ssd_common.data.formats.drawn import draw, open_drawn
from ssd_common.data.formats.pikachu import open_pikachu
from ssd_common.data.formats.records import names_beside, open_records, write_record_set
from ssd_common.data.formats.voc import PICTURES, VocFolder, write_voc
from ssd_common.data.formats.yolo import YoloFolder, write_yolo
from ssd_common.data.synthetic import BookDataset, SyntheticDataset
from ssd_common.errors import InputError

Outputs = tuple[Path, ...]
ClassNames = tuple[str, ...]
Pictures = Iterable[Picture]


@dataclass(frozen=True)
class Format:
    """What the program knows about a format, or about a dataset that is built in."""

    about: str
    open: Callable[[str, str | Path | None, bool], Opened]
    """Takes the path in the name, the folder of the datasets that are built in, and whether to read what is named
    outside of the dataset."""
    path: str = ""
    """How its path is written, such as "DIR"; empty for what is built in."""
    draw: Callable[[str, int | None], Dataset] | None = None
    """Makes at most so many images of a split, where there is no file to read."""
    outputs: Callable[[str], Outputs] = lambda path: (Path(path),)
    """The files and folders of a path; the one that makes a dataset of them is the last."""
    write: Callable[[Outputs, str, ClassNames, Pictures], None] | None = None
    """Takes the outputs, a split, the class names and the images."""
    names: Callable[[Path], ClassNames | None] = lambda _: None
    """The class names that bind what is written to an output; None if there are none."""
    divided: bool = True
    """Whether it can have several splits."""
    pictures: str = ""
    """The folder, within the dataset, that all the splits have their images in, if they share one."""
    adds_to: str = ""
    """The file of a dataset that has something about all its splits."""
    last_part: str = ""
    """The folder of a dataset without which what else there is of a split is none."""
    writes_whole: bool = False
    """Whether `write` itself leaves all or nothing."""
    marks_ignored: bool = True
    """Whether it can mark an object as difficult or as a crowd."""
    lost: frozenset[str] = frozenset()
    """What it has no place for."""


FORMATS = {
    "synthetic": Format(
        "drawn bananas on drawn backgrounds, 1000 train + 100 val images; needs no files",
        open=lambda path, data_dir, outside: open_drawn(SyntheticDataset),
        draw=lambda split, limit: draw(SyntheticDataset, split, limit),
    ),
    "synthetic-book": Format(
        "a few drawn bananas pasted in as the book pasted its own, 1000 train + 100 val images; needs no files",
        open=lambda path, data_dir, outside: open_drawn(BookDataset),
        draw=lambda split, limit: draw(BookDataset, split, limit),
    ),
    "pikachu": Format(
        "the Pikachu images of The Straight Dope as RecordIO; needs --data-dir or TINYSSD_DATA",
        open=lambda path, data_dir, outside: open_pikachu(data_dir),
    ),
    "bananas": Format(
        "the book's banana images, 1000 train + 100 val; downloaded once, 24 MB",
        open=lambda path, data_dir, outside: open_bananas(data_dir),
    ),
    "voc": Format(
        "Pascal VOC: Annotations, JPEGImages, ImageSets/Main/SPLIT.txt",
        open=lambda path, data_dir, outside: VocFolder(Path(path)).opened(),
        path="DIR",
        write=lambda outputs, split, names, pictures: write_voc(outputs[0], split, names, pictures),
        names=lambda folder: read_class_names(folder / FILE_NAME),
        pictures=PICTURES,
        last_part="ImageSets",
    ),
    "yolo": Format(
        "Ultralytics or Roboflow YOLO: images/SPLIT, labels/SPLIT, names in data.yaml",
        open=lambda path, data_dir, outside: YoloFolder(Path(path)).opened(),
        path="DIR",
        write=lambda outputs, split, names, pictures: write_yolo(outputs[0], split, names, pictures),
        names=lambda folder: read_names(folder / YAML),
        adds_to=YAML,
        last_part="images",
        marks_ignored=False,
    ),
    "coco": Format(
        "COCO: a folder of images and a file of their boxes, one split",
        open=lambda path, data_dir, outside: open_coco(*coco_paths(path), outside),
        path="IMAGES,FILE.json",
        outputs=coco_paths,
        write=lambda outputs, split, names, pictures: write_coco(outputs[0], outputs[1], names, pictures),
        divided=False,
    ),
    "rec": Format(
        "MXNet's detection RecordIO, one split; class names in classes.txt beside it",
        open=lambda path, data_dir, outside: open_records(Path(path)),
        path="FILE.rec",
        outputs=lambda path: (Path(path).with_suffix(".idx"), Path(path)),
        write=lambda outputs, split, names, pictures: write_record_set(outputs[-1], names, pictures),
        names=names_beside,
        writes_whole=True,
        divided=False,
        lost=frozenset({"names of the images"}),
    ),
}
DATASETS = {f"{kind}:{row.path}" if row.path else kind: row.about for kind, row in FORMATS.items()}
"""How each dataset is named, and its description."""


class Spec(NamedTuple):
    """A dataset's name, taken apart."""

    kind: str
    """A key of `FORMATS`."""
    path: str
    """What stands between kind and split; empty for those that are built in."""
    split: str | None
    """The split, if one is named."""

    @property
    def whole(self) -> str:
        """The dataset without its split."""
        return f"{self.kind}:{self.path}" if self.path else self.kind

    def of_split(self, split: str | None) -> str:
        """Return the name of one of its splits."""
        return self.whole if split is None else f"{self.whole}:{split}"


def parse_spec(text: str) -> Spec:
    """Return the parts of a dataset's name.

    The last colon begins a split, unless the path is there with it, or what follows it has a slash.

    Raises:
        InputError: there is no such dataset or format, or the path is missing.
    """
    kind, _, rest = text.partition(":")
    if kind not in FORMATS:
        raise InputError(f"unknown dataset '{kind}'; the datasets are {', '.join(DATASETS)}")
    row = FORMATS[kind]
    if not row.path:
        return Spec(kind, "", rest or None)
    if not rest:
        raise InputError(f"'{text}' names no path; write {kind}:{row.path}")
    rest = ",".join(map(os.path.expanduser, rest.split(",")))  # a shell leaves the ~ of voc:~/cells alone
    path, _, split = rest.rpartition(":")
    if not path or "/" in split or "\\" in split or split in (".", "..") or row.outputs(rest)[-1].exists():
        path, split = rest, ""
    return Spec(kind, path, split or None)


def validation_spec(data: str, val_data: str = "") -> str | None:
    """Return the validation images of a run, or None if they cannot be told.

    Args:
        data: what it trained on; without a split, or as version 0.1.0 wrote it: with the split `train`.
        val_data: what it was validated on, if that was said.
    """
    if val_data or not data:
        return val_data or None
    spec = parse_spec(data)
    return spec.of_split("val") if spec.split in (None, "train") and FORMATS[spec.kind].divided else None
