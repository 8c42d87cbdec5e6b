"""COCO: a folder of images, and one JSON file with `images`, `annotations` and `categories`.

Class ids count the categories in the order of their ids; those with one name are one class.

Source of the format: https://cocodataset.org/#format-data, "Object Detection".
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
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
    read_flag,
    read_rows,
)
from ssd_common.data.formats.class_names import checked_class_names, clean_name
from ssd_common.data.formats.files import elsewhere, files_below, lies_outside, normal, read_bytes, rough
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

BBOX = ("x", "y", "width", "height")
DECIMALS = 9  # of a pixel: what adding and subtracting changes is beyond them
KEPT = ("id", "image_id", "category_id", "bbox", "iscrowd", "ignore", "area")
KEPT_OF_IMAGE = ("id", "file_name", "width", "height")
MAX_JSON = 1 << 31  # bytes; the largest of COCO's own has a quarter of that
SAYS_NOTHING: tuple[object, ...] = (None, 0, "", [], {})


def coco_paths(path: str) -> tuple[Path, Path]:
    """Return the folder of images and the JSON file of `IMAGES,FILE.json`; either may have commas in it.

    Raises:
        InputError: there is no comma.
    """
    parts = path.split(",")
    pairs = [(",".join(parts[:i]), ",".join(parts[i:])) for i in range(1, len(parts))]
    pairs = [pair for pair in pairs if all(pair)]
    if not pairs:
        raise InputError(
            f"coco:{path}: write coco:IMAGES,FILE.json, the folder of the images and the file of the boxes"
        )
    images, file = next((pair for pair in pairs if Path(pair[1]).is_file()), pairs[-1])
    return Path(images), Path(file)


def open_coco(images: Path, file: Path, allow_outside: bool) -> Opened:
    """Return a COCO dataset, see `read_coco`; raise InputError if there is no folder of images."""
    if not images.is_dir():
        what = "a file, not a folder" if images.exists() else "no such folder"
        raise InputError(f"{images}: {what}; it must have the images that {file} names{elsewhere(images)}")
    return Opened((), lambda split, name: read_coco(images, file, name, allow_outside))


def read_coco(images: Path, file: Path, name: str, allow_outside: bool = False) -> AnnotatedSet:
    """Return a COCO dataset as its files have it.

    Args:
        images: the folder that its `file_name`s are in.
        file: the JSON file.
        name: what to call the set.
        allow_outside: read an image that is named outside of the folder, too.

    Raises:
        InputError: the file is missing, or does not hold a COCO dataset.
    """
    content = _load(file)
    class_names, class_ids = _read_categories(content["categories"], file)
    find = _Pictures(images, allow_outside)
    problems: list[Problem] = []
    pictures: dict[int | str, tuple[str, Path | None, dict[str, Any]]] = {}
    first: dict[Path, str] = {}
    for number, item in enumerate(content["images"], start=1):
        place = f"image {number}"
        picture_id, file_name = _id(item.get("id")), item.get("file_name")
        if picture_id is None or not isinstance(file_name, str) or not file_name:
            problems.append(Problem(file.name, place, _short(item), "no id or no file_name"))
            if picture_id is not None:  # its annotations are not told as well
                pictures.setdefault(picture_id, (place, None, item))
        elif picture_id in pictures:
            reason = f"duplicate image id, the same as {pictures[picture_id][0]}"
            problems.append(Problem(file.name, place, f"id {picture_id}", reason))
        else:
            image, reason = find(file_name)
            other = first.setdefault(image or Path(file_name), place)
            if other != place:
                image, reason = None, f"duplicate image, the same as {other}"
            pictures[picture_id] = (place, image, item)
            if image is None:
                problems.append(Problem(file.name, place, file_name, reason))
    objects, strays = _by_picture(content["annotations"], pictures, file.name)
    read = partial(_read_object, class_ids)
    annotations = []
    for picture_id, (_, image, item) in pictures.items():
        items = objects.pop(picture_id)
        if image is None:
            continue
        rows, bad = read_rows(items, read, file.name, "annotation")
        lost = {key for key, value in item.items() if key not in KEPT_OF_IMAGE and value not in SAYS_NOTHING}
        for _, entry in items:
            lost |= {key for key, value in entry.items() if key not in KEPT and value not in SAYS_NOTHING}
        size = _size(item)
        annotations.append(
            annotate(image, item["file_name"], file.name, rows, bad, noun="annotation", header_size=size, lost=lost)
        )
    doubts = _unused_roots(content, file.name)
    return AnnotatedSet(name, class_names, annotations, tuple(problems), tuple(strays), tuple(doubts))


def _unused_roots(content: Mapping[str, list[dict[str, Any]]], file: str) -> list[Problem]:
    """The categories that are there for the sake of those below them, as Roboflow exports one, and are classes here."""
    above = {str(root) for item in content["categories"] if (root := item.get("supercategory")) != item["name"]}
    roots = [item for item in content["categories"] if item["name"] in above]
    used = {_id(item.get("category_id")) for item in content["annotations"]} if roots else set()
    reason = "category without objects, it is the supercategory of others, and a class all the same"
    return [Problem(file, f"category {i['id']}", i["name"], reason) for i in roots if _id(i["id"]) not in used]


class _Pictures:
    """Finds the images that a file names in their folder."""

    def __init__(self, folder: Path, allow_outside: bool) -> None:
        self._folder, self._allow_outside = folder, allow_outside

    @cached_property
    def _by_normal_name(self) -> dict[str, Path]:
        return {normal(path.relative_to(self._folder).as_posix()): path for path in files_below(self._folder)}

    @cached_property
    def _by_rough_name(self) -> dict[str, str]:
        return {rough(name): name for name in self._by_normal_name}

    def __call__(self, name: str) -> tuple[Path | None, str]:
        """Return the path of an image; None where it cannot be used, and why."""
        path = self._folder / os.path.normpath(name)
        if lies_outside(name) and not self._allow_outside:
            reason = f"outside the folder of the images, {self._folder}: --allow-outside of tinyssd data reads it"
            return None, reason
        if not os.path.exists(path):  # False for a name that no file can have
            slashed = name.replace("\\", "/")
            if not lies_outside(slashed) or self._allow_outside:
                path = self._by_normal_name.get(normal(slashed), self._folder / slashed)
        if os.path.exists(path):
            return (path, "") if path.is_file() else (None, "not a file, but a folder, a pipe or a device")
        hint = ", in which the backslashes of Windows are taken for slashes" if "\\" in name else ""
        if os.path.islink(path):
            return None, "missing image, it is a link that leads nowhere"
        if os.path.isfile(self._folder.parent / name) and not lies_outside(name):
            hint += f", but in {self._folder.parent}: name that folder"
        elif like := self._by_rough_name.get(rough(name)):
            hint += f", but {like}"
        return None, f"missing image, there is no such file in {self._folder}{hint}"


def _load(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        text = read_bytes(file, MAX_JSON)
        if not text.strip():
            raise ValueError("it is empty")
        content = json.loads(text, object_pairs_hook=_table)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; write coco:IMAGES,FILE.json") from None
    except (OSError, ValueError, RecursionError) as error:
        reason, hint = str(error), "" if isinstance(error, OSError) else ": export it again"
        if isinstance(error, UnicodeDecodeError):
            reason, hint = f"byte {error.start + 1} is not UTF-8", ": save the file as UTF-8"
        elif "int_max_str_digits" in reason:  # Python's advice is none for a user
            reason = "a number has thousands of digits"
        raise InputError(f"{file}: not a readable JSON file ({reason}){hint}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise InputError(f"{file}: a {kind}, not a COCO dataset: name the file with images, annotations and categories")
    for key in ("images", "annotations", "categories"):
        items = content.get(key)
        if not isinstance(items, list):
            what = f"'{key}' is a {type(items).__name__}, not a list" if key in content else f"no '{key}'"
            raise InputError(f"{file}: {what}; a COCO dataset has images, annotations and categories")
        for number, item in enumerate(items, start=1):
            if not isinstance(item, dict):
                raise InputError(f"{file}: {key}: item {number} is {_short(item)}, not an object with fields")
    return cast("dict[str, list[dict[str, Any]]]", content)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What stands between braces; json takes the last of what is given twice, and drops the first."""
    table = dict(pairs)
    if len(table) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{counts.most_common(1)[0][0][:40]!r} is given twice")
    return table


