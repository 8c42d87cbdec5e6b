"""Brightness, contrast, saturation and hue are torchvision's and colorsys', up to the rounding of 8 bits."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from ssd_common.data.augment import photometry
from ssd_common.data.augment.photometry import add_noise, adjust_hue, distort_colours

FACTORS = [0.5, 0.8, 1.0, 1.3, 1.5]
HUE_LEVELS = 10
"""One step of hue, by which Pillow rounds down, is 6 levels; half a one of the turn 3; saturation is 1 off."""
TURNS = [-0.5, -0.05, 0.0, 0.02, 0.3]


@pytest.fixture(scope="module")
def picture():
    """Random colours, grey ones, and the corners of the cube among them."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (40, 30, 3), np.uint8)
    colours[:5] = colours[:5, :, :1]
    colours[5, :8] = np.indices((2, 2, 2)).reshape(3, 8).T * 255
    return Image.fromarray(colours)


def torchvision_adjusted(name, picture, amount):
    import torch
    from torchvision.transforms.v2 import functional

    adjusted = getattr(functional, f"adjust_{name}")(torch.from_numpy(np.array(picture).transpose(2, 0, 1)), amount)
    return adjusted.numpy().transpose(1, 2, 0)


def difference(ours, theirs):
    return np.abs(np.array(ours).astype(int) - theirs)


@pytest.mark.backend("torch")
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_torchvisions(name, factor, picture):
    ours = getattr(photometry, f"adjust_{name}")(picture, factor)
    assert difference(ours, torchvision_adjusted(name, picture, factor)).max() <= 1


@pytest.mark.backend("torch")
@pytest.mark.parametrize("turn", TURNS)
def test_hue_is_torchvisions(turn, picture):
    off = difference(adjust_hue(picture, turn), torchvision_adjusted("hue", picture, turn))
    assert off.max() <= HUE_LEVELS
    assert off.mean() < 2


@pytest.mark.parametrize("turn", TURNS)
def test_hue_is_that_of_colorsys(turn, picture):
    expected = []
    for r, g, b in np.array(picture).reshape(-1, 3) / 255:
        hue, saturation, value = colorsys.rgb_to_hsv(r, g, b)
        expected.append(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
    off = difference(adjust_hue(picture, turn), 255 * np.reshape(expected, (40, 30, 3)))
    assert off.max() <= HUE_LEVELS
    assert off.mean() < 2


def test_each_distortion_changes_half_of_the_pictures():
    colour = Image.new("RGB", (1, 1), (200, 120, 40))
    for strengths in np.eye(4) * (0.2, 0.0, 0.5, 0.1):  # contrast is nothing in an image of one colour
        if not strengths.any():
            continue
        rng = np.random.default_rng(0)
        changed = [distort_colours(colour, *strengths, rng).getpixel((0, 0)) != (200, 120, 40) for _ in range(1000)]
        assert 0.44 < np.mean(changed) < 0.56


def test_the_strength_bounds_the_change(picture):
    rng = np.random.default_rng(0)
    grey = Image.new("RGB", (1, 1), (100, 100, 100))
    values = [distort_colours(grey, 0.25, 0.0, 0.0, 0.0, rng).getpixel((0, 0))[0] for _ in range(1000)]
    assert 74 <= min(values) <= 76
    assert 124 <= max(values) <= 125
    unchanged = distort_colours(picture, 0.0, 0.0, 0.0, 0.0, rng)
    np.testing.assert_array_equal(unchanged, picture)


def test_contrast_comes_before_or_after_saturation_and_hue(monkeypatch, picture):
    orders = set()
    for name in ("brightness", "contrast", "saturation", "hue"):

        def note(picture, amount, name=name):
            order.append(name[0])
            return picture

        monkeypatch.setattr(photometry, f"adjust_{name}", note)
    rng = np.random.default_rng(0)
    for _ in range(300):
        order = []
        distort_colours(picture, 0.1, 0.1, 0.1, 0.1, rng)
        orders.add("".join(order))
    assert orders >= {"bcsh", "bshc", "", "b", "c", "s", "h"}
    assert all(name in "bcsh" or name in "bshc" for name in orders if len(name) == 4)


@pytest.mark.parametrize("levels", [1, 8, 127])
def test_noise_is_even_and_bounded(levels):
    image = np.full((100, 100, 3), 128, np.uint8)
    noise = add_noise(image, levels, np.random.default_rng(0)).astype(int) - 128
    values, counts = np.unique(noise, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-levels, levels + 1))
    np.testing.assert_allclose(counts, noise.size / (2 * levels + 1), rtol=0.5)
    assert abs(noise.mean()) < 0.02 * levels + 0.01


def test_noise_does_not_wrap_around():
    image = np.array([[[0, 255, 128]]], np.uint8).repeat(1000, axis=0)
    noisy = add_noise(image, 20, np.random.default_rng(0))
    assert noisy.dtype == np.uint8
    assert noisy[..., 0].max() <= 20
    assert noisy[..., 1].min() >= 235
