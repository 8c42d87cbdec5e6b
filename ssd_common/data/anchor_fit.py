"""Anchors fitted to the boxes of a dataset: k-means on IoU, block by block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ssd_common.anchors import anchor_grid
from ssd_common.boxes import box_iou
from ssd_common.config import NUM_BLOCKS, AnchorConfig, ModelConfig
from ssd_common.errors import InputError

Shapes = NDArray[np.float64]
Values = tuple[float, ...]

MAX_ROUNDS = 100
"""Of one k-means; it settles after ten or so."""
DECIMALS = 3
"""Sizes and ratios are rounded, for a readable configuration."""
IOU = 0.5
"""The overlap at which an anchor takes a box (d2l, `assign_anchor_to_bbox`)."""


def box_shapes(labels: Iterable[NDArray[np.floating]]) -> Shapes:
    """Return the width and height of every box with an area, `(n, 2)`, as fractions of the image.

    Args:
        labels: of each image, `(num_objects, 5)` `[class_id, xmin, ymin, xmax, ymax]`.
    """
    corners = np.concatenate([np.zeros((0, 4)), *(rows[:, 1:].astype(np.float64) for rows in labels)])
    shapes = corners[:, 2:] - corners[:, :2]
    return shapes[(shapes > 0).all(axis=1)]


def shape_iou(shapes: Shapes, others: Shapes) -> NDArray[np.float64]:
    """Return the IoU `(n, k)` of boxes of some widths and heights, `(n, 2)` and `(k, 2)`, with one common center."""
    intersection = np.minimum(shapes[:, None], others).prod(axis=-1)
    return intersection / (shapes.prod(axis=-1)[:, None] + others.prod(axis=-1) - intersection)


def kmeans(shapes: Shapes, k: int) -> Shapes:
    """Return the centers `(k, 2)` of clusters of box shapes; the distance is 1 - IoU.

    It starts from shapes that are evenly spread in the order of their widths, and so needs no random numbers.

    Args:
        shapes: `(n, 2)` width and height, at least one.
        k: clusters; fewer where there are fewer different shapes.

    Source: Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", 2017, dimension clusters.
    """
    distinct = np.unique(shapes, axis=0)
    k = min(k, len(distinct))
    centers = distinct[(2 * np.arange(k) + 1) * len(distinct) // (2 * k)]
    for _ in range(MAX_ROUNDS):
        nearest = shape_iou(shapes, centers).argmax(axis=1)
        members = [shapes[nearest == i] for i in range(k)]
        moved = np.stack([m.mean(axis=0) if len(m) else c for m, c in zip(members, centers, strict=True)])
        if np.array_equal(moved, centers):
            break
        centers = moved
    return centers


def smallest_size(units: int) -> float:
    """Return the side of the smallest box that a map of `units` × `units` is sure to have an anchor for.

    An anchor of the box's own shape overlaps it by an IoU of at least 0.5 wherever the box lies; a side above 1 says
    that there is no such box. Between four anchors the box is half a unit off in both directions. If the map has an
    anchor in the middle of the image, a large box is closer to it than that, because it cannot move far.
    """
    shift = 1 - math.sqrt(2 * IOU / (1 + IOU))  # largest shift, in sides: (1 - shift)² / (2 - (1 - shift)²) is the IoU
    between_anchors, around_the_middle = 1 / (2 * units * shift), 1 / (1 + 2 * shift)
    return min(between_anchors, around_the_middle) if units % 2 else between_anchors


def block_of(shapes: Shapes, model_config: ModelConfig) -> NDArray[np.int64]:
    """Return the block `(n,)` for each box: the coarsest map that is sure to have an anchor for it, at least the first.

    Args:
        shapes: `(n, 2)` width and height.
        model_config: its image size gives the maps.
    """
    smallest = np.array([smallest_size(units) for units in model_config.feature_map_sizes])
    size = np.sqrt(shapes.prod(axis=1))
    return np.maximum(NUM_BLOCKS - 1 - (size[:, None] >= smallest[::-1]).argmax(axis=1), 0) * (size >= smallest[0])


def fit_anchors(shapes: Shapes, model_config: ModelConfig) -> AnchorConfig:
    """Return sizes and ratios for each block, as many anchors a unit as the model's, fitted to the boxes of a dataset.

    In each block the sizes and the ratios of its boxes are clustered, and combined as `multibox_prior` combines them:
    pairs with the first size or the first ratio. A block without boxes gets one anchor, of its smallest size and the
    mean ratio.

    The maps are square, and so is an image as the network sees it: a ratio is that of the corners in 0…1, not of
    the pixels of a wide image.

    Args:
        shapes: `(n, 2)` width and height as fractions of the image, as `box_shapes` returns them.
        model_config: its image size and anchors a unit are kept.

    Raises:
        InputError: there is no box.
    """
    if not len(shapes):
        raise InputError("anchors cannot be fitted: the dataset has no box with an area")
    blocks = block_of(shapes, model_config)
    mean_ratio = math.exp(float(np.log(shapes[:, 0] / shapes[:, 1]).mean()))
    sizes, ratios = [], []
    for i, units in enumerate(model_config.feature_map_sizes):
        own = shapes[blocks == i]
        if len(own):
            found = _sizes_and_ratios(own, model_config.anchors.per_unit(i))
        else:
            found = (round(min(smallest_size(units), 1.0), DECIMALS),), (round(mean_ratio, DECIMALS),)
        sizes.append(found[0])
        ratios.append(found[1])
    return AnchorConfig(tuple(sizes), tuple(ratios))


def best_overlaps(labels: Iterable[NDArray[np.floating]], model_config: ModelConfig) -> NDArray[np.float64]:
    """Return, for every box with an area, the IoU `(n,)` with the anchor of the model that fits it best.

    Args:
        labels: of each image, `(num_objects, 5)` `[class_id, xmin, ymin, xmax, ymax]`.
        model_config: its anchors, each at its place.
    """
    anchors = anchor_grid(model_config, "float64")[0]
    corners = (rows[(rows[:, 3:] > rows[:, 1:3]).all(axis=1), 1:].astype(np.float64) for rows in labels)
    return np.concatenate([np.zeros(0), *(box_iou(boxes, anchors).max(axis=1) for boxes in corners)])


def _sizes_and_ratios(shapes: Shapes, per_unit: int) -> tuple[Values, Values]:
    """Return sizes and ratios whose anchors fit the shapes of one block best.

    Sizes are clustered as squares and ratios as boxes of area 1. How many of each, and which come first, is tried out.
    """
    size, ratio = np.sqrt(shapes.prod(axis=1)), shapes[:, 0] / shapes[:, 1]
    tried: list[tuple[float, Values, Values]] = []
    for num_sizes in range(1, per_unit + 1):
        sizes = kmeans(np.stack((size, size), axis=1), num_sizes)[:, 0].tolist()
        centers = kmeans(np.stack((np.sqrt(ratio), 1 / np.sqrt(ratio)), axis=1), per_unit + 1 - num_sizes)
        ratios = (centers[:, 0] / centers[:, 1]).tolist()
        for pair in itertools.product(_each_first(sizes), _each_first(ratios)):
            tried.append((float(shape_iou(shapes, _anchor_shapes(*pair)).max(axis=1).mean()), *pair))
    _, *best = max(tried)
    return best[0], best[1]


def _each_first(values: list[float]) -> list[Values]:
    """Return the values, rounded but not to 0, once with each of them first."""
    values = [max(round(value, DECIMALS), 10**-DECIMALS) for value in values]
    return [(first, *values[:i], *values[i + 1 :]) for i, first in enumerate(values)]


def _anchor_shapes(sizes: Values, ratios: Values) -> Shapes:
    """Return width and height `(n, 2)` of the anchors of a unit, as `multibox_prior` has them on a square map."""
    pairs = np.array([(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]])
    return pairs[:, :1] * np.sqrt(pairs[:, 1:]) ** [1, -1]
