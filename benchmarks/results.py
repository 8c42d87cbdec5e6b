"""Write `docs/results.md`: what trained detectors reach, from the reports of `tinyssd eval --json`.

Reports on one dataset whose weights come from the same configuration except for its seed share a row: mean ± standard
deviation.

    for seed in 0 1 2; do for backend in torch mxnet; do
        tinyssd train --preset improved --data pikachu --data-dir DIR --backend $backend --seed $seed \
            --out runs/$backend-$seed
        tinyssd eval --weights runs/$backend-$seed/weights/last.safetensors --backend $backend --data-dir DIR \
            --json runs/$backend-$seed.json
    done; done  # and with --precision bf16, for torch and seed 0
    python -m benchmarks.results runs/*.json
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from benchmarks.by_hand import with_conclusions
from ssd_common.config import read_run_config
from ssd_common.data.specs import FORMATS, parse_spec
from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically
from ssd_common.runs import change_config

INTRODUCTION = """# What trained detectors reach

AP50, AP75 and AP are the average precisions of COCO, multiplied by 100. Class error and bbox MAE are given in percent
of the errors of a detector that always predicts background; lower is better. With several seeds, each number is mean ±
standard deviation. *Last* weights are those of the last epoch. *Best* weights are those of the epoch with the highest
AP on the validation images. `python -m benchmarks.results` wrote these tables from reports of `tinyssd eval --json`,
one for each training run. Its docstring lists the commands. [The conclusions](#what-it-shows) are below the tables.
"""
PRECISIONS = {"ap50": "AP50", "ap75": "AP75", "ap": "AP"}
ERRORS = {"class_error": "class error", "bbox_mae": "bbox MAE"}


def main():
    """Write the page and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    arguments = parser.parse_args()
    try:
        text = page([read(path) for path in arguments.reports])
    except InputError as error:
        parser.error(str(error))
    write_atomically(arguments.out, with_conclusions(text, arguments.out).encode())
    print(text)


def read(path):
    """Return a report as a dictionary, with the settings of its training as "settings".

    Raises:
        InputError: it is not a report of `tinyssd eval`, or its weights are not in their run folder.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        weights = Path(report["weights"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a report of tinyssd eval --json ({type(error).__name__}: {error})") from None
    config = weights.absolute().parents[1] / "config.toml"
    if not config.is_file():
        raise InputError(
            f"{path}: there is no {config}; run this where tinyssd eval ran, with the run folders in place"
        )
    return {**report, "settings": read_run_config(config), "which": weights.stem}


def page(reports):
    """Return the page, in Markdown: a section for each dataset that was evaluated on."""
    sections = {}
    for report in reports:
        sections.setdefault(report["data"], {}).setdefault(_training(report), []).append(report)
    return "\n".join([INTRODUCTION, *(_section(data, groups) for data, groups in sections.items())])


def _training(report):
    """Return what tells one row from another: how the weights were trained, without the seed, and the framework."""
    run_config = report["settings"]
    config = change_config(run_config.config, {"seed": 0})
    return dataclasses.replace(run_config, config=config), report["which"], report["backend"]


def _section(data, groups):
    """Return the tables of one dataset."""
    first = next(iter(groups.values()))[0]
    lines = [f"## {short(data)}", "", f"{first['pictures']} images, {first['objects']:,} objects.", ""]
    lines += _table(["training", "framework", "seeds", *PRECISIONS.values(), *ERRORS.values()])
    for training, reports in groups.items():
        values = [percent([report[name] for report in reports]) for name in PRECISIONS]
        values += [percent([report[name] / report[f"baseline_{name}"] for report in reports]) for name in ERRORS]
        lines.append(f"| {' | '.join([*_names(training), str(len(reports)), *values])} |")
    names = [row["name"] for row in first["classes"]]
    if len(names) > 1:
        lines += ["", "AP50 and AP of each class:", ""]
        lines += _table(["training", "framework", *names])
        for training, reports in groups.items():
            by_class = zip(*(report["classes"] for report in reports), strict=True)
            cells = [" and ".join(percent([row[name] for row in rows]) for name in ("ap50", "ap")) for rows in by_class]
            lines.append(f"| {' | '.join([*_names(training), *cells])} |")
    return "\n".join(lines) + "\n"


def _names(training):
    """Return what a row says of its training, and the framework."""
    run_config, which, backend = training
    some = f"the first {run_config.limit} of " if run_config.limit else ""
    own, epochs = "".join(f", {change}" for change in changes(run_config)), run_config.config.train.epochs
    return f"`{run_config.based_on}` on {some}`{short(run_config.data)}`{own}, {epochs} epochs, {which}", backend


def changes(run_config):
    """Return what differs from the preset it is based on: "precision bf16", or only "own anchors" for what is long."""
    names = {name.split(".")[1]: (name.count("."), value) for name, value in run_config.changes().items()}
    return [
        f"{name} {value}" if depth == 1 and isinstance(value, str | int | float) else f"own {name}"
        for name, (depth, value) in names.items()
        if name not in ("class_names", "epochs", "seed")
    ]


def _table(headings):
    """Return the first two lines of a table."""
    return [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]


def short(spec):
    """Return a dataset's kind, folder and split: the folders above it are those of one machine."""
    parsed = parse_spec(spec)
    path = FORMATS[parsed.kind].outputs(parsed.path)[-1]
    path = path.parent if parsed.kind == "coco" else path
    return parsed._replace(path=path.name or parsed.path).of_split(parsed.split)


def percent(shares):
    """Return the mean of some shares in per cent, and their standard deviation where there is more than one."""
    if any(share is None for share in shares):
        return "–"
    mean = f"{100 * np.mean(shares):.1f}"
    return f"{mean} ± {100 * np.std(shares, ddof=1):.1f}" if len(shares) > 1 else mean


if __name__ == "__main__":
    main()
