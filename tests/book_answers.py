"""The inputs of the book's defects, and what computes the answer of one implementation to each."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from ssd_common.anchors import anchor_grid, multibox_prior
from ssd_common.config import BOOK

Array = np.ndarray


class Picture(NamedTuple):
    """An image file and its objects, `[class_id, xmin, ymin, xmax, ymax]` in pixels."""

    name: str
    content: bytes
    objects: list[list[float]]


class Functions(Protocol):
    """One implementation, the book's or ours, from numpy arrays to numpy arrays."""

    def box_iou(self, boxes1: Array, boxes2: Array) -> Array:
        """Return the overlaps."""

    def assigned(self, overlaps: Array) -> Array:
        """Return the box of each anchor, -1 for none, where `(num_anchors, num_boxes)` overlaps are given."""

    def multibox_target(self, anchors: Array, labels: Array) -> list[Array]:
        """Return offsets, mask and class labels of a batch."""

    def nms(self, boxes: Array, scores: Array, iou_threshold: float) -> Array:
        """Return the indices of the kept boxes."""

    def multibox_detection(self, cls_probs: Array, offset_preds: Array, anchors: Array) -> Array:
        """Return a row for every anchor of every image."""

    def predict(self, cls_probs: Array, offset_preds: Array, anchors: Array) -> Array:
        """Return the detections in the first image, with the options that prediction has by default."""

    def prediction_has_graph(self) -> bool:
        """Return whether what a network predicts can still be differentiated."""

    def read(self, pictures: list[Picture]) -> list[tuple[Array, Array]]:
        """Return `(height, width, channels)` and `(num_objects, 5)` for each image that a dataset of these has."""

    def step(self, num_pictures: int) -> float:
        """Return how far one batch of the same image moves a weight, where the batch size is 4."""

    def metrics(self, anchors: Array, labels: Array) -> str:
        """Return what training prints of a network that predicts background everywhere, and offsets of 0."""

    def examples_per_second(self, batches: list[tuple[int, float]]) -> float:
        """Return the rate that training prints after batches of so many images and seconds."""


@dataclass(frozen=True)
class Defect:
    """An input on which the book fails or is wrong, and every answer to it."""

    key: str
    """Its name among the tests: `pytest -k KEY`."""
    where: str
    """The book's function, or the part of the chapter."""
    what: str
    """One line."""
    input: str
    """In words."""
    torch: str
    """The answer of the book's PyTorch edition."""
    mxnet: str
    """The answer of the book's MXNet edition."""
    ours: str
    """The answer of numpy, ssd_torch and ssd_mxnet."""
    why: str
    """What the book's answer does to a user, and why ours is right."""
    answer: Callable[[Functions], str]
    """Computes the answer of one implementation."""
    has_reference: bool = True
    """Whether there is an answer from numpy, which neither trains nor runs a network."""


# --- inputs

GRID = multibox_prior(np.zeros((4, 4), np.float32), [0.3], [1])  # 16 anchors; 0 is the upper left one
OBJECT = [1, 0.55, 0.55, 0.85, 0.85]  # belongs to anchor 10
PADDING = [-1.0] * 5
APART = np.array([[[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.7, 0.7], [0.7, 0.1, 0.9, 0.3]]], np.float32)


def picture_file(
    mode: str, size: tuple[int, int] = (256, 256), file_format: str = "PNG", orientation: int = 1
) -> bytes:
    """Return the content of a black image file."""
    image, file = Image.new(mode, size), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(file, file_format, exif=exif)
    return file.getvalue()


# --- answers


def targets(*objects: list[float], anchors: Array = GRID) -> Callable[[Functions], str]:
    """Return a function that describes the targets of one image with these objects."""
    labels = np.array(objects, anchors.dtype).reshape(1, -1, 5)
    return lambda functions: described(*functions.multibox_target(anchors, labels))


def described(offsets: Array, mask: Array, class_labels: Array) -> str:
    """Return the anchors of the first image that have an object, a mask, or an offset that is not 0."""
    offsets, mask, class_labels = offsets[0].reshape(-1, 4), mask[0].reshape(-1, 4), class_labels[0]
    lines = []
    for i in np.flatnonzero((offsets != 0).any(axis=1) | (mask != 0).any(axis=1) | (class_labels != 0)):
        label = class_labels[i]
        words = "background" if label == 0 else f"class {label - 1}" if label > 0 else "no class"
        if not (mask[i] == 1).all():
            words += f", mask {mask[i]}"
        finite = np.isfinite(offsets[i]).all()
        words += f", offsets up to {np.abs(offsets[i]).max():.1f}" if finite else ", offsets not finite"
        lines.append(f"anchor {i}: {words}")
    return "; ".join(lines) or "every anchor is background"


def rows(detections: Array) -> str:
    """Return class, score and box of each row that is not background."""
    objects = [
        f"class {row[0]:.0f} at {row[1]:.2f} in ({', '.join(f'{corner:.2f}' for corner in row[2:])})"
        for row in detections
        if row[0] >= 0
    ]
    return "; ".join(objects) or "nothing"


