"""What the cases of the benchmark work on: images, labels, predictions and files, all from seeds."""

from __future__ import annotations

import csv
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssd_common.anchors import anchor_grid
from ssd_common.backends import Backend
from ssd_common.config import BOOK, ModelConfig
from ssd_common.data.dataset import Example
from ssd_common.data.formats.bananas import COLUMNS, FOLDER
from ssd_common.data.sampling import in_order, pad_labels, to_batch
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.data.transforms import resize_image
from ssd_common.weights import Weights, initial_weights

Array = NDArray[np.floating]

# Height and width of the image files, as multiples of the network's: every fifth needs no resizing.
FILE_SIZES = ((1.0, 1.0), (1.3, 1.95), (1.875, 2.5), (2.34, 1.56), (0.78, 1.17))
PREDICTIONS = ("trained", "untrained")
OFFSET_SCALE = 0.2
"""Of random offsets. Suppression then leaves about as many boxes as of a network after a short training."""
TRAIN_FOLDER = Path(FOLDER) / "bananas_train"
"""Of the training images, in `Inputs.banana_folder`."""


@dataclass(frozen=True)
class Sizes:
    """How much work the cases are. The defaults are what their names stand for; tests take less."""

    image_size: int = BOOK.model.image_size
    batch: int = BOOK.train.batch_size
    files: int = 100
    epoch: int = 1000
    warm_up_steps: int = 24
    """Steps of the training whose weights predict."""


class Inputs:
    """The inputs that the cases share, each made when it is first asked for.

    Args:
        folder: where to write image files.
        sizes: how much of everything.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self.sizes = sizes
        self.model: ModelConfig = dataclasses.replace(BOOK.model, image_size=sizes.image_size)
        count = max(sizes.batch, sizes.files, sizes.epoch)
        self.pictures = SyntheticDataset(image_size=sizes.image_size, num_images=count, cache_bytes=0)
        self._folder = folder
        self._trained: Weights | None = None

    @cached_property
    def weights(self) -> Weights:
        """Initial weights."""
        return initial_weights(self.model, BOOK.train)

    @cached_property
    def anchors(self) -> Array:
        """`(1, num_anchors, 4)`: 5444 anchors at the default size."""
        return anchor_grid(self.model)

    @cached_property
    def batch(self) -> tuple[Array, Array]:
        """Images `(batch, 3, height, width)`, channels last in memory, and labels `(batch, 1, 5)`."""
        return self._batch(np.arange(self.sizes.batch))

    def labels(self, num_objects: int) -> Array:
        """Return labels `(batch, num_objects, 5)` of boxes with sides of 0.1 to 0.5."""
        rng = np.random.default_rng([1, num_objects])
        sides = rng.uniform(0.1, 0.5, (self.sizes.batch, num_objects, 2))
        corners = rng.uniform(0, 1, sides.shape) * (1 - sides)
        class_ids = np.zeros((*sides.shape[:2], 1))
        return np.concatenate((class_ids, corners, corners + sides), axis=-1).astype(np.float32)

    def predictions(self, kind: str, pictures: int) -> tuple[Array, Array]:
        """Return class probabilities `(images, 2, num_anchors)` and offsets `(images, num_anchors * 4)`.

        No two scores of an image are the same: the book's two editions order ties differently.

        Args:
            kind: "trained": five neighbouring anchors have scores above 0.9, all others scores below 0.005;
                "untrained": any score is as likely as any other.
            pictures: how many.
        """
        rng = np.random.default_rng([2, PREDICTIONS.index(kind)])
        count = self.anchors.shape[1]
        ranks = rng.permuted(np.tile(np.arange(1, count + 1), (pictures, 1)), axis=1)
        scores = ranks / (count + 1)
        if kind == "trained":
            scores *= 0.005
            for row, first in zip(scores, rng.integers(0, count - 5, pictures), strict=True):
                row[first : first + 5] = 0.91 + rng.permutation(5) / 60
        offsets = rng.normal(0, OFFSET_SCALE, (pictures, count * 4))
        return np.stack((1 - scores, scores), axis=1).astype(np.float32), offsets.astype(np.float32)

    def trained_weights(self, b: Backend) -> Weights:
        """Return the weights of a short training, done once, by the first backend that asks.

        Initial weights would not do: their running statistics do not fit images of 0…255, and the boxes overflow.
        """
        if self._trained is None:
            net = b.weights.make_net(self.model, self.weights)
            trainer = b.train.make_trainer(net, BOOK.train)
            order = in_order(len(self.pictures), self.sizes.batch)
            for step in range(self.sizes.warm_up_steps):
                X, Y = self._batch(order[step % len(order)])
                b.train.train_step(net, trainer, b.data.to_device(X), b.data.to_device(Y), BOOK.train.loss)
            self._trained = b.weights.get_weights(net)
        return self._trained

    @cached_property
    def files(self) -> list[Path]:
        """JPEG files of varied sizes."""
        paths = []
        for i in range(self.sizes.files):
            height, width = (round(factor * self.sizes.image_size) for factor in FILE_SIZES[i % len(FILE_SIZES)])
            paths.append(self._folder / f"{i:03}.jpg")
            Image.fromarray(resize_image(self.pictures[i].image, (height, width))).save(paths[-1], quality=90)
        return paths

    @cached_property
    def banana_folder(self) -> Path:
        """A folder with the training images as the dataset `bananas`."""
        write_bananas(self._folder / TRAIN_FOLDER, [self.pictures[i] for i in range(self.sizes.epoch)])
        return self._folder

    def _batch(self, indices: NDArray[np.integer]) -> tuple[Array, Array]:
        images, labels, _ = zip(*(self.pictures[int(i)] for i in indices), strict=True)
        return to_batch(images, self.model), pad_labels(labels)


def write_bananas(folder: Path, examples: list[Example]) -> None:
    """Write square images, one object in each, in the layout of the banana set; its corners are whole pixels."""
    (folder / "images").mkdir(parents=True)
    with (folder / "label.csv").open("w", newline="") as file:
        writer: Any = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, (image, labels, _) in enumerate(examples):
            Image.fromarray(image).save(folder / "images" / f"{i}.png")
            (class_id, *corners) = labels[0].tolist()
            writer.writerow([f"{i}.png", int(class_id), *(round(corner * len(image)) for corner in corners)])
