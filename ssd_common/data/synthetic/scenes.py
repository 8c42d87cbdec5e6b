"""The default dataset: rendered fruit in painted scenes, made from a seed, without a network or a file.

It stands in for the book's banana set: 1000 training and 100 validation images of 256 x 256 pixels, a banana in
each, its box 12 to 29 % of the image wide and high. The fruit are solids in any pose and light (`synthetic_fruit`,
`synthetic_solids`), the scenes have the statistics of photographs (`synthetic_background`), and other things lie about,
yellow ones and bent ones among them, so that neither "yellow" nor "a thing" is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ssd_common.data.cache import CACHE_BYTES, ExampleCache
from ssd_common.data.dataset import Example
from ssd_common.data.synthetic.background import flat_thing, photograph, scene
from ssd_common.data.synthetic.fruit import BYSTANDERS, FRUITS
from ssd_common.data.synthetic.solids import draw, light, pose, visible
from ssd_common.errors import InputError

SPLITS = {"train": 1000, "val": 100}
"""How many images each split has, as in the book's set. Its place in this order seeds the split."""
MIN_IMAGE_SIZE = 32
SIZE_LIMITS = (0.05, 0.9)
MAX_OVERLAP = 0.1  # of the smaller of two boxes
PLACING_ATTEMPTS = 40
FRUIT_TILT = {"banana": 0.35, "apple": 1.2, "orange": 1.2}  # out of the image's plane, radians, about
OPAQUE = 128  # an alpha of one half

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first column and row outside."""


class Options(NamedTuple):
    """What the images show; see `SyntheticDataset`."""

    classes: tuple[str, ...] = ("banana",)
    max_objects: int = 1
    size_range: tuple[float, float] = (0.12, 0.29)
    image_size: int = 256


class Picture(NamedTuple):
    """An image, and what is where in it."""

    image: NDArray[np.uint8]
    """`(image_size, image_size, 3)`, RGB, read-only."""
    owner: NDArray[np.int32]
    """`(image_size, image_size)`: k where object k is at least half opaque and not covered by a later one, else 0."""
    class_ids: NDArray[np.int64]
    """`(num_objects,)`, of the objects 1, 2, ..."""


class SyntheticDataset:
    """Images of fruit; each depends on the seed, the split, its index and the options, and on nothing else.

    Another processor or another release of NumPy or Pillow may round a few pixels differently.

    Args:
        split: "train" or "val".
        classes: the fruit to draw and label, any of "banana", "apple" and "orange", in the order of their class ids.
            The others may lie about unlabelled.
        max_objects: an image has 1 to this many objects, all numbers equally likely; fewer where there is no room.
        size_range: smallest and largest width and height of an object, as fractions of the image, up to rounding to
            pixels. Where no pose found has both within it, the longer of the two is.
        image_size: width and height of the images in pixels.
        seed: of everything random.
        num_images: how many images; by default 1000 for "train" and 100 for "val".
        cache_bytes: how many bytes of images are kept when they are made, so that later epochs cost nothing. The
            1000 of the default training split have 197 MB.

    Raises:
        InputError: an option is out of its range.
    """

    kind = "synthetic"

    def __init__(
        self,
        split: str = "train",
        *,
        classes: Sequence[str] = ("banana",),
        max_objects: int = 1,
        size_range: tuple[float, float] = (0.12, 0.29),
        image_size: int = 256,
        seed: int = 0,
        num_images: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"{self.kind}: unknown split {split!r}; the splits are {', '.join(SPLITS)}")
        if num_images is not None and num_images < 1:
            raise InputError(f"{self.kind}: num_images must be at least 1, got {num_images}")
        if seed < 0:
            raise InputError(f"{self.kind}: seed must be at least 0, got {seed}")
        self.options = _checked(self.kind, Options(tuple(classes), max_objects, size_range, image_size))
        self.name = f"{self.kind}:{split}"
        self.class_names = self.options.classes
        self._seed = (seed, list(SPLITS).index(split))
        self._length = SPLITS[split] if num_images is None else num_images
        self._cache = ExampleCache(cache_bytes)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Example:
        """Return an image with its labels, the tight boxes of what is seen of the objects."""
        image, labels, _ = self._cache.get(index, self._make)
        return Example(image.copy(), labels.copy())  # what the caller does to them does not reach the cache

    def _make(self, index: int) -> Example:
        picture = self.picture(index)
        return Example(picture.image, tight_boxes(picture.owner, picture.class_ids))

    def picture(self, index: int) -> Picture:
        """Return an image with the map of its objects, made afresh."""
        if not 0 <= index < self._length:
            raise IndexError(f"{self.name}: index {index} is out of range, the dataset has {self._length} images")
        return self._draw(np.random.default_rng([*self._seed, index]))

    def _draw(self, rng: np.random.Generator) -> Picture:
        return make_picture(rng, self.options)


def _checked(kind: str, options: Options) -> Options:
    """Return the options; raise InputError if one is out of its range."""
    classes, size_range = options.classes, options.size_range
    if not classes or len(set(classes)) < len(classes) or not set(classes) <= set(FRUITS):
        raise InputError(
            f"{kind}: classes must be some of {', '.join(FRUITS)}, each once; got {', '.join(classes) or 'none'}"
        )
    if options.max_objects < 1:
        raise InputError(f"{kind}: max_objects must be at least 1, got {options.max_objects}")
    if len(size_range) != 2 or not SIZE_LIMITS[0] <= size_range[0] <= size_range[1] <= SIZE_LIMITS[1]:
        raise InputError(
            f"{kind}: size_range must be two rising fractions of the image from {SIZE_LIMITS[0]} to "
            f"{SIZE_LIMITS[1]}, got {size_range}"
        )
    if options.image_size < MIN_IMAGE_SIZE:
        raise InputError(f"{kind}: image_size must be at least {MIN_IMAGE_SIZE} pixels, got {options.image_size}")
    return options


def make_picture(rng: np.random.Generator, options: Options) -> Picture:
    """Return an image: a scene, other things lying about, and then the objects."""
    size = options.image_size
    image = scene(rng, size)
    cut_and_pasted = rng.random() < 0.5  # things put on a finished photograph, or there when it was taken
    if cut_and_pasted:
        image = photograph(rng, image, max_contrast=3)
    for _ in range(rng.integers(3)):
        thing = other_thing(rng, options)
        left, top = rng.integers(-size // 10, size - size // 10, 2).tolist()
        paste(rng, image, thing, left, top)

    owner = np.zeros((size, size), np.int32)
    class_ids: list[int] = []
    boxes: list[PixelBox] = []
    for class_id in rng.integers(len(options.classes), size=rng.integers(1, options.max_objects + 1)).tolist():
        cutout = fruit(rng, options.classes[class_id], options)
        box = free_place(rng, cutout.size, size, boxes)
        if box is not None:
            left, top, right, bottom = box
            boxes.append(box)
            class_ids.append(class_id)
            paste(rng, image, cutout, left, top)
            owner[top:bottom, left:right][np.asarray(cutout.getchannel("A")) >= OPAQUE] = len(boxes)
    if not cut_and_pasted:
        image = photograph(rng, image, max_contrast=1.3)
    return Picture(np.asarray(image), owner, np.array(class_ids))


def tight_boxes(owner: NDArray[np.int32], class_ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the labels, float32 `(num_objects, 5)`, of the objects seen in an owner map; see `Picture`.

    A box runs from the outer edge of its first pixel to the outer edge of its last. An object not seen has no row.
    """
    height, width = owner.shape
    rows = []
    for k, class_id in enumerate(class_ids.tolist(), start=1):
        seen = owner == k
        x, y = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
        if len(x):
            rows.append([class_id, x[0] / width, y[0] / height, (x[-1] + 1) / width, (y[-1] + 1) / height])
    return np.array(rows, np.float32).reshape(-1, 5)


