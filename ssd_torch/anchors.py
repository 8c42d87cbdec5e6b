"""Anchor boxes: the fixed grid of boxes that the network classifies and shifts."""

from math import sqrt

import torch


def multibox_prior(data, sizes, ratios):
    """Return the anchors centered on every unit of a feature map.

    Returns:
        `(1, height * width * (len(sizes) + len(ratios) - 1), 4)` corners, row by row of the map, dtype of `data`, but
        float32 where that has fewer bits.
    """
    like = {"dtype": torch.promote_types(data.dtype, torch.float32), "device": data.device}
    height, width = data.shape[-2:]
    center_y = (torch.arange(height, **like) + 0.5) / height
    center_x = (torch.arange(width, **like) + 0.5) / width
    y, x = torch.meshgrid(center_y, center_x, indexing="ij")  # (height, width) each
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    anchors = []
    for size, ratio in shapes:
        half_w, half_h = size * sqrt(ratio) * height / width / 2, size / sqrt(ratio) / 2
        anchors.append(torch.stack((x - half_w, y - half_h, x + half_w, y + half_h), dim=-1))
    return torch.stack(anchors, dim=2).reshape(1, -1, 4)
