"""What the ladder is climbed with."""

import dataclasses

from ssd_common.backends import load_backend
from ssd_common.config import BOOK
from ssd_common.data import load_dataset
from ssd_common.data.sampling import batches, epoch_order
from ssd_common.parity.rungs import Subject
from ssd_common.weights import initial_weights

SMALL = dataclasses.replace(BOOK, model=dataclasses.replace(BOOK.model, image_size=64))
"""The book's configuration, of small images."""


def make_subject(preset, dtype, steps):
    """Return what the ladder is climbed with: drawn images, and initial weights also in place of trained ones."""
    data = load_dataset("synthetic", limit=2 * steps)
    order = epoch_order(len(data), 2, preset.train.seed, 0)[:steps]
    first = list(batches(data, order, preset.model))
    weights = initial_weights(preset.model, preset.train)
    return Subject(preset, weights, first, dtype, trained=weights, pictures=first[:2])


def both_backends():
    return {name: load_backend(name) for name in ("torch", "mxnet")}
