"""How a data set is named: `pikachu`, `voc:DIR`, `coco:IMAGES,FILE.json`, each with `:split` or without."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ssd_common.errors import InputError

BUILT_IN = {
    "synthetic": "drawn bananas on drawn backgrounds, 1000 train + 100 val pictures; needs no files",
    "pikachu": "the Pikachu pictures of The Straight Dope as RecordIO; needs --data-dir or TINYSSD_DATA",
    "bananas": "the book's banana pictures, 1000 train + 100 val; downloaded once, 24 MB",
}
FORMATS = {
    "voc": ("DIR", "Pascal VOC: Annotations, JPEGImages, ImageSets/Main/SPLIT.txt"),
    "yolo": ("DIR", "Ultralytics or Roboflow YOLO: images/SPLIT, labels/SPLIT, names in data.yaml"),
    "coco": ("IMAGES,FILE.json", "COCO: a folder of pictures and a file of their boxes, one split"),
    "rec": ("FILE.rec", "MXNet's detection RecordIO, one split; class names in classes.txt beside it"),
}
UNDIVIDED = ("coco", "rec")
"""The formats with a single split, whatever it is called."""
DATASETS = BUILT_IN | {f"{kind}:{path}": text for kind, (path, text) in FORMATS.items()}
"""How each data set is named, and its description."""


class Spec(NamedTuple):
    """A data set's name, taken apart."""

    kind: str
    """A key of `BUILT_IN` or `FORMATS`."""
    path: str
    """What stands between kind and split; empty for those that are built in."""
    split: str | None
    """The split, if one is named."""

    @property
    def whole(self) -> str:
        """The data set without its split."""
        return f"{self.kind}:{self.path}" if self.path else self.kind

    def of_split(self, split: str | None) -> str:
        """Return the name of one of its splits."""
        return self.whole if split is None else f"{self.whole}:{split}"


def parse_spec(text: str) -> Spec:
    """Return the parts of a data set's name.

    The last colon begins a split, unless the path is there with it, or what follows it has a slash.

    Raises:
        InputError: there is no such data set or format, or the path is missing.
    """
    kind, colon, rest = text.partition(":")
    if kind in BUILT_IN:
        return Spec(kind, "", rest or None)
    if kind not in FORMATS:
        raise InputError(f"unknown data set '{kind}'; the data sets are {', '.join(DATASETS)}")
    path, colon, split = rest.rpartition(":")
    is_path = "/" in split or "\\" in split or split in (".", "..") or Path(_last_path(kind, rest)).exists()
    if not colon or not path or is_path:
        path, split = rest, ""
    if not path:
        raise InputError(f"'{text}' names no path; write {kind}:{FORMATS[kind][0]}")
    return Spec(kind, path, split or None)


def coco_paths(path: str) -> tuple[Path, Path]:
    """Return the folder of pictures and the JSON file of `IMAGES,FILE.json`; either may have commas in it.

    Raises:
        InputError: there is no comma.
    """
    parts = path.split(",")
    pairs = [(",".join(parts[:i]), ",".join(parts[i:])) for i in range(1, len(parts))]
    pairs = [pair for pair in pairs if all(pair)]
    if not pairs:
        raise InputError(
            f"coco:{path}: write coco:IMAGES,FILE.json, the folder of the pictures and the file of the boxes"
        )
    images, file = next((pair for pair in pairs if Path(pair[1]).is_file()), pairs[-1])
    return Path(images), Path(file)


def validation_spec(data: str, val_data: str = "") -> str | None:
    """Return the validation images of a run, or None if they cannot be told.

    Args:
        data: what it trained on; without a split, or as version 0.1.0 wrote it: with the split `train`.
        val_data: what it was validated on, if that was said.
    """
    if val_data or not data:
        return val_data or None
    spec = parse_spec(data)
    return spec.of_split("val") if spec.split in (None, "train") and spec.kind not in UNDIVIDED else None


def _last_path(kind: str, path: str) -> str:
    return str(coco_paths(path)[1]) if kind == "coco" and "," in path else path