def large_index(functions: Functions) -> str:
    """Give box 0 to anchor 0 and box 1 to an anchor in the millions; to compute the overlaps would take seconds."""
    overlaps = np.zeros((2**23 + 3, 2), np.float32)
    overlaps[0, 0], overlaps[2**23 + 1, 1] = 0.3, 0.4
    assigned = functions.assigned(overlaps)
    return ", ".join(f"anchor {i}: box {assigned[i]}" for i in np.flatnonzero(assigned >= 0))


def empty_overlaps(functions: Functions) -> str:
    """Compare a point with itself, and a box with its mirror image."""
    point, box, mirrored = [0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.4, 0.4], [0.4, 0.1, 0.1, 0.4]
    first, second = np.array([point, box], np.float32), np.array([point, mirrored], np.float32)
    of_points, of_mirrored = np.diag(functions.box_iou(first, second))
    return f"{of_points:g} and {of_mirrored:g}"


def empty_cells(functions: Functions) -> str:
    (_, labels, *_), *_ = functions.read([Picture("0.png", picture_file("RGB"), [])])
    return described(*functions.multibox_target(GRID, labels[None].astype(np.float32)))


def kept(indices: Array) -> str:
    return f"keeps {', '.join(f'box {index}' for index in indices)}"


def ties(functions: Functions) -> str:
    overlapping = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    return kept(functions.nms(overlapping, np.array([0.5, 0.5], np.float32), 0.5))


def score_not_a_number(functions: Functions) -> str:
    probabilities = np.array([[[np.nan, 0.3], [np.nan, 0.7]]], np.float32)
    return rows(functions.multibox_detection(probabilities, np.zeros((1, 8), np.float32), APART[:, :2])[0])


def box_not_a_number(functions: Functions) -> str:
    boxes = APART[0].copy()
    boxes[1] = np.nan
    return kept(functions.nms(boxes, np.array([0.7, 0.8, 0.6], np.float32), 0.5))


def no_boxes(functions: Functions) -> str:
    keep = functions.nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5)
    return f"{len(keep)} indices, {keep.dtype}"


def nothing_detected(functions: Functions) -> str:
    probabilities = np.array([[[1, 1, 1], [0, 0, 0]]], np.float32)
    return f"{len(functions.predict(probabilities, np.zeros((1, 12), np.float32), APART))} detections"


def two_classes(functions: Functions) -> str:
    anchors = np.array([[[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.45]]], np.float32)
    probabilities = np.array([[[0.1, 0.1], [0.8, 0.2], [0.1, 0.7]]], np.float32)
    return rows(functions.predict(probabilities, np.zeros((1, 8), np.float32), anchors))


def beyond_the_edge(functions: Functions) -> str:
    anchors = np.array([[[-0.1, 0.2, 0.3, 1.2]]], np.float32)
    return rows(functions.predict(np.array([[[0.2], [0.8]]], np.float32), np.zeros((1, 4), np.float32), anchors))


def graph(functions: Functions) -> str:
    return "the whole graph" if functions.prediction_has_graph() else "numbers"


def class_id(functions: Functions) -> str:
    ((_, labels, *_),) = functions.read([Picture("0.png", picture_file("RGB"), [[3, 64, 64, 128, 192]])])
    trained = functions.multibox_target(GRID, labels[None].astype(np.float32))[2].max() - 1
    return f"[{', '.join(f'{value:.4g}' for value in labels[0])}], trained as class {trained}"


def two_objects(functions: Functions) -> str:
    objects: list[list[float]] = [[0, 16, 16, 64, 64], [0, 128, 128, 192, 192]]
    read = functions.read([Picture("0.png", picture_file("RGB"), objects)])
    return f"objects in each image: {', '.join(str(len(labels)) for _, labels, *_ in read)}"


def channels(functions: Functions) -> str:
    objects: list[list[float]] = [[0, 64, 64, 128, 192]]
    read = functions.read([Picture(f"{mode}.png", picture_file(mode), objects) for mode in ("L", "RGBA", "RGB")])
    return f"{', '.join(str(image.shape[2]) for image, *_ in read)} channels"


def orientation(functions: Functions) -> str:
    content = picture_file("RGB", size=(40, 20), file_format="JPEG", orientation=6)
    ((image, *_),) = functions.read([Picture("0.jpg", content, [[0, 4, 4, 12, 12]])])
    return f"{image.shape[1]} wide, {image.shape[0]} high"


def short_batch(functions: Functions) -> str:
    return f"{functions.step(1) / functions.step(4):.2f} of the step of a full batch"


def trivial_metrics(functions: Functions) -> str:
    rng = np.random.default_rng(0)
    size = rng.uniform(0.12, 0.29, (8, 1, 2))
    corner = rng.uniform(size=(8, 1, 2)) * (1 - size)
    labels = np.concatenate((np.zeros((8, 1, 1)), corner, corner + size), axis=-1).astype(np.float32)
    return functions.metrics(anchor_grid(BOOK.model), labels)


def throughput(functions: Functions) -> str:
    return f"{functions.examples_per_second([(32, 1.0)] * 31 + [(8, 0.25)]):.0f} examples/s"
