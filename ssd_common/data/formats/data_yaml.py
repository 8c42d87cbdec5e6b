"""The file `data.yaml` of a YOLO dataset: what its classes are called, and what else its labels depend on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ssd_common.data.formats.class_names import checked_class_names, clean_name
from ssd_common.data.formats.files import read_text
from ssd_common.errors import InputError, one_line

YAML = "data.yaml"
MAX_YAML, MAX_DEPTH = 1 << 20, 100  # characters, and lists in lists
AS_NAMES = "write names: [cat, dog], or a table from 0 on, a line '  0: cat' each"


class Entry(NamedTuple):
    """What stands behind a name at the top of a YAML file."""

    kind: str
    """"text", "list" or "table"."""
    items: list[str | None]
    """Its words as they are written, of a table each key and value; None for what is not a word."""


Top = Mapping[str, Entry]


def read_yaml(path: Path) -> Top | None:
    """Return the top of a YAML file, None if there is none.

    No word is made into anything: to YAML, 010 is 8, 1.10 is 1.1, 12:30 is 750, yes is true and 2024-02-30 an error.

    Raises:
        InputError: it is not YAML, or has something twice.
    """
    import yaml

    top: dict[str, Entry] = {}
    entry: Entry | None = None
    key: str | None = None
    depth = 0
    try:
        text = read_text(path)
        if len(text) > MAX_YAML:
            raise OSError(f"more than {MAX_YAML:,} characters")
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.NodeEvent):
                word = event.value if isinstance(event, yaml.ScalarEvent) else None
                word = f"*{event.anchor}" if isinstance(event, yaml.AliasEvent) and depth == 1 else word
                if depth == 1 and key is None:
                    key = str(word)
                    if key in top:
                        raise OSError(f"{key[:40]!r} is given twice")
                elif depth == 1 and key is not None:
                    kinds = {yaml.SequenceStartEvent: "list", yaml.MappingStartEvent: "table"}
                    entry = top[key] = Entry(kinds.get(type(event), "text"), [word][: word is not None])
                    key = None
                elif depth == 2 and entry is not None:
                    entry.items.append(word)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:  # of which a parser takes a time that grows with its square
                    raise OSError(f"nested more than {MAX_DEPTH} deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.DocumentStartEvent) and top:
                raise OSError(f"more than one document, the second begins in line {event.start_mark.line + 1}")
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not a readable YAML file ({one_line(error)}): correct it") from error
    return top


def read_names(path: Path) -> tuple[str, ...] | None:
    """Return the class names in a `data.yaml`, None if there is no such file; see `class_names_of`."""
    top = read_yaml(path)
    return None if top is None else class_names_of(top, path)


def class_names_of(top: Top, path: Path) -> tuple[str, ...]:
    """Return the class names in a `data.yaml`.

    Raises:
        InputError: it has no `names` in it, a list, or a table from 0 on; or has not as many as `nc` says.
    """
    kind, items = top.get("names", Entry("", []))
    names = items
    if kind == "table":
        named = dict(zip(items[::2], items[1::2], strict=True))
        names = [named.get(str(i)) for i in range(len(items) // 2)]
    if kind not in ("list", "table") or None in names:
        word = " ".join(map(str, items))[:40]
        text = f"its 'names' are the text {word!r}" if word else "its 'names' are empty"
        hint = "a name with a colon needs quotation marks, and an alias, such as *a, is to be written out"
        listed = f"its 'names' are a list that is not of names: {hint}"
        found = {"": "no 'names' in it", "text": text, "list": listed}
        what = found.get(kind, f"its 'names' are a {kind} that is not of names from 0 on, each once")
        raise InputError(f"{path}: {what}; {AS_NAMES}")
    class_names = checked_class_names([clean_name(name) for name in names if name is not None], f"{path}: names")
    count = " ".join(map(str, top.get("nc", Entry("", [])).items))
    if count and not re.fullmatch(rf"0*{len(class_names)}(\.0*)?", count):
        raise InputError(f"{path}: nc is {count[:40]}, but 'names' has {len(class_names)}: correct one of them")
    return class_names


def num_keypoints_of(top: Top, path: Path) -> int | None:
    """Return how many numbers of keypoints are behind each box; None if the labels are no poses.

    Raises:
        InputError: `kpt_shape` is not two whole numbers.
    """
    shape = top.get("kpt_shape")
    if shape is None:
        return None
    if len(shape.items) != 2 or not all(text and text.isdecimal() and len(text) < 5 for text in shape.items):
        raise InputError(f"{path}: kpt_shape is not two whole numbers: write it as [17, 3]")
    return math.prod(int(text) for text in shape.items if text)


def other_paths(top: Top, split: str, *images: PurePosixPath) -> list[str]:
    """Return where a `data.yaml` says that the images of a split are, except for places that end as one of `images`."""
    base = "/".join(text or "" for text in top.get("path", Entry("", [])).items)
    paths = [text or "" for text in top.get(split, Entry("", [])).items]

    def known(text: str) -> bool:
        parts = PurePosixPath(base, text.replace("\\", "/")).parts
        return any(parts[-len(place.parts) :] == place.parts for place in images)

    return [text for text in paths if text.lower() not in ("", "~", "null") and not known(text)]
