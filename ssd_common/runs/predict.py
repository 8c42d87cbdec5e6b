"""What the verb `predict` does, for either backend."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssd_common.backends import Backend
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.data.transforms import FORMATS, read_image
from ssd_common.errors import InputError
from ssd_common.figures.drawing import draw_detections
from ssd_common.output.atomic import write_atomically
from ssd_common.output.folders import check_output_folder

Detections = NDArray[np.floating]


_EXTENSIONS = {ending for ending, format_ in Image.registered_extensions().items() if format_ in FORMATS}


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """Return the picture files among `paths`, folders replaced by the pictures in them.

    Raises:
        InputError: a path does not exist, or a folder holds no picture.
    """
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _EXTENSIONS and p.is_file())
            if not inside:
                raise InputError(f"{path}: no pictures in this folder")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: no such picture or folder")
    return found


def predict_files(
    backend: Backend,
    checkpoint: Checkpoint,
    paths: Sequence[Path],
    out: Path,
    score_threshold: float,
    device: str,
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Detect objects in picture files, yielding the objects of each; then write `detections.json`.

    Each picture is written to `out`, with its boxes drawn in, under its own name as PNG. One that cannot be read is
    left out, and named at the end.

    Args:
        backend: which framework.
        checkpoint: the weights, and how predictions become detections.
        paths: the files.
        out: the folder to write to.
        score_threshold: smallest score of an object.
        device: as on the command line.

    Raises:
        InputError: `out` is a file, or a picture cannot be read.
    """
    check_output_folder(out)
    where = backend.data.get_device(device)
    net = backend.weights.make_net(checkpoint.config.model, checkpoint.weights, where)
    names = checkpoint.config.model.class_names
    everything: list[dict[str, Any]] = []
    unreadable: list[str] = []
    targets = _drawn_names(paths)
    sources = {path.resolve() for path in paths}
    for path, target in zip(paths, targets, strict=True):
        if (out / target).resolve() in sources:
            raise InputError(f"--out {out}: {path} would be drawn over {target} there; name another folder")
        if out.resolve() == path.resolve().parent and (out / target).exists():
            raise InputError(f"--out {out}: {target} is there already, beside {path.name}; name another folder")
    for path, target in zip(paths, targets, strict=True):
        try:
            image = read_image(path)
        except InputError as error:
            unreadable.append(str(error))
            continue
        (rows,) = backend.predict.predict(
            net, [image], checkpoint.config.model, checkpoint.config.predict, device=where
        )
        rows = rows[rows[:, 1] >= score_threshold]
        objects = [_object(path, row, names, *image.shape[:2]) for row in rows]
        drawn = draw_detections(image, rows, names, threshold=score_threshold)
        out.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn).save(out / target)
        everything += objects
        yield path, objects
    if len(unreadable) < len(paths):
        write_atomically(out / "detections.json", (json.dumps(everything, indent=1) + "\n").encode())
    if unreadable:
        others = f"; {len(unreadable)} of {len(paths)} pictures could not be read, the others are in {out}"
        raise InputError(unreadable[0] + (others if len(paths) > 1 else ""))


def _object(path: Path, row: Detections, names: Sequence[str], height: int, width: int) -> dict[str, Any]:
    """Return a detection as it is written: corners in pixels of the original picture."""
    corners = row[2:6].astype(float) * (width, height, width, height)
    return {
        "image": str(path),
        "label": names[int(row[0])],
        "class_id": int(row[0]),
        "score": float(row[1]),
        "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), corners.tolist(), strict=True)),
    }


def _drawn_names(paths: Sequence[Path]) -> list[str]:
    """Return the file name of each drawn picture, numbered where two pictures have the same name."""
    taken: set[str] = set()
    names = []
    for path in paths:
        name, number = f"{path.stem}.png", 1
        while name in taken:
            number += 1
            name = f"{path.stem}-{number}.png"
        taken.add(name)
        names.append(name)
    return names
