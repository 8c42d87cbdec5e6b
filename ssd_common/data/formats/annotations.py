"""What the files of a dataset say about its images, before any of it is believed.

Each format has a reader (`voc`, `coco`, `yolo`, `records`, `bananas`) that returns an `AnnotatedSet`: where each
image is, and its objects as they are written, each with its place, so that whatever is wrong can be named. What is
right of them, `objects` decides.

Corners are edges: pixel 0 reaches from 0 to 1. A file's numbers are taken as they stand, also those of Pascal VOC,
whose own set counts from 1: what labels images today counts from 0. Boxes refer to the upright image, which is the
one that annotation tools show, and to the size of the image itself, whatever the annotation says that its size is.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ssd_common.output.console import visible

Box = tuple[float, float, float, float]
T = TypeVar("T")

SIDES = ("xmin", "ymin", "xmax", "ymax")
MAX_VALUE, MAX_PART = 80, 300  # characters of a wrong value in a message, and of any part of it


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text that is too long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class Problem(NamedTuple):
    """One thing that is wrong in a dataset."""

    file: str
    """The file that says it, or that is missing."""
    object: str
    """Which object or line of it; empty for the file as a whole."""
    value: str
    """What stands there."""
    reason: str
    """What is wrong with that: the kind of mistake, then, after a comma, more."""

    @property
    def kind(self) -> str:
        """What a summary counts it under."""
        return self.reason.partition(",")[0]

    def __str__(self) -> str:
        return visible(": ".join(shortened(part, MAX_PART) for part in self if part))


class BadObjectError(Exception):
    """An object that cannot be read: the value and what is wrong with it."""

    def __init__(self, value: object, reason: str) -> None:
        self.value, self.reason = shortened(str(value), MAX_VALUE), reason
        super().__init__(self.value, reason)


class Row(NamedTuple):
    """One object as a file has it."""

    number: int
    """Which object, line or annotation of the file."""
    class_id: int
    box: Box
    """xmin, ymin, xmax, ymax; in pixels or fractions, see `Annotation.fractions`."""
    ignored: bool = False
    """Marked as difficult or as a crowd: not to be trained on, neither found nor missed in evaluation."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One image and what a file says about its objects."""

    image: Path | bytes
    """The image file, or its content."""
    image_name: str
    """What a copy of the image is named after."""
    file: str
    """Where the objects are written, for messages."""
    noun: str
    """What the file has one of for each object: "object", "line", "annotation"."""
    numbers: NDArray[np.int64]
    """Which of them each object is, `(n,)`."""
    class_ids: NDArray[np.int64]
    """`(n,)`."""
    boxes: NDArray[np.floating]
    """Corners `(n, 4)`, xmin, ymin, xmax, ymax, in the precision that the format stores."""
    ignored: NDArray[np.bool_]
    """Which are marked as difficult or as a crowd, `(n,)`."""
    fractions: bool
    """Whether the corners are fractions of the image's sides, or pixels."""
    header_size: tuple[int, int] | None
    """Width and height of the image as the file gives them, if it does."""
    problems: tuple[Problem, ...]
    """Its objects that could not be read."""
    lost: frozenset[str]
    """What the file says and this does not hold, such as "truncated"."""

    @property
    def image_label(self) -> str:
        """What messages call the image."""
        return str(self.image) if isinstance(self.image, Path) else self.file

    def place(self, index: int) -> str:
        """Return what messages call an object: "object 3"."""
        return f"{self.noun} {self.numbers[index]}"


class Picture(NamedTuple):
    """One image with its good objects, to be written in any format."""

    name: str
    """File name; no other image has the same one, not even with another extension."""
    image: Path | bytes
    height: int
    """Of the upright image, in pixels."""
    width: int
    class_ids: NDArray[np.int64]
    """`(n,)`."""
    boxes: NDArray[np.float64]
    """Corners `(n, 4)` in pixels."""
    ignored: NDArray[np.bool_]
    """`(n,)`."""

    @property
    def stem(self) -> str:
        """The name without extension."""
        return Path(self.name).stem

    def copy_to(self, folder: Path) -> None:
        """Write the image into a folder, byte for byte."""
        if isinstance(self.image, Path):
            shutil.copyfile(self.image, folder / self.name)
        else:
            (folder / self.name).write_bytes(self.image)


