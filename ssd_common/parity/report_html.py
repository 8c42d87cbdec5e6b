"""The report of a comparison as one HTML page for a person; the page itself is `report.html.jinja`."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically
from ssd_common.output.console import MISSING, format_number
from ssd_common.output.json_file import encoded
from ssd_common.parity.report import (
    ONNX_COLUMN,
    TRAINING_QUANTITIES,
    WORDS,
    farther_off,
    ladder_cells,
    ladder_columns,
    ladder_rows,
    made_of,
    shared_notes,
    training_cells,
    verdict_text,
)

TEMPLATE = Path(__file__).parent / "report.html.jinja"


def write_html(
    path: str | os.PathLike[str], report: Mapping[str, Any], pictures: Mapping[str, str | os.PathLike[str]]
) -> None:
    """Write a report as one HTML page that needs no other file, no network and no script.

    Args:
        path: where the page goes.
        report: see the module `report`; what `json.load` reads back from `write_json` will do.
        pictures: caption to PNG or JPEG file, embedded in this order.

    Raises:
        InputError: an image cannot be read, or is neither PNG nor JPEG.
    """
    rows = ladder_rows(report)
    columns = ladder_columns(rows)
    cells = [(ladder_cells(row, columns), row) for row in rows]
    training = {backend: epochs for backend, epochs in (report.get("training") or {}).items() if epochs}
    quantities = [q for q in TRAINING_QUANTITIES if any(q[0] in row for rows in training.values() for row in rows)]
    passed = (report.get("verdict") or {}).get("passed")
    page = {
        "words": WORDS,
        "title": report.get("title") or "Comparison",
        "made": ", ".join(made_of(report)),
        "verdict": verdict_text(report),
        "state": "fail" if not passed else "pass" if rows else "soft",
        "command": report.get("command") or MISSING,
        "ladder_header": ["what", "pass", *columns[2:-1], "farther off", "reference"],
        "rungs": [
            [f"{number} {name}", outcome, *numbers, farther_off(row), row.reference]
            for (number, name, *numbers, outcome), row in cells
        ],
        "with_onnx": ONNX_COLUMN in columns,
        "caused": any(row.caused_by for row in rows),
        "notes": shared_notes(rows),
        "summary": training_cells({b: epochs[-1] for b, epochs in training.items()}, report.get("baselines") or {}),
        "epoch_header": [words for _, words, _ in quantities],
        "epochs": {
            backend: [[format_number(row.get(key), spec) for key, _, spec in quantities] for row in epochs]
            for backend, epochs in training.items()
        },
        "images": {caption: _data_url(Path(image)) for caption, image in pictures.items()},
        "settings": {key: _flat(report[key]) for key in ("versions", "machine", "config") if report.get(key)},
    }
    environment = Environment(loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined)
    write_atomically(path, encoded(environment.get_template(TEMPLATE.name).render(page)))


def _data_url(path: Path) -> str:
    """Return an image file as a URL that holds all of it."""
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the image cannot be read ({error.strerror}); leave it out of the report") from error
    kinds = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
    kind = next((kind for signature, kind in kinds.items() if payload.startswith(signature)), None)
    if kind is None:
        raise InputError(f"{path}: neither a PNG nor a JPEG file; convert the image to one of the two")
    return f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"


def _flat(value: Any, prefix: str = "") -> list[list[str]]:
    """Return nested settings as rows of a dotted name and a value."""
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in _flat(item, f"{prefix}{key}.")]
    return [[prefix[:-1], str(value)]]
