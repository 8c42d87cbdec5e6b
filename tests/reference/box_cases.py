"""Boxes that several test files use."""

import numpy as np

nan, inf = np.nan, np.inf

WITHOUT_AREA = {
    "zero width": [0.3, 0.1, 0.3, 0.6],
    "zero height": [0.1, 0.3, 0.6, 0.3],
    "a point": [0.3, 0.3, 0.3, 0.3],
    "x inverted": [0.7, 0.2, 0.3, 0.6],
    "y inverted": [0.2, 0.7, 0.6, 0.3],
    "x and y inverted": [0.7, 0.6, 0.3, 0.2],
    "padding": [-1, -1, -1, -1],
    "not a number": [nan, nan, nan, nan],
    "one coordinate not a number": [0.1, nan, 0.7, 0.8],
    "infinitely wide": [0.1, 0.1, inf, 0.8],
    "the whole plane": [-inf, -inf, inf, inf],
    "at infinity": [inf, inf, inf, inf],
}
"""Corners that do not make a box."""


def random_boxes(seed, *shape):
    """Return boxes with area inside the image, `(*shape, 4)` corners in float64."""
    corners = np.sort(np.random.default_rng(seed).random((*shape, 2, 2)), axis=-2)
    return corners.reshape(*shape, 4)


def random_labels(seed, batch, num_objects, num_classes):
    """Return `(batch, num_objects, 5)` labels without padding, in float64."""
    class_ids = np.random.default_rng(np.append(seed, 1)).integers(0, num_classes, (batch, num_objects, 1))
    return np.concatenate((class_ids, random_boxes(seed, batch, num_objects)), axis=-1)