class Annotations(Protocol):
    """A list of annotations; reading an item may raise InputError where the file is read only then."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Annotation: ...


@dataclass(frozen=True)
class AnnotatedSet:
    """A split of a dataset as its files have it."""

    name: str
    """What it is called: "voc:DIR:train"."""
    class_names: tuple[str, ...]
    annotations: Annotations
    """One an image."""
    problems: tuple[Problem, ...] = ()
    """What keeps it from being trained on, such as an image that is missing."""
    strays: tuple[Problem, ...] = ()
    """Objects of no image."""
    doubts: tuple[Problem, ...] = ()
    """What is taken as it stands, though it may well be wrong."""


class Opened(NamedTuple):
    """A dataset whose files were found."""

    splits: tuple[str, ...]
    """Empty where it is not divided."""
    read: Callable[[str, str], AnnotatedSet]
    """Takes a split, any if it is not divided, and what to call it; raises InputError for files not of the format."""
    repeated: frozenset[str] = frozenset()
    """The splits whose images are all in the others."""


def read_rows(
    items: Iterable[tuple[int, T]], read: Callable[[T], tuple[int, Box, bool]], file: str, noun: str
) -> tuple[list[Row], list[Problem]]:
    """Return the objects of a file that can be read, and those that cannot.

    Args:
        items: number and raw content of each.
        read: returns class id, box and whether the object is to be ignored; raises BadObjectError.
        file: for messages.
        noun: as in `Annotation`.
    """
    rows, problems = [], []
    for number, item in items:
        try:
            rows.append(Row(number, *read(item)))
        except BadObjectError as bad:
            problems.append(Problem(file, f"{noun} {number}", bad.value, bad.reason))
    return rows, problems


def read_box(values: Sequence[object], names: Sequence[str] = SIDES) -> Box:
    """Return four finite numbers; raise BadObjectError with the name of the first that is none."""
    first, second, third, fourth = read_numbers(values, names)
    return first, second, third, fourth


def read_numbers(values: Sequence[object], names: Sequence[str]) -> list[float]:
    """Return finite numbers, as many as names; raise BadObjectError with the name of the first that is none."""
    if len(values) != len(names):
        raise BadObjectError(
            list(values), f"wrong number of values, {len(values)} where {' '.join(names)} are expected"
        )
    for name, value in zip(names, values, strict=True):
        if value is None:
            raise BadObjectError(name, "missing number")
        try:
            if isinstance(value, bool) or (isinstance(value, str) and ("_" in value or not value.isascii())):
                raise TypeError  # to Python 0_5 is 5, and a digit may be an Arabic one
            finite = math.isfinite(float(value))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            hint = ", write it with a point" if isinstance(value, str) and "," in value else ""
            raise BadObjectError(f"{name} {str(value)[:40]!r}", f"not a number{hint}") from None
        if not finite:
            raise BadObjectError(f"{name} {value}", "not a finite number")
    return [float(value) for value in values]  # type: ignore[arg-type]


def read_flag(value: object, name: str) -> bool:
    """Return whether an object is marked, as "difficult" or "iscrowd"; raise BadObjectError for neither yes nor no."""
    word = str(value).strip().lower()
    if word in ("1", "1.0", "true", "yes"):
        return True
    if value is None or word in ("", "0", "0.0", "false", "no", "unspecified"):
        return False
    raise BadObjectError(f"{name} {word}", "neither 0 nor 1")


def annotate(
    image: Path | bytes,
    image_name: str,
    file: str,
    rows: Sequence[Row],
    problems: Sequence[Problem] = (),
    *,
    noun: str = "object",
    fractions: bool = False,
    dtype: type[np.floating] = np.float64,
    header_size: tuple[int, int] | None = None,
    lost: Iterable[str] = (),
) -> Annotation:
    """Return an `Annotation` of these rows; the other arguments are its fields."""
    return Annotation(
        image,
        image_name,
        file,
        noun,
        np.array([row.number for row in rows], np.int64 if all(abs(row.number) < 2**63 for row in rows) else object),
        np.array([row.class_id for row in rows], np.int64),
        np.array([row.box for row in rows], dtype).reshape(-1, 4),
        np.array([row.ignored for row in rows], bool),
        fractions,
        header_size,
        tuple(problems),
        frozenset(lost),
    )
