"""What the verb `predict` does, for either backend."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint, weights_digest
from ssd_common.config import ModelConfig, PredictConfig
from ssd_common.config.tables import to_dict
from ssd_common.data.formats.files import file_names
from ssd_common.data.transforms import OTHER_SUFFIXES, SUFFIXES, read_image
from ssd_common.detection import Detections
from ssd_common.drawing import draw_detections
from ssd_common.errors import InputError
from ssd_common.group import ALONE, Group
from ssd_common.output.atomic import naming
from ssd_common.output.folders import check_output_folder
from ssd_common.runs.detections_file import DetectionsFile, Version, drawn_names, file_version

BATCH_SIZE = 32
BATCH_BYTES = 256 * 1024 * 1024
"""Pixels of a batch: large photographs go through the network in smaller batches."""

_SUFFIXES = {*SUFFIXES, *OTHER_SUFFIXES}  # the others are not read, and told


def find_pictures(paths: Sequence[Path], out: Path | None = None) -> list[str]:
    """Return the image files among `paths`, each once, folders replaced by the images in them that are not hidden.

    They are text, because 50,000 paths take a third of a second to make.

    Args:
        paths: files and folders.
        out: the folder to predict into; what was drawn there before is no image of it.

    Raises:
        InputError: a path does not exist, or a folder holds no image.
    """
    found: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = file_names(path, _SUFFIXES)
            if out is not None and out.is_dir() and out.samefile(path):
                drawn = drawn_names(out)
                inside = [name for name in inside if name not in drawn]
            if not inside:
                raise InputError(f"{path}: no images in this folder; the folders in it are not searched")
            start = str(path / "_")[:-1]  # no "./" before an image of the current folder
            found += [start + name for name in inside]
        elif path.exists():
            found.append(str(path))
        else:
            raise InputError(f"{path}: no such image or folder")
    return list(dict.fromkeys(found))


def detect_in_files(
    backend: Backend,
    net: Any,
    paths: Iterable[Path],
    model_config: ModelConfig,
    predict_config: PredictConfig,
    on_unreadable: Callable[[InputError], object],
    device: Any = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[tuple[Path, NDArray[np.uint8], Detections]]:
    """Yield each image file with its pixels and its detections, as `predict` returns them.

    Args:
        backend: which framework.
        net: the network.
        paths: the files.
        model_config: of the network.
        predict_config: how predictions become detections.
        on_unreadable: called with what is wrong with an image that cannot be read; it is left out.
        device: where the network is.
        batch_size: images in memory at a time; fewer where they have more than `BATCH_BYTES`.
    """
    batch: list[tuple[Path, NDArray[np.uint8]]] = []

    def detected() -> Iterator[tuple[Path, NDArray[np.uint8], Detections]]:
        images = [image for _, image in batch]
        found = backend.predict.predict(net, images, model_config, predict_config, batch_size, device)
        yield from ((path, image, rows) for (path, image), rows in zip(batch, found, strict=True))
        batch.clear()

    for path in paths:
        try:
            batch.append((path, read_image(path)))
        except InputError as error:
            on_unreadable(error)
        if len(batch) == batch_size or sum(image.nbytes for _, image in batch) >= BATCH_BYTES:
            yield from detected()
    if batch:
        yield from detected()


def predict_files(
    backend: Backend,
    checkpoint: Checkpoint,
    paths: Sequence[str | Path],
    out: Path,
    score_threshold: float,
    device: str,
    sha256: str = "",
    group: Group = ALONE,
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Detect objects in image files, yielding each image with its objects; then write `detections.json`.

    Each image is written to `out`, with its boxes drawn in, under its own name as PNG, and its objects are a line of
    `detections.jsonl`. Images that this file has already are left out, if they have not changed and are drawn: a
    prediction that was stopped goes on. An image that cannot be read is left out, and named at the end.

    Args:
        backend: which framework.
        checkpoint: the weights, and how predictions become detections.
        paths: the files.
        out: the folder to write to.
        score_threshold: smallest score of an object.
        device: as on the command line.
        sha256: of the detector, by default that of the checkpoint.
        group: the processes that share the images; each draws those of its batches, and process 0 writes and yields
            the lines of all.

    Raises:
        InputError: `out` is a file, is written to by another process, or has the detections of other weights, of
            another threshold or of the other framework; an image cannot be read; or the weights detect a box that is
            not finite.
    """
    names, sha256 = [os.fspath(path) for path in paths], sha256 or _detector_sha256(checkpoint)
    group.agree(sha256, "weights")
    settings = {"backend": backend.name, "score_threshold": score_threshold, "detector_sha256": sha256}
    with ExitStack() as stack:
        with group.together():
            where = backend.data.get_device(device)
            net = backend.weights.make_net(checkpoint.config.model, checkpoint.weights, where)
            targets: dict[str, str] = {}
            if group.rank == 0:
                check_output_folder(out)
                file = stack.enter_context(DetectionsFile(out, settings))
                targets = _drawn_names((path for path in names if not file.has(path)), file.drawn_names())
                _check_targets(out, targets, names, file.drawn_names())
                if group.size > 1:
                    file.begin()  # the others need the folder
        if group.size > 1:
            targets = dict(group.collect(list(targets.items())))
        unreadable: list[tuple[int, str]] = []

        def kept(lines: Sequence[dict[str, Any]]) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
            for line in lines if group.rank == 0 else ():
                path = line["image"]
                file.add(path, line["version"] and tuple(line["version"]), targets[path], line["objects"])
                yield Path(path), line["objects"]

        batches = _batches(list(targets))
        for first in range(0, len(batches), group.size):  # batch i is that of process i % size
            number = first + group.rank
            batch = batches[number] if number < len(batches) else ()
            lines: list[dict[str, Any]] = []
            errors: list[InputError] = []
            for path, drawn, line in _predicted(backend, net, batch, checkpoint, score_threshold, errors.append, where):
                if group.rank == 0:
                    file.begin()
                with naming(out / targets[path]):
                    (out / targets[path]).write_bytes(drawn)
                lines.append(line)
                if group.size == 1:
                    yield from kept(lines)
                    lines = []
            yield from kept(group.collect(lines))
            unreadable += [(number, str(error)) for error in errors]
        messages = [text for _, text in sorted(group.collect(unreadable), key=lambda item: item[0])]
        with group.together():
            if group.rank == 0 and len(messages) < len(names):
                file.write_json(out / "detections.json", names)
            if group.rank == 0 and messages:
                count = f"; {len(messages)} of {len(names)} images could not be read" if len(names) > 1 else ""
                others = f", the others are in {out}" if len(messages) < len(names) else ""
                raise InputError(f"{messages[0]}{count}{others}")


