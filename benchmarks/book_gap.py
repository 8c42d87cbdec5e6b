"""Why the book prints other numbers for PyTorch than for MXNet, found by experiment.

The book's two editions of the chapter end with class error 3.27e-3 and bbox MAE 3.08e-3 in PyTorch, 3.48e-3 and 3.78e-3
in MXNet. Their code differs in the initial weights (PyTorch's default against Xavier) and in the step on the short
last batch (a mean over its images, against a division by 32). Here each framework trains with each initialiser,
MXNet also with the book's last step, everything else the same, and prints what the book prints: the metrics of the last
epoch, in training mode, on the training images.

    python -m benchmarks.book_gap --data synthetic pikachu --seeds 3 --json book_gap.json
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from ssd_common.backends import load_backend
from ssd_common.config import BOOK
from ssd_common.data import load_dataset
from ssd_common.data.sampling import batches, epoch_order
from ssd_common.data.transforms import resize_image
from ssd_common.errors import InputError
from ssd_common.metrics import EpochMeter
from ssd_common.weights import initial_weights, map_size

METRICS = ("class_error", "bbox_mae")
COLUMNS = {
    "class_error": "class error",
    "bbox_mae": "bbox MAE",
    "val_class_error": "val. class error",
    "val_bbox_mae": "val. bbox MAE",
    "other_val_class_error": "val. class error, other variance",
    "other_val_bbox_mae": "val. bbox MAE, other variance",
}
"""What the table shows, times 1000: the last epoch in training, and the validation images with either variance."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One training: a framework, the initial weights of the body and of the prediction layers, the short last batch."""

    name: str
    backend: str
    body: str
    heads: str
    divide_by_32: bool = False


VARIANTS = (
    Variant("the book's PyTorch edition", "torch", "torch", "torch"),
    Variant("Xavier in the prediction layers only", "torch", "torch", "xavier"),
    Variant("PyTorch's default, the body stretched to Xavier's size", "torch", "stretched", "torch"),
    Variant("Xavier everywhere", "torch", "xavier", "xavier"),
    Variant("PyTorch's default everywhere", "mxnet", "torch", "torch"),
    Variant("Xavier everywhere", "mxnet", "xavier", "xavier"),
    Variant("the book's MXNet edition", "mxnet", "xavier", "xavier", divide_by_32=True),
)


class Cached:
    """A dataset in memory, at the size that the network takes."""

    def __init__(self, data, size):
        self.name, self.class_names = data.name, data.class_names
        self._examples = [data[i]._replace(image=resize_image(data[i].image, size)) for i in range(len(data))]

    def __len__(self):
        return len(self._examples)

    def __getitem__(self, index, /):
        return self._examples[index]


def start_weights(variant, model, config):
    """Return the initial weights of a variant."""
    drawn = {init: initial_weights(model, dataclasses.replace(config, init=init)) for init in ("torch", "xavier")}
    drawn["stretched"] = {name: stretched(value, drawn["xavier"][name]) for name, value in drawn["torch"].items()}
    return {
        name: drawn[variant.heads if name.startswith(("cls", "bbox")) else variant.body][name]
        for name in drawn["torch"]
    }


def stretched(value, other):
    """Return a convolution's weight with the norm of another one, anything else as it is."""
    return value * (np.linalg.norm(other) / np.linalg.norm(value)).astype(value.dtype) if value.ndim == 4 else value


def update(backend, net, trainer, share):
    """Take the step of one batch, its gradient multiplied by `share`."""
    if backend.name == "mxnet":
        trainer.step(1 / share)
    else:
        for parameter in net.parameters():
            parameter.grad *= share
        trainer.step()


def with_other_variance(weights, model, batch_size, backend):
    """Return the weights with each running variance about as the other framework would have kept it.

    PyTorch keeps the unbiased variance, MXNet the biased one: n / (n - 1) apart, n values a channel.
    """
    changed = dict(weights)
    for name, value in weights.items():
        if name.endswith("running_var"):
            n = batch_size * map_size(name, model) ** 2
            changed[name] = value * np.float32(n / (n - 1) if backend.name == "mxnet" else (n - 1) / n)
    return changed


