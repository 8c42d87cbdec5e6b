"""Every image becomes the same upright RGB array, and one that cannot be decoded is refused in one line."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ssd_common.data.transforms import MANY_PIXELS, normalise, read_image, resize_image
from ssd_common.errors import InputError


def random_image(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(256, size=(height, width, channels), dtype=np.uint8)


def random_16_bit(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(65536, size=shape, dtype=np.uint16)


def encode(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """A PNG file, chunk by chunk, with whatever header we like."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def photograph() -> bytes:
    """A JPEG of smooth colours, 40 x 60."""
    rows, columns = np.mgrid[0:40, 0:60]
    return encode(Image.fromarray(np.stack([rows * 6, columns * 4, rows + columns], 2).astype(np.uint8)), "JPEG")


# --- read_image


def test_a_lossless_picture_comes_back_exactly_from_a_path_and_from_bytes(tmp_path: Path) -> None:
    expected = random_image(5, 7)
    content = encode(Image.fromarray(expected))
    path = tmp_path / "a png in truth.jpg"
    path.write_bytes(content)
    for source in (content, path, str(path)):
        image = read_image(source)
        assert image.dtype == np.uint8
        assert image.flags.writeable
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_becomes_the_rgb_that_pillow_makes_of_it(mode: str) -> None:
    picture = Image.fromarray(random_image(5, 7, 4)).convert(mode)
    np.testing.assert_array_equal(read_image(encode(picture)), np.asarray(picture.convert("RGB")))


def test_alpha_is_dropped_not_blended() -> None:
    rgba = random_image(5, 7, 4)
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(rgba))), rgba[:, :, :3])


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    picture = Image.fromarray(random_image(5, 7)).quantize(4)
    transparent = encode(picture, transparency=bytes([0, 128, 255, 255]))
    np.testing.assert_array_equal(read_image(transparent), np.asarray(picture.convert("RGB")))


def test_cmyk_becomes_rgb() -> None:
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[:, :, 0] = 255  # all cyan
    image = read_image(encode(Image.fromarray(cmyk, "CMYK"), "TIFF"))
    np.testing.assert_array_equal(image, np.broadcast_to([0, 255, 255], (8, 8, 3)))


def test_of_sixteen_bits_the_upper_eight_are_kept() -> None:
    grey = random_16_bit(5, 7)
    expected = np.repeat((grey >> 8)[:, :, None], 3, axis=2)
    for content in (
        encode(Image.fromarray(grey), "PNG"),
        encode(Image.fromarray(grey), "TIFF"),
        b"P5 7 5 65535\n" + grey.astype(">u2").tobytes(),
    ):
        np.testing.assert_array_equal(read_image(content), expected)
    colour = random_16_bit(5, 7, 3)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colour)
    np.testing.assert_array_equal(read_image(png(7, 5, 16, 2, lines)), colour >> 8)


@pytest.mark.backend("mxnet")
@pytest.mark.filterwarnings(
    "ignore:Please use `csr_matrix`:DeprecationWarning"
)  # mx.nd.array looks for scipy.sparse.csr
def test_png_pictures_are_decoded_as_mxnet_decodes_them() -> None:
    import mxnet as mx

    rgba = Image.fromarray(random_image(30, 50, 4))
    contents = [encode(rgba.convert(mode)) for mode in ("RGB", "L", "RGBA", "LA", "P", "1")]
    contents.append(encode(Image.fromarray(random_16_bit(30, 50))))
    for content in contents:
        np.testing.assert_array_equal(read_image(content), mx.image.imdecode(content).asnumpy())


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: stored.swapaxes(0, 1)),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: stored[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda stored: np.rot90(stored)),
    ],
)
def test_the_exif_orientation_is_applied(
    orientation: int, upright: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    stored = random_image(5, 7)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(Image.fromarray(stored), exif=exif)
    np.testing.assert_array_equal(read_image(content), upright(stored))


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(content), np.broadcast_to([255, 0, 0], (3, 4, 3)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"<html>404 Not Found</html>", "not an image", id="a web page"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image", id="EPS"),
        pytest.param(photograph()[:400], "Truncated", id="JPEG cut in its header"),
        pytest.param(photograph()[:-100], "truncated", id="JPEG cut in its data"),
        pytest.param(encode(Image.fromarray(random_image(40, 60)))[:2000], "truncated", id="PNG cut in its data"),
        pytest.param(png(200_000, 200_000, 8, 2, b""), "40000000000 pixels", id="a bomb that Pillow refuses"),
        pytest.param(png(9_500, 9_500, 8, 2, b""), "90250000 pixels", id="a bomb that Pillow warns of"),
        pytest.param(encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "mode F", id="float pixels"),
        pytest.param(encode(Image.fromarray(np.ones((2, 2), np.int32)), "TIFF"), "mode I", id="32-bit pixels"),
    ],
)
def test_what_cannot_be_decoded_is_refused_by_name_in_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(InputError) as excinfo:
        read_image(content, name="train.rec: record 3")
    assert str(excinfo.value).startswith("train.rec: record 3: ")
    assert reason in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_a_bomb_is_refused_where_pillow_only_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=f"9500 x 9500 pixels, more than the {MANY_PIXELS} allowed"):
            read_image(png(9_500, 9_500, 8, 2, b""))


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such picture.png.*No such file"):
        read_image(tmp_path / "no such picture.png")
    with pytest.raises(InputError, match="a folder, a pipe or a device, not a file"):
        read_image(tmp_path)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_cut_picture_is_refused_unless_only_its_trailer_is_missing(file_format: str) -> None:
    whole = read_image(photograph())
    content = encode(Image.fromarray(whole), file_format)
    whole = read_image(content)
    refused = 0
    for length in range(len(content)):
        try:
            np.testing.assert_array_equal(read_image(content[:length]), whole)
        except InputError:
            refused += 1
    assert refused >= len(content) - 32


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP"])
def test_random_damage_gives_a_picture_or_an_input_error(file_format: str) -> None:
    content = encode(Image.open(io.BytesIO(photograph())), file_format)
    rng = np.random.default_rng(0)
    refusals = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        for _ in range(100):
            damaged = bytearray(content)
            for position in rng.integers(min(len(content), 400), size=3):
                damaged[position] = rng.integers(256)
            try:
                image = read_image(bytes(damaged))
            except InputError as error:
                refusals.append(str(error))
            else:
                assert image.shape[2] == 3
    assert refusals
    assert not any("\n" in message for message in refusals)