def _read_categories(categories: list[dict[str, Any]], file: Path) -> tuple[tuple[str, ...], dict[int | str, int]]:
    """The class names, and the class id of each category id; categories of one name are one class."""
    by_id: dict[int, str] = {}
    for item in categories:
        category_id, name = _id(item.get("id")), item.get("name")
        if not isinstance(category_id, int) or not isinstance(name, str):
            raise InputError(f"{file}: category {_short(item)} needs an id, a whole number, and a name")
        if category_id in by_id:
            raise InputError(f"{file}: categories: an id is given twice, {category_id}; number them anew")
        by_id[category_id] = clean_name(name)
    used = dict.fromkeys(by_id[category_id] for category_id in sorted(by_id))
    names = checked_class_names(list(used), f"{file}: categories")
    place = {name: i for i, name in enumerate(names)}
    return names, {category_id: place[name] for category_id, name in by_id.items()}


def _by_picture(
    items: list[dict[str, Any]], picture_ids: Iterable[Any], file: str
) -> tuple[dict[Any, list[tuple[int, dict[str, Any]]]], list[Problem]]:
    """The annotations of each image with their numbers, and those of no image."""
    objects: dict[Any, list[tuple[int, dict[str, Any]]]] = {picture_id: [] for picture_id in picture_ids}
    strays = []
    for position, item in enumerate(items, start=1):
        number = _id(item.get("id"))
        number = number if isinstance(number, int) else position
        picture_id = _id(item.get("image_id"))
        if picture_id is not None and picture_id in objects:
            objects[picture_id].append((number, item))
        else:
            value = f"image_id {_short(item.get('image_id'))}"
            strays.append(Problem(file, f"annotation {number}", value, "missing image, no image has this id"))
    return objects, strays


