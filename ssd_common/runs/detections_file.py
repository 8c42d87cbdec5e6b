"""The file `detections.jsonl`: a line for the objects in each image, so that a prediction that was stopped goes on.

The first line says what the detections depend on. Where an image has several lines, the last one counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from textwrap import indent
from typing import Any, BinaryIO, NamedTuple

from ssd_common.errors import InputError
from ssd_common.output.atomic import naming, open_atomically
from ssd_common.output.lock import locked

NAME = "detections.jsonl"
FORMAT = "tinyssd-detections-1"

Version = tuple[int, ...]
"""What tells an image file from an earlier one of its name: its bytes, and its modification time in nanoseconds."""


class _Entry(NamedTuple):
    """What is kept in memory of an image's line."""

    start: int
    """The line's first byte."""
    drawn: str
    """File name of the drawn image, beside this file."""
    version: Version | None
    """Of the image file."""


class DetectionsFile:
    """The lines that are there already, and those to be added; a context manager that is the folder's one writer.

    Args:
        folder: where the file is, or will be.
        settings: what the detections depend on, as plain values.

    Raises:
        InputError: on entering: the file was written with other settings, is another kind of file, or is being
            written by another process.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.path = folder / NAME
        self._settings = {"format": FORMAT, **settings}
        self._entries: dict[str, _Entry] = {}
        self._end = 0  # of the last whole line
        self._file: BinaryIO | None = None
        self._locked = False
        self._closing = ExitStack()

    def __enter__(self) -> DetectionsFile:
        with ExitStack() as stack:
            if self.path.parent.is_dir():
                self._lock(stack)
            if self.path.exists():
                self._read()
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.close()

    def _lock(self, stack: ExitStack) -> None:
        """Be the folder's one writer, until the stack is closed, and take away what a writer that was killed left."""
        stack.enter_context(locked(self.path.parent))
        self._locked = True
        for stale in self.path.parent.glob(".detections.json.*.tmp"):
            stale.unlink()

    def has(self, image: str) -> bool:
        """Whether an image is done: it has a line, has not changed since, and is drawn."""
        entry = self._entries.get(image)
        if entry is None or entry.version != file_version(image):
            return False
        return os.path.isfile(os.path.join(self.path.parent, entry.drawn))

    def drawn_names(self) -> dict[str, str]:
        """Return the file name of the drawn image by the image's path, of every line."""
        return {image: entry.drawn for image, entry in self._entries.items()}

    def begin(self) -> None:
        """Make the folder and the file, unless they are there; nothing is written before."""
        if self._file is None:
            if not self._locked:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock(self._closing)
                if self.path.exists():  # another process has made it since
                    raise InputError(f"{self.path}: another prediction was faster; run this one again, and it goes on")
            self._file = self._closing.enter_context(self.path.open("ab"))
            self._file.truncate(self._end)
            if not self._end:
                self._write(self._settings)

    def add(self, image: str, version: Version | None, drawn: str, objects: Sequence[Mapping[str, Any]]) -> None:
        """Write the line of an image, after `begin`.

        Args:
            image: its path.
            version: what `file_version` returned before the image was read.
            drawn: file name of the drawn image, beside this file.
            objects: what was found in it.
        """
        self._entries[image] = _Entry(self._end, drawn, version)
        self._write({"image": image, "version": version, "drawn": drawn, "objects": objects})

    def write_json(self, path: Path, images: Iterable[str]) -> None:
        """Write the objects in those of the images that have a line as one JSON list."""
        with open_atomically(path) as file:
            separator = "[\n"
            for item in self._objects(images):
                file.write(f"{separator}{indent(json.dumps(item, indent=1), ' ')}".encode())
                separator = ",\n"
            file.write(b"[]\n" if separator == "[\n" else b"\n]\n")

    def _objects(self, images: Iterable[str]) -> Iterator[Any]:
        with self.path.open("rb") as file:
            for image in images:
                if entry := self._entries.get(image):
                    file.seek(entry.start)
                    yield from json.loads(file.readline())["objects"]

    def _read(self) -> None:
        if not self.path.is_file():
            raise InputError(f"{self.path}: not a file; name another folder with --out")
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") and (number > 1 or _line(self._settings).startswith(line)):
                    break  # a prediction was stopped in the middle of it
                try:
                    content = json.loads(line)
                    self._check(content) if number == 1 else self._keep(content)
                except InputError:
                    raise
                except (ValueError, TypeError, KeyError, RecursionError):
                    raise InputError(
                        f"{self.path}: line {number} was not written by tinyssd predict; "
                        "delete the file, or name another folder with --out"
                    ) from None
                self._end += len(line)

    def _check(self, settings: Any) -> None:
        if settings["format"] != FORMAT:
            raise ValueError("another format")
        for name, value in self._settings.items():
            if settings[name] != value:
                raise InputError(
                    f"{self.path}: its detections have the {name} {settings[name]}, this prediction has {value}; "
                    "delete the file, or name another folder with --out"
                )

    def _keep(self, content: Any) -> None:
        image, drawn, version = content["image"], content["drawn"], content["version"]
        objects = content["objects"]
        if not isinstance(image, str) or not isinstance(drawn, str) or not isinstance(objects, list):
            raise TypeError("not the line of an image")
        if not all(isinstance(item, dict) for item in objects):
            raise TypeError("not what was found in an image")
        if not drawn or drawn != os.path.basename(drawn):
            raise ValueError("not the name of a file in this folder")
        self._entries[image] = _Entry(self._end, drawn, tuple(version) if version else None)

    def _write(self, content: Mapping[str, Any]) -> None:
        """Write a line, and leave it with the operating system: what stops this process keeps it whole."""
        assert self._file is not None
        with naming(self.path):
            line = _line(content)
            self._file.write(line)
            self._file.flush()
        self._end += len(line)


def drawn_names(folder: Path) -> set[str]:
    """Return the file names of the images that predictions have drawn into a folder, as far as its file can be read."""
    names: set[str] = set()
    path = folder / NAME
    with suppress(OSError), path.open("rb") if path.is_file() else nullcontext(()) as file:
        for line in file:
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                names.add(json.loads(line)["drawn"])
    return names


def file_version(path: str) -> Version | None:
    """Return the version of a file; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"
