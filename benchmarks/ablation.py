"""Measure what each exercise of the chapter changes: train the preset `book` with one change at a time.

The last row is the preset `improved`. Each row is trained in both frameworks with several seeds, and measured on the
validation images after the last epoch. The results of finished runs are kept in a folder. If you stop the command, run
it again: it trains only the runs that are missing, or whose configuration has changed.

    python -m benchmarks.ablation --data pikachu synthetic --data-dir DIR --seeds 3 --out docs/ablation.md
"""

import argparse
import functools
import hashlib
import itertools
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.book_gap import Cached
from benchmarks.by_hand import with_conclusions
from ssd_common.backends import BACKENDS, load_backend
from ssd_common.config import BOOK, IMPROVED, INPUT_MULTIPLE
from ssd_common.config.augment import AUGMENTATIONS
from ssd_common.config.tables import to_dict
from ssd_common.data import load_dataset
from ssd_common.data.anchor_fit import box_shapes, fit_anchors
from ssd_common.errors import InputError
from ssd_common.evaluation import mean_average_precision
from ssd_common.output.atomic import write_atomically
from ssd_common.runs.start import change_config
from ssd_common.weights import initial_weights

MOMENTUM = 0.9
ROWS = {
    "book": "the book",
    "smooth-l1": "smooth L1 with σ = 1",
    "focal": "focal loss with α = 0.25, γ = 2",
    "hard-negatives": "hard negatives 3:1",
    "weights": "offset loss times 4",
    "larger": f"input larger by {INPUT_MULTIPLE} pixels",
    "cosine": "learning rate falls along a cosine",
    "one-cycle": "learning rate in one cycle",
    "momentum": f"momentum {MOMENTUM}, learning rate divided by {1 / (1 - MOMENTUM):.0f}",
    "anchors": "anchors fitted to the training boxes",
    "jitter": "augmentation: flip, shift, brightness, noise",
    "ssd-crops": "augmentation: SSD's crops, sizes and colours",
    "improved": "the preset `improved`",
}
COLUMNS = {
    "ap50": ("AP50", 100),
    "ap": ("AP", 100),
    "class_error": ("class error ‰", 1000),
    "baseline_class_error": ("its baseline", 1000),
    "bbox_mae": ("bbox MAE ‰", 1000),
    "baseline_bbox_mae": ("its baseline", 1000),
}
"""What the tables show, and times how much."""
TEXT = """# What each exercise of the chapter changes

    {command}

The first row of a table is the preset `book`, and the last row is the preset `improved`. Each other row is the preset
`book` with one change, which answers one exercise. Each training run has {epochs} epochs. The images have
{image_size} × {image_size} pixels, except where a row names a larger input. The metrics are those of the validation
images after the last epoch. {spread}

AP50 and AP are multiplied by 100, and the two errors by 1000 (‰). *Its baseline* is the error of a detector that
always predicts background and offsets of 0. The anchors of a row change its baseline and its errors. Therefore, compare
errors only between rows with the same baseline. AP50 and AP do not have this limit: compare them between all rows.
"""
SPREAD = "Numbers with ± are mean ± standard deviation over the seeds."
ONE_SEED = "Each row has one seed. Both frameworks start from the same weights, so their difference in a row is noise."


def preset_of(row, data, image_size):
    """Return the configuration of a row.

    Args:
        row: a key of `ROWS`.
        data: the training images, for the fitted anchors.
        image_size: in pixels.
    """
    same = {"image_size": image_size, "class_names": data.class_names}
    book, lr = change_config(BOOK, same), BOOK.train.lr
    if row == "anchors":
        fitted = fit_anchors(box_shapes(data[i].labels for i in range(len(data))), book.model)
        return change_config(book, {"anchors": fitted})
    if row == "improved":
        return change_config(IMPROVED, same)
    changes = {
        "book": {},
        "smooth-l1": {"bbox_loss": "smooth_l1"},
        "focal": {"cls_loss": "focal"},
        "hard-negatives": {"negatives_per_positive": 3},
        "weights": {"bbox_weight": 4.0},
        "larger": {"image_size": image_size + INPUT_MULTIPLE},
        "cosine": {"schedule": "cosine"},
        "one-cycle": {"schedule": "one-cycle"},
        "momentum": {"momentum": MOMENTUM, "lr": lr * (1 - MOMENTUM)},
        "jitter": {"augment": AUGMENTATIONS["jitter"]},
        "ssd-crops": {"augment": AUGMENTATIONS["ssd"]},
    }
    return change_config(book, changes[row])


