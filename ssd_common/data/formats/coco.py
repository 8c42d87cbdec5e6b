"""COCO: a folder of pictures, and one JSON file with `images`, `annotations` and `categories`.

Class ids count the categories in the order of their ids.

Source of the format: https://cocodataset.org/#format-data, "Object Detection".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from ssd_common.data.formats.annotations import (
    AnnotatedSet,
    BadObjectError,
    Box,
    Opened,
    Picture,
    Problem,
    annotate,
    read_box,
    read_rows,
)
from ssd_common.data.formats.class_names import checked_class_names, clean_name
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

BBOX = ("x", "y", "width", "height")
DECIMALS = 9  # of a pixel: what adding and subtracting changes is beyond them
KEPT = ("id", "image_id", "category_id", "bbox", "iscrowd", "area")
SAYS_NOTHING: tuple[object, ...] = (None, 0, "", [], {})


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


def open_coco(images: Path, file: Path) -> Opened:
    """Return a COCO data set; see `read_coco`."""
    return Opened((), lambda split, name: read_coco(images, file, name))


def read_coco(images: Path, file: Path, name: str) -> AnnotatedSet:
    """Return a COCO data set as its files have it.

    Args:
        images: the folder that its `file_name`s are in.
        file: the JSON file.
        name: what to call the set.

    Raises:
        InputError: a path is missing, or the file does not hold a COCO data set.
    """
    content = _load(file)
    if not images.is_dir():
        raise InputError(f"{images}: no such folder; it must have the pictures that {file} names")
    class_names, class_ids = _read_categories(content["categories"], file)
    problems: list[Problem] = []
    pictures: dict[Any, tuple[int, dict[str, Any]]] = {}
    first: dict[str, int] = {}
    for number, item in enumerate(content["images"], start=1):
        place = f"image {number}"
        picture_id, file_name = item.get("id"), item.get("file_name")
        if not _is_id(picture_id) or not isinstance(file_name, str) or not file_name:
            problems.append(Problem(file.name, place, _short(item), "no id or no file_name"))
        elif picture_id in pictures:
            reason = f"duplicate image id, the same as image {pictures[picture_id][0]}"
            problems.append(Problem(file.name, place, f"id {picture_id}", reason))
        elif file_name in first:
            problems.append(
                Problem(file.name, place, file_name, f"duplicate picture, the same as image {first[file_name]}")
            )
        else:
            pictures[picture_id] = (number, item)
            first[file_name] = number
    objects, strays, lost = _by_picture(content["annotations"], list(pictures), file.name)
    read = partial(_read_object, class_ids)
    annotations = []
    for picture_id, (_, item) in pictures.items():
        rows, bad = read_rows(objects.pop(picture_id), read, file.name, "annotation")
        image, size = images / item["file_name"], _size(item)
        annotations.append(
            annotate(image, item["file_name"], file.name, rows, bad, noun="annotation", header_size=size)
        )
    return AnnotatedSet(name, class_names, annotations, tuple(problems), tuple(strays), lost)


def _load(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; write coco:IMAGES,FILE.json") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not a readable JSON file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: a {type(content).__name__}, not a COCO data set with images, annotations, categories"
        )
    for key in ("images", "annotations", "categories"):
        items = content.get(key)
        if not isinstance(items, list):
            what = f"'{key}' is a {type(items).__name__}, not a list" if key in content else f"no '{key}'"
            raise InputError(f"{file}: {what}; a COCO data set has images, annotations and categories")
        for number, item in enumerate(items, start=1):
            if not isinstance(item, dict):
                raise InputError(f"{file}: {key}: item {number} is {_short(item)}, not an object with fields")
    return cast("dict[str, list[dict[str, Any]]]", content)


def _read_categories(categories: list[dict[str, Any]], file: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """The class names, and the class id of each category id."""
    for item in categories:
        if not isinstance(item.get("id"), int) or not isinstance(item.get("name"), str):
            raise InputError(f"{file}: category {_short(item)} needs an id, a whole number, and a name")
    ordered = sorted(categories, key=lambda item: item["id"])
    names = checked_class_names([clean_name(item["name"]) for item in ordered], f"{file}: categories")
    class_ids = {item["id"]: i for i, item in enumerate(ordered)}
    if len(class_ids) < len(ordered):
        raise InputError(f"{file}: categories: an id is given twice; number them anew")
    return names, class_ids


def _by_picture(
    items: list[dict[str, Any]], picture_ids: Iterable[Any], file: str
) -> tuple[dict[Any, list[tuple[int, dict[str, Any]]]], list[Problem], frozenset[str]]:
    """The annotations of each picture with their numbers, those of no picture, and the names of what is not read."""
    objects: dict[Any, list[tuple[int, dict[str, Any]]]] = {picture_id: [] for picture_id in picture_ids}
    strays = []
    lost: set[str] = set()
    for position, item in enumerate(items, start=1):
        number = item["id"] if _is_id(item.get("id")) and isinstance(item["id"], int) else position
        picture_id = item.get("image_id")
        if _is_id(picture_id) and picture_id in objects:
            objects[picture_id].append((number, item))
        else:
            strays.append(
                Problem(
                    file,
                    f"annotation {number}",
                    f"image_id {_short(picture_id)}",
                    "missing picture, no image has this id",
                )
            )
        lost.update(key for key, value in item.items() if key not in KEPT and value not in SAYS_NOTHING)
    return objects, strays, frozenset(lost)


def _read_object(class_ids: Mapping[int, int], item: Mapping[str, Any]) -> tuple[int, Box, bool]:
    category_id, bbox = item.get("category_id"), item.get("bbox")
    if not isinstance(category_id, int) or category_id not in class_ids:
        raise BadObjectError(f"category_id {_short(category_id)}", "unknown class")
    if not isinstance(bbox, list):
        raise BadObjectError(f"bbox {_short(bbox)}", "no box, not a list of four numbers")
    x, y, width, height = read_box(bbox, BBOX)
    box = (x, y, round(x + width, DECIMALS), round(y + height, DECIMALS))
    return class_ids[category_id], box, item.get("iscrowd") in (1, True)


def _size(item: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = item.get("width"), item.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) and width and height else None


def _is_id(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def write_coco(images: Path, file: Path, class_names: Sequence[str], pictures: Iterable[Picture]) -> None:
    """Write a COCO data set; an object that is ignored becomes a crowd.

    Args:
        images: the folder for the pictures.
        file: the JSON file.
        class_names: of class ids 0, 1, …, whose categories have the ids 1, 2, ….
        pictures: what it has.
    """
    images.mkdir(parents=True, exist_ok=True)
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": i, "name": name} for i, name in enumerate(class_names, start=1)]
    for image_id, picture in enumerate(pictures, start=1):
        picture.copy_to(images)
        size = {"width": picture.width, "height": picture.height}
        content["images"].append({"id": image_id, "file_name": picture.name, **size})
        for class_id, box, crowd in zip(picture.class_ids, picture.boxes.tolist(), picture.ignored, strict=True):
            x, y = box[:2]
            width, height = round(box[2] - x, DECIMALS), round(box[3] - y, DECIMALS)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": int(class_id) + 1,
                    "bbox": [x, y, width, height],
                    "area": round(width * height, DECIMALS),
                    "iscrowd": int(crowd),
                }
            )
    write_atomically(file, json.dumps(content, ensure_ascii=False).encode())