# --- resize_image


def test_a_size_is_a_square_or_height_and_width() -> None:
    image = random_image(5, 7)
    assert resize_image(image, 4).shape == (4, 4, 3)
    assert resize_image(image, (6, 9)).shape == (6, 9, 3)
    assert resize_image(image, (6, 9)).dtype == np.uint8


def test_resizing_to_the_same_size_changes_nothing() -> None:
    image = random_image(5, 7)
    np.testing.assert_array_equal(resize_image(image, (5, 7)), image)


@pytest.mark.backend("torch")
@pytest.mark.parametrize("size", [(20, 30), (61, 47), (200, 90)])
def test_resizing_is_the_antialiased_bilinear_of_torch(size: tuple[int, int]) -> None:
    import torch

    image = random_image(70, 90)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(batch, size, mode="bilinear", antialias=True, align_corners=False)
    # Pillow rounds to 8 bits after the horizontal pass and again after the vertical one: half a level each.
    np.testing.assert_allclose(resize_image(image, size), expected[0].permute(1, 2, 0).numpy(), rtol=0, atol=1.01)


@pytest.mark.parametrize("size", [0, (4, 0), (-1, 4), (100_000, 100_000)])
def test_a_size_that_makes_no_sense_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(InputError, match="cannot resize"):
        resize_image(random_image(5, 7), size)


# --- normalise


def test_a_batch_is_channels_first_with_the_values_unchanged() -> None:
    images = random_image(5, 7)[None].repeat(2, axis=0)
    batch = normalise(images)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, np.stack([images[..., c] for c in range(3)], axis=1))


def test_the_mean_is_subtracted_from_each_channel() -> None:
    images = random_image(5, 7)[None]
    batch = normalise(images, mean=[123, 117, 104.5], dtype=np.float64)
    assert batch.dtype == np.float64
    for channel, mean in enumerate([123, 117, 104.5]):
        np.testing.assert_array_equal(batch[:, channel], images[..., channel].astype(np.float64) - mean)


@pytest.mark.backend("torch")
def test_torch_takes_a_batch_as_channels_last_without_a_copy() -> None:
    import torch

    batch = normalise(random_image(5, 7)[None].repeat(2, axis=0))
    tensor = torch.from_numpy(batch)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor.data_ptr() == batch.ctypes.data


def test_a_batch_in_any_memory_order_becomes_channels_last() -> None:
    images = np.asfortranarray(random_image(5, 7)[None].repeat(2, axis=0))
    batch = normalise(images)
    assert batch.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(batch, images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("images", "mean", "message"),
    [
        (np.zeros((5, 7, 3), np.uint8), None, "images must be"),
        (np.zeros((1, 3, 5, 7), np.uint8), None, "images must be"),
        (np.zeros((1, 5, 7, 3), np.float32), None, "images must be"),
        (np.zeros((1, 5, 7, 3), np.uint8), [1, 2], "three numbers"),
    ],
)
def test_a_batch_of_another_shape_or_type_is_refused(
    images: NDArray[np.uint8], mean: ArrayLike | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        normalise(images, mean)