def fruit(rng: np.random.Generator, kind: str, options: Options) -> Image.Image:
    """Return an RGBA cut-out of a fruit of the kind; its width and height are in the size range."""
    smallest, largest = options.size_range
    mesh, (width, height) = pose(rng, FRUITS[kind](rng), FRUIT_TILT[kind], largest / smallest)
    aspect = max(width, height) / min(width, height)
    longer = options.image_size * rng.uniform(min(smallest * aspect, largest), largest)
    scale = longer / max(width, height)
    return draw(light(rng, visible(mesh)), max(2, round(width * scale)), max(2, round(height * scale)))


def other_thing(rng: np.random.Generator, options: Options) -> Image.Image:
    """Return an RGBA cut-out of something that is not of the classes, 5 to 40 % of the image in size."""
    size = max(2, round(options.image_size * rng.uniform(0.05, 0.4)))
    if rng.random() < 0.5:
        return flat_thing(rng, size)
    other_fruit = [FRUITS[kind] for kind in FRUITS if kind not in options.classes]
    makers = other_fruit if other_fruit and rng.random() < 0.3 else BYSTANDERS
    mesh, (width, height) = pose(rng, makers[rng.integers(len(makers))](rng), tilt=0.6, max_aspect=np.inf)
    scale = size / max(width, height)
    return draw(light(rng, visible(mesh)), max(2, round(width * scale)), max(2, round(height * scale)))


def free_place(
    rng: np.random.Generator, cutout: tuple[int, int], image_size: int, taken: Sequence[PixelBox]
) -> PixelBox | None:
    """Return a random box inside the image for a cut-out `(width, height)`, or None if no free one is found."""
    width, height = cutout
    for _ in range(PLACING_ATTEMPTS):
        left, top = int(rng.integers(image_size - width + 1)), int(rng.integers(image_size - height + 1))
        box = (left, top, left + width, top + height)
        if all(_overlap(box, other) <= MAX_OVERLAP for other in taken):
            return box
    return None


def _overlap(first: PixelBox, second: PixelBox) -> float:
    """Return the intersection of two boxes as a share of the smaller."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(width, 0) * max(height, 0) / smaller


def paste(rng: np.random.Generator, image: Image.Image, cutout: Image.Image, left: int, top: int) -> None:
    """Lay an RGBA cut-out on the image, in place, sometimes with a soft shadow under it."""
    if rng.random() < 0.4:
        reach = 1 + cutout.width // 12
        depth = np.asarray(cutout.getchannel("A")) * rng.uniform(0.2, 0.7)
        shadow = Image.new("L", (cutout.width + 4 * reach, cutout.height + 4 * reach))
        shadow.paste(Image.fromarray(depth.astype(np.uint8)), (2 * reach, 2 * reach))
        across, down = (rng.integers(-reach, reach + 1, 2) - 2 * reach).tolist()
        image.paste((0, 0, 0), (left + across, top + down), shadow.filter(ImageFilter.BoxBlur(reach)))
    image.paste(cutout, (left, top), cutout)
