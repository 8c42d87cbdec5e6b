"""Anchor boxes: the fixed grid of boxes that the network classifies and shifts."""

from functools import lru_cache

import torch


def multibox_prior(data, sizes, ratios):
    """Return the anchors centered on every unit of a feature map.

    Args:
        data: `(..., height, width)`, a feature map; only its shape, dtype and device matter.
        sizes: sides of a square anchor, as fractions of the picture's height.
        ratios: aspect ratios, width over height.

    Returns:
        `(1, height * width * (len(sizes) + len(ratios) - 1), 4)` corners, row by row of the map, dtype of `data`
        (float32 where that has fewer bits: bfloat16 would round the anchors).

    Source: d2l, section "Anchor Boxes", generating multiple anchor boxes.
    """
    dtype = torch.promote_types(data.dtype, torch.float32)
    prior = _prior.__wrapped__ if torch.compiler.is_compiling() else _prior  # a compiled graph has them as constants
    return prior(*data.shape[-2:], tuple(sizes), tuple(ratios), dtype, data.device).clone()


@lru_cache(maxsize=64)  # the anchors of a network are the same in every step, and on a GPU their making waits for it
def _prior(height, width, sizes, ratios, dtype, device):
    like = {"dtype": dtype, "device": device}
    size, ratio = torch.tensor(sizes, **like), torch.tensor(ratios, **like)
    center_y = (torch.arange(height, **like) + 0.5) * (1 / height)
    center_x = (torch.arange(width, **like) + 0.5) * (1 / width)
    y, x = torch.meshgrid(center_y, center_x, indexing="ij")
    centers = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)  # (height * width, 1, 4)
    root = torch.sqrt(ratio)
    w = torch.cat((size * root[0], size[0] * root[1:])) * height / width
    h = torch.cat((size / root[0], size[0] / root[1:]))
    shapes = torch.stack((-w, -h, w, h), dim=-1) / 2  # (anchors per unit, 4)
    return (centers + shapes).reshape(1, -1, 4)
