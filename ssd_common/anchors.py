"""Anchor boxes: the fixed grid of boxes that the network classifies and shifts.

The numpy reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssd_common.boxes import Array
from ssd_common.config import ModelConfig


def multibox_prior(data: Array, sizes: Sequence[float], ratios: Sequence[float]) -> Array:
    """Return the anchors centered on every unit of a feature map.

    With size `s` and ratio `r` an anchor is `s sqrt(r)` wide and `s / sqrt(r)` high, both in units of the image's
    height, so that ratio 1 is a square in pixels on a map that is not square, too. Of all the pairs only those with the
    first size or the first ratio are used, sizes first.

    Args:
        data: `(..., height, width)`, a feature map; only its shape and dtype matter.
        sizes: sides of a square anchor, as fractions of the image's height.
        ratios: aspect ratios, width over height.

    Returns:
        `(1, height * width * (len(sizes) + len(ratios) - 1), 4)` corners, row by row of the map, dtype of `data`.

    Source: d2l, section "Anchor Boxes", generating multiple anchor boxes.
    """
    dtype = data.dtype if np.issubdtype(data.dtype, np.floating) else np.dtype(np.float32)
    height, width = data.shape[-2:]
    size, ratio = np.asarray(sizes, dtype), np.asarray(ratios, dtype)
    center_y = (np.arange(height, dtype=dtype) + dtype.type(0.5)) * dtype.type(1 / height)
    center_x = (np.arange(width, dtype=dtype) + dtype.type(0.5)) * dtype.type(1 / width)
    y, x = np.meshgrid(center_y, center_x, indexing="ij")
    centers = np.stack((x, y, x, y), axis=-1).reshape(-1, 1, 4)  # (height * width, 1, 4)
    root = np.sqrt(ratio)
    w = np.concatenate((size * root[0], size[0] * root[1:])) * dtype.type(height) / dtype.type(width)
    h = np.concatenate((size / root[0], size[0] / root[1:]))
    shapes = np.stack((-w, -h, w, h), axis=-1) / dtype.type(2)  # (anchors per unit, 4)
    return (centers + shapes).reshape(1, -1, 4)


def anchor_grid(model_config: ModelConfig, dtype: str = "float32") -> Array:
    """Return the anchors of all feature maps of a model, in the order of its predictions.

    Args:
        model_config: the model; its image size gives the feature maps.
        dtype: "float32" or "float64".

    Returns:
        `(1, num_anchors, 4)` corners: 5444 anchors for the book's model.
    """
    blocks = zip(model_config.feature_map_sizes, model_config.anchors.sizes, model_config.anchors.ratios, strict=True)
    grids = [multibox_prior(np.empty((size, size), dtype), sizes, ratios) for size, sizes, ratios in blocks]
    return np.concatenate(grids, axis=1)
