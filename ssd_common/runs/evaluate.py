"""What the verb `eval` says of a detector: one dict, as tables, as JSON, and as two images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ssd_common.data.dataset import Dataset
from ssd_common.data.ground_truth import GroundTruth
from ssd_common.detection import Detections
from ssd_common.evaluation.average_precision import (
    coco_average_precision,
    mean_over_classes,
    of_class,
    precision_recall,
    voc_average_precision,
)
from ssd_common.evaluation.mistakes import KINDS, SCORE_THRESHOLD, Mistake, count_mistakes
from ssd_common.output.console import MISSING, format_number
from ssd_common.output.json_file import write_json

FILES = ("precision_recall.png", "worst_errors.png", "metrics.json")
"""What `write_evaluation` writes."""
COLUMNS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "small",
    "ap_medium": "medium",
    "ap_large": "large",
    "voc07": "VOC07",
    "voc12": "VOC12",
}
"""The average precisions, and how the table calls them."""
BASELINES = {"class_error": ("class error", "all background"), "bbox_mae": ("bbox MAE", "zero offsets")}


def summarise(
    metrics: Mapping[str, float],
    detections: Sequence[Detections],
    truths: Sequence[GroundTruth],
    class_names: Sequence[str],
    mistakes: Sequence[Mistake],
) -> dict[str, Any]:
    """Return all that is known of a detector: of all classes together, of each, and its mistakes by kind.

    Args:
        metrics: losses and errors, see `EpochMeter.summary`.
        detections: of each image.
        truths: of each image.
        class_names: the name of each class.
        mistakes: all that there are, see `find_mistakes`.

    Returns:
        The metrics and the keys of `COLUMNS`, which are means over the classes; `pictures`, `objects`, `ignored`; a
        list `classes` with `name`, `objects` and the keys of `COLUMNS` of each; `errors`, how many of each kind. An
        average precision where there is no object to find is None.
    """
    count = len(class_names)
    per_class = coco_average_precision(detections, truths, count) | voc_average_precision(detections, truths, count)
    objects = [sum(len(of_class(truth.labels, class_id)) for truth in truths) for class_id in range(count)]
    classes = [
        {"name": name, "objects": objects[i]} | {key: _or_none(values[i]) for key, values in per_class.items()}
        for i, name in enumerate(class_names)
    ]
    means = {key: _or_none(value) for key, value in mean_over_classes(per_class).items()}
    errors = {_key(kind): number for kind, number in count_mistakes(mistakes).items()}
    counts = {
        "pictures": len(truths),
        "objects": sum(objects),
        "ignored": sum(len(truth.ignored) for truth in truths),
        "errors": {"score_threshold": SCORE_THRESHOLD, **errors},
    }
    return {**metrics, **means, **counts, "classes": classes}


def evaluation_tables(summary: Mapping[str, Any]) -> Group:
    """Return a summary as it is printed: average precision by class, errors beside their baselines, mistakes."""
    notes = [
        "AP: IoU 0.50 to 0.95, the 100 best of a class in an image; VOC: IoU 0.5, all of them",
        "small, medium, large: AP up to 32², up to 96², above; pixels of the original image",
    ]
    if any(row[key] is None for row in (summary, *summary["classes"]) for key in COLUMNS):
        notes.append(f"{MISSING}: there is no such object to find")
    errors = summary["errors"]
    counts = ", ".join(f"{kind} {errors[_key(kind)]}" for kind in KINDS)
    mistakes = f"at score {errors['score_threshold']:g}: {counts}"
    return Group(_precision_table(summary), *map(Text, notes), Text(), _baseline_table(summary), Text(), Text(mistakes))


def write_evaluation(
    out: Path,
    summary: Mapping[str, Any],
    data: Dataset,
    detections: Sequence[Detections],
    truths: Sequence[GroundTruth],
    mistakes: Sequence[Mistake],
) -> None:
    """Write the `FILES` of an evaluation into a folder, which is made if it is not there."""
    from ssd_common.figures.evaluation import save_precision_recall, save_worst_mistakes  # matplotlib: 0.2 s

    curves = [precision_recall(detections, truths, class_id) for class_id in range(len(data.class_names))]
    title = f"precision and recall at IoU 0.5, {data.name}"
    write_json(out / FILES[2], summary)  # first: no figure that fails takes it along
    save_precision_recall(out / FILES[0], curves, data.class_names, title)
    save_worst_mistakes(out / FILES[1], data, mistakes)


def _or_none(value: float) -> float | None:
    """NaN, which says that there was nothing to find, as None, which JSON has a word for."""
    return None if math.isnan(value) else float(value)


def _key(kind: str) -> str:
    """The kind of a mistake as a key of JSON."""
    return kind.replace(" ", "_")


def _precision_table(summary: Mapping[str, Any]) -> Table:
    """A row for each class, and if there are several one for all: their mean."""
    rows = list(summary["classes"])
    if len(rows) > 1:
        rows.append({**summary, "name": "all (mean)"})
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("class", overflow="fold")
    for name in ("objects", *COLUMNS.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(row["name"]), str(row["objects"]), *(format_number(row[key], ".3f") for key in COLUMNS))
    return table


def _baseline_table(summary: Mapping[str, Any]) -> Table:
    """The chapter's two errors, and what predicting nothing would score."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("error", "measured", "trivial baseline"):
        table.add_column(name, justify="left" if name == "error" else "right", no_wrap=True)
    for key, (words, trivial) in BASELINES.items():
        table.add_row(words, f"{summary[key]:.2e}", f"{trivial}: {summary[f'baseline_{key}']:.2e}")
    return table
