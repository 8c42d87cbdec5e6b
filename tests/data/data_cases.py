"""Small datasets, each written by hand as its format's documentation says, not by the code under test."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "zebra")
SIDES = ("xmin", "ymin", "xmax", "ymax")


class Made(NamedTuple):
    """An image of a dataset: its size, and its objects as class, corners in pixels, and a mark to ignore it."""

    width: int
    height: int
    objects: list[tuple[int, tuple[float, float, float, float], bool]]


PICTURES = {
    "an image, with spaces": Made(40, 30, [(0, (1, 2, 21, 17), False), (1, (0, 0, 40, 30), False)]),
    "b.with.dots": Made(30, 50, [(2, (3.25, 4.5, 19.75, 44.125), False), (1, (5, 6, 7, 9), True)]),
    "c": Made(64, 64, []),
}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(256, size=(height // 2 + 1, width // 2 + 1, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def png(width: int, height: int, seed: int = 0) -> bytes:
    file = io.BytesIO()
    noise(width, height, seed).save(file, "PNG")
    return file.getvalue()


def voc_xml(objects: str, size: tuple[int, int] = (40, 30)) -> str:
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}</annotation>"


def voc_object(name: str, *corners: object, more: str = "") -> str:
    box = "".join(f"<{side}>{value}</{side}>" for side, value in zip(SIDES, corners, strict=True))
    return f"<object><name>{name}</name><bndbox>{box}</bndbox>{more}</object>"


def write_voc(folder: Path, annotations: dict[str, str], splits: dict[str, str] | None = None) -> Path:
    """A VOC folder: the XML of each image of 40 x 30 pixels, and the text of each list."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for i, (stem, text) in enumerate(annotations.items()):
        (folder / "Annotations" / f"{stem}.xml").write_text(text, encoding="utf-8")
        noise(40, 30, i).save(folder / "JPEGImages" / f"{stem}.jpg")
    for split, text in (splits or {"train": "".join(f"{stem}\n" for stem in annotations)}).items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(text, encoding="utf-8")
    return folder


def write_coco(folder: Path, **changes: object) -> str:
    """A COCO dataset of two images and three objects, some of its JSON changed; returns its name."""
    (folder / "pictures").mkdir(parents=True)
    for i, name in enumerate(("one.jpg", "two.jpg")):
        noise(40, 30, i).save(folder / "pictures" / name)
    content: dict[str, object] = {
        "images": [
            {"id": 7, "file_name": "one.jpg", "width": 40, "height": 30},
            {"id": 9, "file_name": "two.jpg", "width": 40, "height": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 20, 15], "area": 300, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 18, "bbox": [0, 0, 40, 30], "area": 1200, "iscrowd": 0},
            {"id": 3, "image_id": 9, "category_id": 3, "bbox": [5.5, 6.25, 10, 10], "area": 100, "iscrowd": 1},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 20, "name": "zebra"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content | changes))
    return f"coco:{folder / 'pictures'},{folder / 'boxes.json'}"


def write_yolo(folder: Path, labels: dict[str, str | None], names: str | None = "names: [cat, dog, zebra]\n") -> Path:
    """A YOLO folder with a train split: the label file of each image of 40 x 30 pixels."""
    for part in ("images/train", "labels/train"):
        (folder / part).mkdir(parents=True)
    for i, (stem, text) in enumerate(labels.items()):
        noise(40, 30, i).save(folder / "images" / "train" / f"{stem}.png")
        if text is not None:
            (folder / "labels" / "train" / f"{stem}.txt").write_text(text)
    if names is not None:
        (folder / "data.yaml").write_text(names)
    return folder