def run(backend, data, val, preset):
    """Train once, and return the metrics of the validation images and the minutes that the training took."""
    model, config = preset.model, preset.train
    device = backend.data.get_device("auto")
    net = backend.weights.make_net(model, initial_weights(model, config), device)
    trainer, start = backend.train.make_trainer(net, config), time.perf_counter()
    for _ in backend.train.train(net, trainer, data, model, config, device=device):
        pass
    minutes = (time.perf_counter() - start) / 60
    metrics, detections, truths = backend.evaluate.evaluate(net, val, model, preset.predict, config.loss, device=device)
    metrics |= mean_average_precision(detections, truths, model.num_classes)
    return {name: metrics[name] for name in COLUMNS} | {"minutes": minutes}


def result_of(folder, key, compute):
    """Return the result that a folder has for a key, or else compute it and keep it there.

    Args:
        folder: with a JSON file for each result.
        key: everything that the result depends on, as plain values.
        compute: returns the result.
    """
    path = folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))["result"]
    result = compute()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({**key, "result": result}) + "\n").encode())
    return result


def table(results, title):
    """Return the mean and standard deviation over the seeds of every row and backend, as a table in Markdown.

    Args:
        results: by row and backend, a list of what `run` returned.
        title: of the table.
    """
    headings = " | ".join(heading for heading, _ in COLUMNS.values())
    lines = [f"## {title}", "", f"| exercise | framework | {headings} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for (row, backend), runs in results.items():
        cells = []
        for name, (_, scale) in COLUMNS.items():
            values = np.array([run[name] for run in runs]) * scale
            spread = len(runs) > 1 and not name.startswith("baseline")  # the seed does not change a baseline
            cells.append(f"{values.mean():.2f} ± {values.std(ddof=1):.2f}" if spread else f"{values.mean():.2f}")
        lines.append(f"| {ROWS[row]} | {backend} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    """Train every row in every backend with every seed, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["synthetic"], help="datasets (default: synthetic)")
    parser.add_argument("--data-dir", type=Path, help="folder of datasets that are files")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="which exercises (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="training runs of each row in each backend")
    parser.add_argument("--epochs", type=int, default=BOOK.train.epochs)
    parser.add_argument("--image-size", type=int, default=BOOK.model.image_size)
    parser.add_argument("--limit", type=int, help="use only the first so many training images")
    parser.add_argument("--cache", type=Path, default=Path("runs/ablation"), help="folder of finished runs")
    parser.add_argument("--out", type=Path, help="Markdown file to write, again after every training run")
    arguments = parser.parse_args()
    console, results = Console(width=170), {}
    try:
        if arguments.seeds < 1 or arguments.epochs < 1:
            raise InputError("--seeds and --epochs must be at least 1")
        backends = [load_backend(name) for name in arguments.backends]
        where = {"data_dir": arguments.data_dir}
        loaded = {
            spec: (load_dataset(spec, "train", limit=arguments.limit, **where), load_dataset(spec, "val", **where))
            for spec in arguments.data
        }
        presets = {
            (spec, row): preset_of(row, data, arguments.image_size)
            for spec, (data, _) in loaded.items()
            for row in arguments.rows
        }
    except InputError as error:
        parser.error(str(error))

    @functools.lru_cache(maxsize=2)
    def in_memory(spec, size):
        return [Cached(split, size) for split in loaded[spec]]

    # Seed by seed, so that one seed of every row is there early.
    for seed, (spec, row), backend in itertools.product(range(arguments.seeds), presets, backends):
        chosen = change_config(presets[spec, row], {"seed": seed, "epochs": arguments.epochs})
        key = {"backend": backend.name, "data": spec, "limit": arguments.limit}
        key |= {name: str(folder.resolve()) for name, folder in where.items() if folder}
        key |= {part: to_dict(getattr(chosen, part)) for part in ("model", "train", "predict")}
        size = chosen.model.image_size
        metrics = result_of(arguments.cache, key, lambda: run(backend, *in_memory(spec, size), chosen))  # noqa: B023
        results.setdefault(spec, {}).setdefault((row, backend.name), []).append(metrics)
        console.print(
            f"{spec} seed {seed} {backend.name}: {row}: AP50 {metrics['ap50']:.3f} AP {metrics['ap']:.3f} "
            f"in {metrics['minutes']:.1f} minutes",
            highlight=False,
        )
        if arguments.out:
            write_atomically(arguments.out, with_conclusions(page(results, arguments), arguments.out).encode())
    print(page(results, arguments))


def page(results, arguments):
    """Return the page: what was done, and a table for each dataset."""
    text = TEXT.format(
        command=shlex.join(["python", *sys.argv]),
        epochs=arguments.epochs,
        image_size=arguments.image_size,
        spread=SPREAD if arguments.seeds > 1 else ONE_SEED,
    )
    return "\n".join([text, *(table(of_data, spec) + "\n" for spec, of_data in results.items())])


if __name__ == "__main__":
    main()
