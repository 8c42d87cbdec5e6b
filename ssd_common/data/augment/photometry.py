"""Colours, distorted: brightness, contrast, saturation, hue, and noise. Boxes stay where they are.

Source: SSD refers to A. Howard, "Some Improvements on Deep Convolutional Neural Network Based Image Classification"
(2013), who used the Python Imaging Library's enhancers. So do these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

DISTORTED = 0.5
"""Each distortion changes this share of the images (SSD's code)."""


def adjust_brightness(picture: Image.Image, factor: float) -> Image.Image:
    """Return the image with every value multiplied by `factor`; 0 is black."""
    return ImageEnhance.Brightness(picture).enhance(factor)


def adjust_contrast(picture: Image.Image, factor: float) -> Image.Image:
    """Return the image with every value `factor` times as far from its mean grey; 0 is grey all over."""
    return ImageEnhance.Contrast(picture).enhance(factor)


def adjust_saturation(picture: Image.Image, factor: float) -> Image.Image:
    """Return the image with every pixel `factor` times as far from its own grey; 0 is a grey image."""
    return ImageEnhance.Color(picture).enhance(factor)


def adjust_hue(picture: Image.Image, turn: float) -> Image.Image:
    """Return the image with every hue turned by `turn` circles of colour, in steps of 1/255.

    Pillow keeps the hue in 255 such steps, rounded down: a channel can come out a few of its 256 levels off.
    """
    steps = round(255 * turn)
    hue, saturation, value = picture.convert("HSV").split()
    turned = hue.point([(level + steps) % 255 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def distort_colours(
    picture: Image.Image, brightness: float, contrast: float, saturation: float, hue: float, rng: np.random.Generator
) -> Image.Image:
    """Return the image with random brightness, contrast, saturation and hue, each in `DISTORTED` of the cases.

    Args:
        picture: RGB.
        brightness: factors are drawn from 1 - `brightness` to 1 + `brightness`.
        contrast: likewise; before or after saturation and hue, evenly.
        saturation: likewise.
        hue: turns are drawn from -`hue` to `hue`, in circles of colour.
        rng: draws what is done.

    Source: SSD, section 2.2, data augmentation, and its code (`ApplyDistort`).
    """
    strengths = np.array((brightness, contrast, saturation, hue))
    amounts = rng.uniform(-strengths, strengths) * (rng.random(4) < DISTORTED)
    steps = [
        (adjust_brightness, 1 + amounts[0], 1),
        (adjust_saturation, 1 + amounts[2], 1),
        (adjust_hue, amounts[3], 0),
    ]
    steps.insert(1 if rng.random() < 0.5 else 3, (adjust_contrast, 1 + amounts[1], 1))
    for adjust, amount, nothing in steps:
        if amount != nothing:
            picture = adjust(picture, amount)
    return picture


def add_noise(image: NDArray[np.uint8], levels: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image with a whole number from -`levels` to `levels` added to every value, any as likely.

    Args:
        image: uint8 `(height, width, 3)`.
        levels: 0…127.
        rng: draws the noise.
    """
    noise = rng.integers(-levels, levels, image.shape, np.int8, endpoint=True)
    return (image + noise.astype(np.int16)).clip(0, 255).astype(np.uint8)