def run(variant, data, val, model, config):
    """Train one variant and return the book's metrics, and those of the validation images."""
    backend = load_backend(variant.backend)
    net = backend.weights.make_net(model, start_weights(variant, model, config))
    trainer = backend.train.make_trainer(net, config)
    for epoch in range(config.epochs):
        meter = EpochMeter()
        order = epoch_order(len(data), config.batch_size, config.seed, epoch)
        for images, labels in batches(data, order, model):
            X, Y = backend.data.to_device(images), backend.data.to_device(labels)
            meter.add(backend.train.forward_backward(net, X, Y, config.loss))
            update(backend, net, trainer, len(images) / config.batch_size if variant.divide_by_32 else 1)
    result = {name: meter.summary()[name] for name in METRICS}
    result |= {f"baseline_{name}": meter.summary()[f"baseline_{name}"] for name in METRICS}
    for prefix, variance in (("val", False), ("other_val", True)):
        weights = backend.weights.get_weights(net)
        if variance:
            backend.weights.set_weights(net, with_other_variance(weights, model, config.batch_size, backend))
        metrics, *_ = backend.evaluate.evaluate(net, val, model)
        result |= {f"{prefix}_{name}": metrics[name] for name in METRICS}
    return result


def main():
    """Train every variant with every seed on every dataset and print a table for each dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["synthetic"], help="datasets (default: synthetic)")
    parser.add_argument("--data-dir", type=Path, help="folder of datasets that are files")
    parser.add_argument("--seeds", type=int, default=3, help="training runs of each variant")
    parser.add_argument("--epochs", type=int, default=BOOK.train.epochs)
    parser.add_argument("--image-size", type=int, default=64, help="pixels; the book's 256 take 16 times as long")
    parser.add_argument("--limit", type=int, help="use only the first so many training images")
    parser.add_argument("--json", type=Path, help="file to write every training to, as it ends")
    arguments = parser.parse_args()
    console, results = Console(width=170), []
    try:
        if arguments.seeds < 1 or arguments.epochs < 1:
            raise InputError("--seeds and --epochs must be at least 1")
        small = dataclasses.replace(BOOK.model, image_size=arguments.image_size)
        where = {"data_dir": arguments.data_dir}
        loaded = {
            spec: (load_dataset(spec, "train", limit=arguments.limit, **where), load_dataset(spec, "val", **where))
            for spec in arguments.data
        }
    except InputError as error:
        parser.error(str(error))
    for spec, splits in loaded.items():
        data, val = (Cached(split, arguments.image_size) for split in splits)
        model = dataclasses.replace(small, class_names=data.class_names)
        for seed in range(arguments.seeds):
            config = dataclasses.replace(BOOK.train, seed=seed, epochs=arguments.epochs)
            for variant in VARIANTS:
                metrics = run(variant, data, val, model, config)
                results.append({"data": spec, "seed": seed, **dataclasses.asdict(variant), **metrics})
                console.print(
                    f"{spec} seed {seed} {variant.backend}: {variant.name}: {metrics['class_error']:.3e} "
                    f"{metrics['bbox_mae']:.3e}",
                    highlight=False,
                )
                if arguments.json:
                    arguments.json.write_text(json.dumps(results, indent=1) + "\n")
        print(table([row for row in results if row["data"] == spec], f"{spec}, {len(data)} images"))


def table(rows, title):
    """Return the mean and standard deviation of every variant over the seeds, as a table in Markdown."""
    trivial = ", ".join(f"{rows[0][f'baseline_{name}']:.2e}" for name in METRICS)
    lines = [
        f"{title}; a detector that finds nothing scores {trivial}",
        "",
        f"| framework | initial weights, last batch | {' | '.join(COLUMNS.values())} |",
        "|---" * (2 + len(COLUMNS)) + "|",
    ]
    for variant in VARIANTS:
        own = [row for row in rows if (row["name"], row["backend"]) == (variant.name, variant.backend)]
        values = [np.array([row[column] for row in own]) * 1000 for column in COLUMNS]
        cells = [f"{v.mean():.2f} ± {v.std(ddof=1):.2f}" if len(v) > 1 else f"{v.mean():.2f}" for v in values]
        lines.append(f"| {variant.backend} | {variant.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