def _predicted(
    backend: Backend,
    net: Any,
    batch: Sequence[str],
    checkpoint: Checkpoint,
    score_threshold: float,
    on_unreadable: Callable[[InputError], object],
    device: Any,
) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Yield each image of a batch, drawn, and what its line says."""
    model_config, names = checkpoint.config.model, checkpoint.config.model.class_names
    read: dict[Path, tuple[str, Version | None]] = {}

    def noted() -> Iterator[Path]:
        for text in batch:
            read[Path(text)] = text, file_version(text)
            yield Path(text)

    found = detect_in_files(backend, net, noted(), model_config, checkpoint.config.predict, on_unreadable, device)
    for key, image, rows in found:
        path, version = read[key]
        rows = rows[rows[:, 1] >= score_threshold]
        objects = [_object(path, row, names, *image.shape[:2]) for row in rows]
        drawn = io.BytesIO()  # compressed quickly: half of the time for a twentieth more bytes
        picture = Image.fromarray(draw_detections(image, rows, names, threshold=score_threshold))
        picture.save(drawn, "PNG", compress_level=1)
        yield path, drawn.getvalue(), {"image": path, "version": version, "objects": objects}


def _batches(paths: Sequence[str]) -> list[Sequence[str]]:
    """Return the images of each batch; the first image is a batch of its own, so that it is shown at once."""
    return [paths[:1], *(paths[i : i + BATCH_SIZE] for i in range(1, len(paths), BATCH_SIZE))]


def _detector_sha256(checkpoint: Checkpoint) -> str:
    """Return a sha256 of all that turns an image into detections."""
    configs = [to_dict(config) for config in (checkpoint.config.model, checkpoint.config.predict)]
    return weights_digest(checkpoint.weights, json.dumps(configs, sort_keys=True).encode())


def _object(path: str, row: Detections, names: Sequence[str], height: int, width: int) -> dict[str, Any]:
    """Return a detection as it is written: corners in pixels of the original image."""
    corners = row[2:6].astype(float) * (width, height, width, height)
    if not np.isfinite(corners).all():
        box = ", ".join(map(str, corners))
        raise InputError(
            f"{path}: a detected box is not finite ({box}); the weights come from a training that "
            "diverged: train again with a lower --lr"
        )
    return {
        "image": path,
        "label": names[int(row[0])],
        "class_id": int(row[0]),
        "score": float(row[1]),
        "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), corners.tolist(), strict=True)),
    }


def _drawn_names(paths: Iterable[str], taken: Mapping[str, str]) -> dict[str, str]:
    """Return the file name of each drawn image, numbered where two images have the same name.

    Args:
        paths: the images.
        taken: the names that drawn images have already, by the image's path.
    """
    used = {name.lower() for name in taken.values()}  # some file systems see no difference
    numbers: dict[str, int] = {}
    names = {}
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        name = taken.get(path, f"{stem}.png")
        while name.lower() in used and path not in taken:
            numbers[stem] = numbers.get(stem, 1) + 1
            name = f"{stem}-{numbers[stem]}.png"
        used.add(name.lower())
        names[path] = name
    return names


def _check_targets(out: Path, targets: Mapping[str, str], paths: Iterable[str], ours: Mapping[str, str]) -> None:
    """Raise InputError if an image would be drawn over one of `paths`, or over a file beside it that is not `ours`."""
    there = set(os.listdir(out)) if out.is_dir() else set()
    taken = [(path, target) for path, target in targets.items() if target in there]
    if not taken:
        return
    sources, drawn, folder = set(map(_inode, paths)) - {None}, set(ours.values()), os.path.realpath(out)
    for path, target in taken:
        if _inode(out / target) in sources:
            raise InputError(f"--out {out}: {path} would be drawn over {target} there; name another folder")
        if not os.path.isfile(out / target):
            raise InputError(f"--out {out}: {target} there is not a file, and {path} needs its name; name another one")
        above, name = os.path.split(os.path.realpath(path))
        if target not in drawn and above == folder:
            raise InputError(f"--out {out}: {target} is there already, beside {name}; name another folder")


def _inode(path: str | Path) -> tuple[int, int] | None:
    """Return what a file and all links to it have in common; None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
