"""A dataset made as the book made its own: a few bananas, turned, scaled, and pasted onto backgrounds.

Its bananas differ in position, size and angle only. So the chapter's recipe learns from 1000 images what it cannot
learn from those of `SyntheticDataset`, where each banana has a shape, a pose and a light of its own.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ssd_common.data.cache import CACHE_BYTES
from ssd_common.data.synthetic.background import photograph, scene
from ssd_common.data.synthetic.fruit import banana
from ssd_common.data.synthetic.scenes import OPAQUE, SPLITS, Picture, SyntheticDataset, free_place, tight_boxes
from ssd_common.data.synthetic.solids import Mesh, draw, light, visible

NUM_BANANAS = 3


class BookDataset(SyntheticDataset):
    """Images of one banana each, one of a few; otherwise as `SyntheticDataset`.

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
        super().__init__(split, image_size=image_size, seed=seed, num_images=num_images, cache_bytes=cache_bytes)
        rng = np.random.default_rng([seed, len(SPLITS)])  # another stream than that of any split
        self._bananas = [light(rng, visible(banana(rng))) for _ in range(NUM_BANANAS)]

    def _draw(self, rng: np.random.Generator) -> Picture:
        size = self.options.image_size
        image = photograph(rng, scene(rng, size), max_contrast=3)
        cutout = turned(rng, self._bananas[rng.integers(NUM_BANANAS)], size, self.options.size_range)
        left, top, right, bottom = free_place(rng, cutout.size, size, [])
        image.paste(cutout, (left, top), cutout)
        owner = np.zeros((size, size), np.int32)
        owner[top:bottom, left:right] = np.asarray(cutout.getchannel("A")) >= OPAQUE
        return Picture(np.asarray(image), owner, np.zeros(1, np.int64))


def turned(rng: np.random.Generator, mesh: Mesh, image_size: int, size_range: tuple[float, float]) -> Image.Image:
    """Return an RGBA cut-out of a mesh turned in the image's plane; its width and height are in the size range."""
    smallest, largest = size_range
    while True:
        angle = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        plane = mesh.corners[..., :2] @ np.array([[cos, sin], [-sin, cos]])
        width, height = np.ptp(plane.reshape(-1, 2), axis=0).tolist()
        scale = image_size * rng.uniform(smallest, largest) / max(width, height)
        columns, rows = round(width * scale), round(height * scale)
        if min(columns, rows) < smallest * image_size:
            continue
        cutout = draw(mesh._replace(corners=np.concatenate([plane, mesh.corners[..., 2:]], axis=-1)), columns, rows)
        seen = cutout.getchannel("A").point(lambda alpha: 255 * (alpha >= OPAQUE)).getbbox()
        cutout = cutout.crop(seen)
        if min(cutout.size) >= smallest * image_size and max(cutout.size) <= largest * image_size:
            return cutout
