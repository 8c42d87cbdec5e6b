"""Images: decoded, resized and laid out for a network, once, for both backends.

Two decoders, or two bilinear resizes, are two different images. So every image that either backend sees, from any
dataset, passes through Pillow here.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from ssd_common.errors import InputError, one_line, stand_in

# The formats of photographs and screenshots. Pillow knows forty more, and hands some of them (EPS) to another program.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""What their files are usually called; `read_image` goes by the content."""
OTHER_SUFFIXES = (".avif", ".dng", ".heic", ".heif", ".jp2", ".jxl", ".mpo", ".pfm", ".tga")
"""What files of images in other formats are called: not read, and told, because a camera or a browser leaves them."""

# Pillow's own default for "perhaps a decompression bomb": 256 MiB of RGB. Held here because Pillow only warns at it,
# and because its limit is a global that any other library can lift.
MAX_PIXELS = 256 * 1024 * 1024 // 3

# An image that is larger than this, in pixels, has at least one byte for so many; only a bomb has fewer.
MANY_PIXELS, MOST_PIXELS_A_BYTE = 36_000_000, 100

SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each of them asks for."""


def read_image(source: str | Path | bytes, name: str | None = None) -> NDArray[np.uint8]:
    """Return an image as an RGB array, uint8, `(height, width, 3)`, upright.

    The format is told by the content, not by the file's extension. Grey, palette, CMYK and 1-bit images become RGB.
    An alpha channel is dropped, not blended (what Pillow's `convert("RGB")`, OpenCV and MXNet do), so a transparent
    pixel shows the colour stored under it. Of 16 bits a channel, the upper 8 are kept. The EXIF orientation is
    applied. An animation gives its first frame.

    Args:
        source: the path of an image file, or the file's content.
        name: what to call the image in an error; the path, by default.

    Raises:
        InputError: the file is missing, is not an image, is cut short, has more than `MAX_PIXELS` pixels, or has
            32-bit pixels, whose range no format defines.
    """
    with _opened(source, name) as image:
        image.load()
        turn = TURNS.get(_orientation(image))
        upright = _to_rgb(image)
        return np.array(upright if turn is None else upright.transpose(turn))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is left to apply; 1 where none can be read, as viewers take it."""
    if image.format == "TIFF":  # which Pillow turns itself, when it decodes it
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # of a damaged block Pillow raises whatever it stumbles on; the pixels may be whole
        return 1
    return orientation if isinstance(orientation, int) else 1


@contextmanager
def _opened(source: str | Path | bytes, name: str | None) -> Iterator[Image.Image]:
    """An image, opened and not yet decoded; what goes wrong while it is open is an InputError."""
    if name is None:
        name = "image" if isinstance(source, bytes) else str(source)
    try:
        if not isinstance(source, bytes) and not stat.S_ISREG(os.stat(source).st_mode):
            raise OSError("a folder, a pipe or a device, not a file")
        size = len(source) if isinstance(source, bytes) else os.path.getsize(source)
        if not size:
            raise OSError("the file is empty")
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            width, height = image.size
            allowed = min(MAX_PIXELS, max(MANY_PIXELS, MOST_PIXELS_A_BYTE * size))
            if width * height <= allowed:
                yield image
                return
    except UnidentifiedImageError as error:
        start = source[:100] if isinstance(source, bytes) else _start(source)
        heif = "one in HEIC, HEIF or AVIF: convert it to JPEG or PNG" if start[4:8] == b"ftyp" else ""
        if other := stand_in(start) or heif:
            raise InputError(f"{name}: not an image that can be read, but {other}") from error
        kinds = ", ".join(FORMATS)
        raise InputError(f"{name}: not an image in one of the formats {kinds}: replace it or leave it out") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit is twice as high
        found = re.search(r"\d+ pixels", str(error))
        pixels = f"{found[0]}, more than" if found else "more than"
        raise InputError(f"{name}: {pixels} the {MAX_PIXELS} allowed: make it smaller") from error
    except Exception as error:  # on a damaged file Pillow's parsers raise whatever they stumble on
        reason = getattr(error, "strerror", None) or one_line(error)
        raise InputError(f"{name}: cannot read the image ({reason}): replace it or leave it out") from error
    raise InputError(f"{name}: {width} x {height} pixels, more than the {allowed} allowed: make it smaller")


def _start(path: str | Path) -> bytes:
    """The first bytes of a file."""
    with open(path, "rb") as file:
        return file.read(100)


def image_size(source: str | Path | bytes, name: str | None = None) -> tuple[int, int]:
    """Return height and width of the image that `read_image` returns, in pixels, decoding no more than it must.

    Args:
        source: the path of an image file, or the file's content.
        name: what to call the image in an error; the path, by default.

    Raises:
        InputError: as `read_image`, except for what only shows in the pixels.
    """
    with _opened(source, name) as image:
        if image.format == "TIFF":  # whose size Pillow may turn before it decodes it, or then
            image.load()
        width, height = image.size
        turned = _orientation(image) in SIDEWAYS
    return (width, height) if turned else (height, width)


def image_suffix(source: str | Path | bytes, name: str | None = None) -> str:
    """Return the suffix of `SUFFIXES` that goes with the content of an image; raises as `image_size`."""
    with _opened(source, name) as image:
        beginning = str(image.format)[:3].lower()
    return next((suffix for suffix in SUFFIXES if suffix[1:4] == beginning), ".jpg")  # Pillow has a JPEG named MPO


def _to_rgb(image: Image.Image) -> Image.Image:
    # Mode I has 32 bits, but these two formats have 16 at most.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow's convert() would clip every value above 255 to white instead of scaling.
        high_byte = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(high_byte.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit pixels, mode {image.mode}, have no agreed range; save it with 8 bits a channel")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image; raise InputError unless it is an array, uint8, `(height, width, 3)`."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"an image is an array (height, width, 3), not {type(image).__name__}: use read_image")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise InputError(f"an image is uint8 (height, width, 3), not {image.dtype} {image.shape}: convert it first")
    return image


def resize_image(image: NDArray[np.uint8], size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image at the given size, uint8, `(height, width, 3)`, without keeping the aspect ratio.

    Bilinear as Pillow does it: when shrinking, a pixel is the weighted mean of all the pixels that it covers. OpenCV
    and MXNet look at four of them whatever the scale, which aliases.

    Args:
        image: RGB, uint8, `(height, width, 3)`.
        size: in pixels, one side of a square or `(height, width)`.

    Raises:
        InputError: a side is not positive, or the result would have more than `MAX_PIXELS` pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise InputError(f"cannot resize an image to {height} x {width}: sides from 1, at most {MAX_PIXELS} pixels")
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized)


def normalise(
    images: NDArray[np.uint8], mean: ArrayLike = (0.0, 0.0, 0.0), dtype: DTypeLike = np.float32
) -> NDArray[np.floating[Any]]:
    """Return the images as a batch for a network, `(batch, 3, height, width)`, 0...255 less the mean.

    The result is a transposed view of a contiguous `(batch, height, width, 3)` array: a batch that PyTorch takes as
    `channels_last` without copying. Call `np.ascontiguousarray` on it where C,H,W order in memory matters.

    Args:
        images: RGB, uint8, `(batch, height, width, 3)`.
        mean: `(3,)`, what to subtract from R, G and B, 0...255; nothing, by default, as in the book.
        dtype: the floating type of the result.

    Raises:
        ValueError: `images` is not uint8 `(batch, height, width, 3)`, or `mean` is not three numbers.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images must be uint8 (batch, height, width, 3), not {images.dtype} {images.shape}")
    batch = images.astype(dtype, order="C")
    channel_mean = np.asarray(mean, dtype=dtype)
    if channel_mean.shape != (3,):
        raise ValueError(f"mean must be three numbers, R, G and B, not an array of shape {channel_mean.shape}")
    batch -= channel_mean
    return batch.transpose(0, 3, 1, 2)  # (batch, 3, height, width)
