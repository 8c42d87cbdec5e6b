"""Anchors: the book's and those of MXNet's operator, and the same in numpy and both backends."""

import numpy as np
import pytest

from ssd_common.anchors import anchor_grid, multibox_prior
from ssd_common.config import BOOK, AnchorConfig, ModelConfig

# One unit in the last place of a coordinate between 1 and 2. The book divides a Python number by a tensor, for which
# PyTorch multiplies with the reciprocal; MXNet's operator rounds width / height before it scales.
TOLERANCE = {"float64": 1e-12, "float32": 1.2e-7}

CASES = {
    **{
        f"the book's block {i}": ((1, 2, size, size), sizes, ratios)
        for i, (size, sizes, ratios) in enumerate(
            zip(BOOK.model.feature_map_sizes, BOOK.model.anchors.sizes, BOOK.model.anchors.ratios, strict=True)
        )
    },
    "the Straight Dope's example": ((1, 3, 40, 40), [0.5, 0.25, 0.1], [1, 2, 0.5]),
    "a wide map": ((1, 1, 3, 7), [0.3, 0.2], [1, 2, 0.5]),
    "a high map": ((2, 1, 9, 4), [0.3, 0.2], [1, 2, 0.5]),
    "one row": ((1, 1, 1, 8), [0.3], [1, 3]),
    "one anchor a unit": ((1, 1, 4, 5), [0.4], [1]),
    "one size, many ratios": ((1, 1, 4, 4), [0.3], [1, 1.5, 2, 3, 0.25]),
    "many sizes, one ratio": ((1, 1, 4, 4), [0.1, 0.2, 0.3, 0.4, 0.9], [1]),
    "a first ratio that is not 1": ((1, 1, 5, 6), [0.3, 0.2], [2, 0.5, 3]),
    "whole numbers": ((1, 1, 4, 6), [1], [1, 4]),
}
"""Shape of the feature map, sizes and ratios."""


def table(cases):
    return pytest.mark.parametrize(("shape", "sizes", "ratios"), cases.values(), ids=cases)


@table(CASES)
def test_anchors_are_the_book_s(shape, sizes, ratios, backend, book):
    feature_map, d, n = np.zeros(shape, np.float32), backend.data.to_device, backend.data.to_numpy
    theirs = n(book.multibox_prior(d(feature_map), sizes, ratios))
    ours = n(backend.anchors.multibox_prior(d(feature_map), sizes, ratios))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE["float32"])
    np.testing.assert_allclose(multibox_prior(feature_map, sizes, ratios), theirs, rtol=0, atol=TOLERANCE["float32"])


@pytest.mark.backend("torch")
@table(CASES)
def test_anchors_in_float64_are_what_the_book_s_code_gives_in_float64(shape, sizes, ratios, d2l_torch):
    import torch

    torch.set_default_dtype(torch.float64)
    try:
        theirs = d2l_torch.multibox_prior(torch.zeros(shape), sizes, ratios).numpy()
    finally:
        torch.set_default_dtype(torch.float32)
    assert theirs.dtype == np.float64
    np.testing.assert_allclose(multibox_prior(np.zeros(shape), sizes, ratios), theirs, rtol=0, atol=1e-12)


@pytest.mark.backend("mxnet")
@table(CASES)
def test_anchors_are_those_of_mxnet_s_operator(shape, sizes, ratios):
    from mxnet import np as mxnp
    from mxnet import npx

    theirs = npx.multibox_prior(mxnp.zeros(shape), sizes=sizes, ratios=ratios).asnumpy()
    ours = multibox_prior(np.zeros(shape, np.float32), sizes, ratios)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE["float32"])


@table(CASES)
@pytest.mark.parametrize("leading", [0, 1, 2], ids=["2 axes", "3 axes", "4 axes"])
def test_anchors_are_the_same_in_numpy_and_the_backends(shape, sizes, ratios, leading, backend, dtype):
    feature_map = np.zeros(shape[2 - leading :], dtype)
    reference = multibox_prior(feature_map, sizes, ratios)
    ours = backend.anchors.multibox_prior(backend.data.to_device(feature_map), sizes, ratios)
    ours = backend.data.to_numpy(ours)
    num_anchors = shape[-2] * shape[-1] * (len(sizes) + len(ratios) - 1)
    assert ours.shape == reference.shape == (1, num_anchors, 4)
    assert ours.dtype == reference.dtype == dtype
    np.testing.assert_allclose(ours, reference, rtol=0, atol=TOLERANCE[dtype])


def test_anchors_drawn_by_hand():
    """A map of 1 x 2 units: height 1, width 2 of the image's, so a square anchor is half as wide as it is high."""
    first, second = multibox_prior(np.zeros((1, 2)), [0.4], [1, 4])[0].reshape(2, 2, 4)
    np.testing.assert_allclose(first, [[0.15, 0.3, 0.35, 0.7], [0.05, 0.4, 0.45, 0.6]], rtol=0, atol=1e-15)
    np.testing.assert_allclose(second, first + [0.5, 0, 0.5, 0], rtol=0, atol=1e-15)


def test_ratio_1_is_a_square_in_pixels_on_any_map():
    for height, width in [(3, 7), (9, 4), (5, 5)]:
        boxes = multibox_prior(np.zeros((height, width)), [0.2, 0.3], [1, 2]).reshape(-1, 3, 4)
        sides = (boxes[..., 2:] - boxes[..., :2]) * [width, height]
        np.testing.assert_allclose(sides[:, :2, 0], sides[:, :2, 1], rtol=1e-12)
        np.testing.assert_allclose(sides[:, 2, 0], 2 * sides[:, 2, 1], rtol=1e-12)


def test_a_map_of_whole_numbers_gets_float32_anchors():
    assert multibox_prior(np.zeros((2, 2), np.int64), [0.5], [1]).dtype == np.float32


def test_the_grid_of_the_book_s_model_is_the_anchors_of_its_five_maps(backend, book):
    maps = [np.zeros((1, 1, size, size), np.float32) for size in (32, 16, 8, 4, 1)]
    config, d, n = BOOK.model.anchors, backend.data.to_device, backend.data.to_numpy
    blocks = zip(maps, config.sizes, config.ratios, strict=True)
    theirs = np.concatenate([n(book.multibox_prior(d(X), sizes, ratios)) for X, sizes, ratios in blocks], axis=1)
    assert theirs.shape == (1, 5444, 4)
    np.testing.assert_allclose(anchor_grid(BOOK.model), theirs, rtol=0, atol=TOLERANCE["float32"])
    np.testing.assert_allclose(anchor_grid(BOOK.model, "float64"), theirs, rtol=0, atol=TOLERANCE["float32"])


def test_the_grid_follows_the_configuration():
    anchors = AnchorConfig(((0.1,), (0.2, 0.3), (0.4,), (0.5,), (0.9,)), ((1.0,), (1.0, 2.0), (1.0,), (1.0,), (1.0,)))
    config = ModelConfig(image_size=128, anchors=anchors)
    grid = anchor_grid(config)
    assert config.num_anchors == 16 * 16 + 8 * 8 * 3 + 4 * 4 + 2 * 2 + 1 == grid.shape[1]
    np.testing.assert_allclose(grid[0, -1], [0.05, 0.05, 0.95, 0.95], rtol=1e-6)
