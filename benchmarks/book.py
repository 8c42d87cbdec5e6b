"""Train both editions of the chapter as the book does, and print their results beside those that the book prints.

    python -m benchmarks.book --data bananas                    # the book's own images; `make book`
    python -m benchmarks.book --data synthetic-book --seeds 0 1 2

Each training run is one of `tinyssd train --preset book`, in the folder BACKEND-DATA-SEED of --out. A run that is
complete is not repeated; a run that was interrupted goes on. benchmarks/book_results.json has our own results on
`synthetic-book`, which are printed below those of another dataset.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from ssd_common.anchors import anchor_grid
from ssd_common.backends import load_backend
from ssd_common.checkpoints import load_checkpoint
from ssd_common.cli.training import TrainingFlags, train
from ssd_common.config import get_preset, read_run_config
from ssd_common.data import load_dataset
from ssd_common.errors import InputError
from ssd_common.figures.detections import save_detection_grid
from ssd_common.output.atomic import write_atomically
from ssd_common.runs.folder import read_rows
from ssd_common.runs.start import change_config
from ssd_common.targets import multibox_target

EDITIONS = {"torch": "PyTorch", "mxnet": "MXNet"}
# What the book prints after 20 epochs, class error and bbox MAE (d2l, "Single Shot Multibox Detection").
PRINTED = {"torch": (3.27e-3, 3.08e-3), "mxnet": (3.48e-3, 3.78e-3)}
PRINTED_BASELINES = (4.8e-3, 5.2e-3)  # of background and zero offsets on the labels of the book's training images
OURS = Path(__file__).with_name("book_results.json")
BEGIN, END = "<!-- The table of benchmarks.book begins. -->", "<!-- The table of benchmarks.book ends. -->"
FIGURE = "_static/book_detections.png"
HEADINGS = ("images", "edition", "seeds", "class error", "of trivial", "bbox MAE", "of trivial", "val AP50")


def main(arguments=None):
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="bananas", help="dataset (default: bananas, downloaded once)")
    parser.add_argument("--data-dir", type=Path, help="folder of datasets that are files")
    parser.add_argument("--backends", nargs="+", choices=EDITIONS, default=list(EDITIONS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the runs of each edition (default: 0)")
    parser.add_argument("--epochs", type=int, help="instead of the book's 20")
    parser.add_argument("--image-size", type=int, help="instead of the book's 256")
    parser.add_argument("--out", type=Path, default=Path("runs/book"), help="folder of the runs (default: runs/book)")
    parser.add_argument("--results", type=Path, help="JSON file to write the results to")
    parser.add_argument("--page", type=Path, help="Markdown file to write the table into, and beside it the detections")
    chosen = parser.parse_args(arguments)
    try:
        results = [result(chosen, backend, seed) for backend in chosen.backends for seed in chosen.seeds]
    except InputError as error:
        parser.error(str(error))
    if chosen.results:
        write_atomically(chosen.results, (json.dumps(results, indent=1) + "\n").encode())
    if chosen.data != "synthetic-book":
        results += json.loads(OURS.read_text(encoding="utf-8"))
    print(table(results))
    if chosen.page:
        before, _, rest = chosen.page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        write_atomically(chosen.page, f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}".encode())
        draw_detections(chosen, chosen.page.parent / FIGURE)


def folder_of(chosen, backend, seed):
    """Return the folder of a run."""
    return chosen.out / f"{backend}-{chosen.data}-{seed}"


def draw_detections(chosen, path):
    """Draw eight validation images with the true box and the best detection of the first run."""
    backend, seed = load_backend(chosen.backends[0]), chosen.seeds[0]
    checkpoint = load_checkpoint(folder_of(chosen, backend.name, seed) / "weights" / "last.safetensors")
    config, val = checkpoint.config, load_dataset(chosen.data, "val", data_dir=chosen.data_dir, limit=8)
    net = backend.weights.make_net(config.model, checkpoint.weights)
    _, detections, _ = backend.evaluate.evaluate(net, val, config.model, config.predict)
    truths, images = zip(*((example.labels, example.image) for example in val), strict=True)
    best = [rows[:1] for rows in detections]
    save_detection_grid(path, images, best, val.class_names, truths=truths, columns=4, threshold=0.0)
    Image.open(path).convert("RGB").quantize().save(path, optimize=True)  # a third of the bytes


def result(chosen, backend, seed):
    """Return what a run reached, in the last epoch as the book prints it; train it unless it has been trained.

    Args:
        chosen: the command line.
        backend: "torch" or "mxnet".
        seed: of the run.
    """
    changes = {"seed": seed, "epochs": chosen.epochs, "image_size": chosen.image_size}
    config = change_config(get_preset("book", backend), changes)
    folder = folder_of(chosen, backend, seed)
    found = read_run_config(folder / "config.toml") if (folder / "config.toml").exists() else None
    if found and (found.config, found.data) != (config, chosen.data):
        raise InputError(f"{folder}: a run of another configuration; name another folder with --out")
    if not found:
        flags = TrainingFlags(**changes)
        train(backend, chosen.data, data_dir=chosen.data_dir, preset="book", configuration=flags, out=folder)
    elif len(read_rows(folder / "results.csv")) < config.train.epochs:
        train(data_dir=chosen.data_dir, resume=folder)
    row = read_rows(folder / "results.csv")[-1]
    baselines = trivial(load_dataset(chosen.data, data_dir=chosen.data_dir), config.model)
    errors = {name: row[name] for name in ("class_error", "bbox_mae", "val_ap50")}
    return {"data": chosen.data, "backend": backend, "seed": seed, **errors, "baselines": baselines}


def trivial(data, model_config):
    """Return the class error of background everywhere, and the bbox MAE of zero offsets."""
    anchors = anchor_grid(model_config)
    sums = np.zeros(2)
    for i in range(len(data)):
        offsets, _, classes = multibox_target(anchors, data[i].labels[None])
        sums += np.mean(classes > 0), np.mean(np.abs(offsets))
    return (sums / len(data)).tolist()


def table(results):
    """Return the table, in Markdown: what the book prints, then a row for each dataset and edition."""
    rows = [
        ["the book's, as printed", EDITIONS[name], "", *compared(np.array([pair]), PRINTED_BASELINES), "–"]
        for name, pair in PRINTED.items()
    ]
    groups = {}
    for one in results:
        groups.setdefault((one["data"], one["backend"]), []).append(one)
    for (data, backend), runs in groups.items():
        errors = np.array([[run["class_error"], run["bbox_mae"]] for run in runs])
        ap50 = spread(np.array([100 * run["val_ap50"] for run in runs]), "{:.1f}")
        rows.append([f"`{data}`", EDITIONS[backend], str(len(runs)), *compared(errors, runs[0]["baselines"]), ap50])
    return "\n".join(f"| {' | '.join(row)} |" for row in [HEADINGS, ["---"] * len(HEADINGS), *rows])


def compared(errors, baselines):
    """Return the cells of class errors and bbox MAEs `(runs, 2)`: each times 1000, and in % of its baseline."""
    cells = []
    for values, baseline in zip(errors.T, baselines, strict=True):
        cells += [spread(1000 * values, "{:.2f}e-3"), spread(100 * values / baseline, "{:.0f} %")]
    return cells


def spread(values, form):
    """Return the mean, and the standard deviation where there is more than one value."""
    mean, deviation = form.format(values.mean()), values.std(ddof=min(1, len(values) - 1))
    return f"{mean} ± {form.format(deviation)}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
