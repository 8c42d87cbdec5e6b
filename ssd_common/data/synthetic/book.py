"""A dataset made as the book made its own: a few bananas, turned, scaled and pasted onto backgrounds.

The images of `SyntheticDataset` show bananas of any shape, pose and light, among other things, and the chapter's recipe
learns little from 1000 of them. Here only the place, the size and the angle of the banana change, and the backgrounds
are those of photographs that are out of focus.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ssd_common.data.cache import CACHE_BYTES
from ssd_common.data.synthetic.background import photograph, scene
from ssd_common.data.synthetic.fruit import banana
from ssd_common.data.synthetic.scenes import OPAQUE, SPLITS, Picture, SyntheticDataset
from ssd_common.data.synthetic.solids import Mesh, draw, light, visible

NUM_BANANAS = 2
SIZE_RANGE = (0.16, 0.25)  # the sides of the book's are 0.12 to 0.29: what is smaller or larger is learned more slowly
BLUR = 8  # of the background: its pixels at 256 are so many pixels wide
GREYNESS = 0.75  # of the background: 0 leaves its colours, 1 has none


class BookDataset(SyntheticDataset):
    """Images of one banana each, one of a few; see `SyntheticDataset` for what is not said here.

    Args:
        split: "train" or "val".
        image_size: width and height of the images in pixels.
        seed: of everything random, the bananas too. Both splits show the same bananas.
        num_images: how many images; by default 1000 for "train" and 100 for "val".
        cache_bytes: how many bytes of images are kept.

    Raises:
        InputError: an option is out of its range.
    """

    kind = "synthetic-book"

    def __init__(
        self,
        split: str = "train",
        *,
        image_size: int = 256,
        seed: int = 0,
        num_images: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__(
            split,
            size_range=SIZE_RANGE,
            image_size=image_size,
            seed=seed,
            num_images=num_images,
            cache_bytes=cache_bytes,
        )
        rng = np.random.default_rng([seed, len(SPLITS)])  # not the random numbers of a split
        self.bananas = tuple(light(rng, visible(banana(rng))) for _ in range(NUM_BANANAS))

    def _draw(self, rng: np.random.Generator) -> Picture:
        size = self.options.image_size
        image = background(rng, size)
        cutout = cut_out(rng, self.bananas[rng.integers(NUM_BANANAS)], size)
        left, top = rng.integers(size - cutout.width + 1), rng.integers(size - cutout.height + 1)
        image.paste(cutout, (int(left), int(top)), cutout)
        owner = np.zeros((size, size), np.int32)
        owner[top : top + cutout.height, left : left + cutout.width] = np.asarray(cutout.getchannel("A")) >= OPAQUE
        return Picture(np.asarray(image), owner, np.zeros(1, np.int64))


def background(rng: np.random.Generator, size: int) -> Image.Image:
    """Return an RGB image, `size` pixels square, with the muted colours and the soft edges of a photograph."""
    small = max(1, round(size * BLUR / 256))
    image = scene(rng, size).reduce(small).resize((size, size), Image.Resampling.BICUBIC)
    image = photograph(rng, image, max_contrast=3)
    return Image.blend(image, image.convert("L").convert("RGB"), GREYNESS)


def cut_out(rng: np.random.Generator, mesh: Mesh, image_size: int) -> Image.Image:
    """Return an RGBA image that the mesh just fills, turned at random; its width and height are in the size range."""
    smallest, largest = (fraction * image_size for fraction in SIZE_RANGE)
    while True:
        turned = turn(mesh, rng.uniform(0, 2 * math.pi))
        width, height = np.ptp(turned.corners[..., :2].reshape(-1, 2), axis=0)
        scale = rng.uniform(smallest, largest) / max(width, height)
        if min(width, height) * scale < smallest:
            continue
        cutout = draw(turned, round(width * scale), round(height * scale))
        cutout = cutout.crop(cutout.getchannel("A").point(lambda alpha: 255 * (alpha >= OPAQUE)).getbbox())
        if smallest <= min(cutout.size) and max(cutout.size) <= largest:
            return cutout


def turn(mesh: Mesh, angle: float) -> Mesh:
    """Return the mesh turned by an angle in the image's plane."""
    cos, sin = math.cos(angle), math.sin(angle)
    return mesh._replace(corners=mesh.corners @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]))