def _read_object(class_ids: Mapping[int | str, int], item: Mapping[str, Any]) -> tuple[int, Box, bool]:
    category_id, bbox = _id(item.get("category_id")), item.get("bbox")
    if category_id is None or category_id not in class_ids:
        raise BadObjectError(f"category_id {_short(item.get('category_id'))}", "unknown class")
    if not isinstance(bbox, list):
        raise BadObjectError(f"bbox {_short(bbox)}", "no box, not a list of four numbers")
    x, y, width, height = read_box(bbox, BBOX)
    box = (x, y, round(x + width, DECIMALS), round(y + height, DECIMALS))
    ignored = [read_flag(item.get(name), name) for name in ("iscrowd", "ignore")]
    return class_ids[category_id], box, any(ignored)


def _id(value: object) -> int | str | None:
    """A number or a text that identifies something; 1.0 and "1" are the number 1. None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and (value == "0" or value[0] != "0"):
        return int(value) if len(value) < 20 else value
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _size(item: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = _id(item.get("width")), _id(item.get("height"))
    return (width, height) if isinstance(width, int) and isinstance(height, int) and width and height else None


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def write_coco(images: Path, file: Path, class_names: Sequence[str], pictures: Iterable[Picture]) -> None:
    """Write a COCO dataset; an object that is ignored becomes a crowd.

    Args:
        images: the folder for the images.
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
