"""Lay bananas on photographs: a COCO dataset on which a detector trained on the synthetic images can prove itself.

    python -m benchmarks.composites PHOTOGRAPHS OUT [--bananas cutout.png ...]
    tinyssd eval --weights W --data coco:OUT/images,OUT/labels.json --out OUT/eval

Each image is a random square of a random photograph with one banana on it: a photographed one, from a cut-out with an
alpha channel, at any angle; or else one rendered as in the synthetic set, from a seed of its own. The photographs
should show no bananas themselves.
"""

import argparse
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ssd_common.data.formats.annotations import Picture
from ssd_common.data.formats.coco import write_coco
from ssd_common.data.synthetic.scenes import OPAQUE, Options, free_place, fruit, paste
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError
from ssd_common.runs.predict import find_pictures


def random_square(rng, photograph, size):
    """Return a random square of a photograph, at least half as high or wide as it, `size` pixels wide."""
    side = int(min(photograph.size) * rng.uniform(0.5, 1))
    left, top = (int(rng.integers(whole - side + 1)) for whole in photograph.size)
    box = (left, top, left + side, top + side)
    return photograph.resize((size, size), Image.Resampling.LANCZOS, box=box, reducing_gap=3)


def turned(rng, cutout, options):
    """Return a cut-out mirrored or not, at a random angle, its width and height in the size range where they can be."""
    if rng.random() < 0.5:
        cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    cutout = cutout.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
    cutout = cutout.crop(cutout.getchannel("A").point(lambda alpha: 255 * (alpha >= OPAQUE)).getbbox())
    smallest, largest = (options.image_size * share for share in options.size_range)
    scale = rng.uniform(min(smallest / min(cutout.size), largest / max(cutout.size)), largest / max(cutout.size))
    width, height = (max(2, round(side * scale)) for side in cutout.size)
    return cutout.resize((width, height), Image.Resampling.LANCZOS)


def composites(photographs, cutouts, count, seed, options):
    """Yield `count` images of one banana each, as `write_coco` takes them.

    Args:
        photographs: RGB images.
        cutouts: RGBA cut-outs; without any, bananas are rendered.
        count: how many images.
        seed: of everything random.
        options: the size of the images and of the bananas.
    """
    size = options.image_size
    for index in range(count):
        rng = np.random.default_rng([seed, index, len(photographs)])
        image = random_square(rng, photographs[rng.integers(len(photographs))], size)
        if cutouts:
            banana = turned(rng, cutouts[rng.integers(len(cutouts))], options)
        else:
            banana = fruit(rng, "banana", options)
        box = free_place(rng, banana.size, size, [])
        paste(rng, image, banana, *box[:2])
        file = BytesIO()
        image.save(file, "PNG")
        boxes = np.array([box], dtype=np.float64)
        yield Picture(f"{index:04d}.png", file.getvalue(), size, size, np.zeros(1, np.int64), boxes, np.zeros(1, bool))


def main():
    """Read the photographs and write the dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="image, or folder of images")
    parser.add_argument("out", type=Path, help="folder to write: images/ and labels.json")
    parser.add_argument("--bananas", type=Path, nargs="+", default=[], help="PNGs of bananas with an alpha channel")
    parser.add_argument("--pictures", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        if (arguments.out / "labels.json").exists():
            raise InputError(f"{arguments.out} has a dataset already: name another folder")
        photographs = [Image.fromarray(read_image(path)) for path in find_pictures([arguments.photographs])]
        cutouts = [Image.open(path).convert("RGBA") for path in arguments.bananas]
    except (InputError, OSError) as error:
        sys.exit(f"composites: {error}")
    pictures = composites(photographs, cutouts, arguments.pictures, arguments.seed, Options())
    write_coco(arguments.out / "images", arguments.out / "labels.json", ("banana",), pictures)
    print(f"wrote {arguments.pictures} images to {arguments.out}")


if __name__ == "__main__":
    main()
