"""Anchor boxes: the fixed grid of boxes that the network classifies and shifts."""

from mxnet import np, npx, symbol

npx.set_np()  # numpy semantics, as in the book


def multibox_prior(data, sizes, ratios):
    """Return the anchors centered on every unit of a feature map.

    MXNet's operator gives the reference's anchors, on the model's square maps to the bit, but in float32 only: float64
    arrays are computed here.

    Args:
        data: `(..., height, width)`, a feature map; only its shape, dtype and device matter. A symbol is float32.
        sizes: sides of a square anchor, as fractions of the picture's height.
        ratios: aspect ratios, width over height.

    Returns:
        `(1, height * width * (len(sizes) + len(ratios) - 1), 4)` corners, row by row of the map, dtype of `data`.

    Source: d2l, section "Anchor Boxes", generating multiple anchor boxes.
    """
    if isinstance(data, symbol.Symbol):
        return symbol.npx.multibox_prior(data, sizes=sizes, ratios=ratios)
    if data.dtype == np.float32 and data.ndim == 4:
        return npx.multibox_prior(data, sizes=sizes, ratios=ratios)
    height, width = data.shape[-2:]
    like = {"dtype": data.dtype, "ctx": data.ctx}
    size, ratio = np.array(sizes, **like), np.array(ratios, **like)
    center_y = (np.arange(height, **like) + 0.5) * (1 / height)
    center_x = (np.arange(width, **like) + 0.5) * (1 / width)
    y, x = np.meshgrid(center_y, center_x, indexing="ij")
    centers = np.stack((x, y, x, y), axis=-1).reshape(-1, 1, 4)  # (height * width, 1, 4)
    root = np.sqrt(ratio)
    w = np.concatenate((size * root[0], size[0] * root[1:])) * height / width
    h = np.concatenate((size / root[0], size[0] / root[1:]))
    shapes = np.stack((-w, -h, w, h), axis=-1) / 2  # (anchors per unit, 4)
    return (centers + shapes).reshape(1, -1, 4)
