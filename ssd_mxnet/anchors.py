"""Anchor boxes: the fixed grid of boxes that the network classifies and shifts."""

from math import sqrt

from mxnet import np, npx

npx.set_np()  # numpy semantics, as in the book


def multibox_prior(data, sizes, ratios):
    """Return the anchors centered on every unit of a feature map.

    Returns:
        `(1, height * width * (len(sizes) + len(ratios) - 1), 4)` corners, row by row of the map, dtype of `data`.
    """
    like = {"dtype": data.dtype, "ctx": data.ctx}
    height, width = data.shape[-2:]
    center_y = (np.arange(height, **like) + 0.5) / height
    center_x = (np.arange(width, **like) + 0.5) / width
    y, x = np.meshgrid(center_y, center_x, indexing="ij")  # (height, width) each
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    anchors = []
    for size, ratio in shapes:
        half_w, half_h = size * sqrt(ratio) * height / width / 2, size / sqrt(ratio) / 2
        anchors.append(np.stack((x - half_w, y - half_h, x + half_w, y + half_h), axis=-1))
    return np.stack(anchors, axis=2).reshape(1, -1, 4)
