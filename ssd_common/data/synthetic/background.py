"""Backgrounds for the synthetic images: scenes with the statistics of photographs, and the camera that takes them.

Photographs have a spectrum that falls as 1/f, colour channels that move together, and hard edges where one thing
hides another. Fractal noise gives the first, palettes of neighbouring colours the second, and shapes drawn over each
other in every size (the "dead leaves" model: Lee, Mumford and Huang, IJCV 2001) the third.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

Array = NDArray[Any]


def hsv_to_rgb(hue: Array, saturation: Array, value: Array) -> Array:
    """Return the colours `(..., 3)`, 0...255, of hues, saturations and values 0...1 (Smith, SIGGRAPH 1978)."""
    sector = (hue[..., None] * 6 + np.array([5, 3, 1])) % 6
    away = np.minimum(np.maximum(np.minimum(sector, 4 - sector), 0), 1)
    return 255 * value[..., None] * (1 - saturation[..., None] * away)


def palette(rng: Generator, count: int) -> Array:
    """Return colours `(count, 3)`, 0...255, that go together: near in hue, mostly muted, from dark to light."""
    # The hues of the world are not uniform: earth and wood, foliage, sky, and then anything.
    mean, deviation = ((0.09, 0.04), (0.09, 0.04), (0.27, 0.06), (0.58, 0.04), (0.5, 1))[rng.integers(5)]
    centre = rng.normal(mean, deviation)
    spread = rng.standard_normal((3, count))
    hue = (centre + rng.uniform(0.01, 0.08) * spread[0]) % 1
    saturation = rng.beta(1.3, 2.4) + 0.08 * spread[1]
    value = np.linspace(rng.uniform(0, 0.5), rng.uniform(0.5, 1), count) + 0.08 * spread[2]
    return hsv_to_rgb(hue, np.minimum(np.maximum(saturation, 0), 1), np.minimum(np.maximum(value, 0.02), 1))


def random_bytes(rng: Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Return noise `(height, width)`, 0...255, faster than `rng.integers` draws it."""
    return np.frombuffer(rng.bytes(height * width), np.uint8).reshape(height, width)


def fractal(rng: Generator, size: int, roughness: float, cells: tuple[int, int] = (4, 4)) -> NDArray[np.float32]:
    """Return a field `(size, size)`, 0...255, that is noise at every scale.

    Args:
        rng: where the random numbers come from.
        size: rows and columns.
        roughness: the amplitude of each octave as a share of that of the octave before.
        cells: rows and columns of the coarsest octave; unequal ones give a grain.
    """
    height, width = min(cells[0], size), min(cells[1], size)
    field = random_bytes(rng, height, width).astype(np.float32)
    amplitude = 1.0
    while min(height, width) < size:
        height, width = min(2 * height, size), min(2 * width, size)
        amplitude *= roughness
        coarse = Image.fromarray(field).resize((width, height), Image.Resampling.BILINEAR)
        field = random_bytes(rng, height, width) * np.float32(amplitude)
        field += np.asarray(coarse)
    low, high = field.min(), field.max()
    field -= low
    field *= np.float32(255 / max(high - low, 1))
    return field


def coloured(indices: NDArray[np.uint8], table: Array) -> Image.Image:
    """Return the RGB image `(height, width)` whose pixels are the rows that `indices` names of a table `(256, 3)`."""
    image = Image.fromarray(indices)
    image.putpalette(table.astype(np.uint8).tobytes())
    return image.convert("RGB")


def noise_surface(rng: Generator, size: int) -> Image.Image:
    """Return cloud, rock, water, grass or wood: fractal noise through a palette."""
    cells = ((4, 4), (8, 8), (2, 32), (32, 2), (16, 16), (2, 8))[rng.integers(6)]
    field = fractal(rng, size, rng.uniform(0.4, 0.95), cells)
    if rng.random() < 0.3:  # rings of wood, marble, ripples: the colours run through several times
        field *= np.float32(rng.uniform(2, 8))
    colours = palette(rng, int(rng.integers(2, 6)))
    stops = np.linspace(0, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), stops, colours[:, channel]) for channel in range(3)], axis=1)
    return coloured((field.astype(np.int32) & 255).astype(np.uint8), table)


def tile_surface(rng: Generator, size: int) -> Image.Image:
    """Return checks, stripes, bricks, planks or windows: a grid of cells of several colours, with joints between."""
    angle = rng.uniform(0, 2 * math.pi) * int(rng.integers(2))
    x = np.linspace(-0.5, 0.5, size, dtype=np.float32)[None]
    y = x.T
    cos, sin = math.cos(angle), math.sin(angle)  # Python's floats keep the arrays float32
    across, down = x * cos - y * sin, x * sin + y * cos
    if rng.random() < 0.5:  # in perspective, as a floor or a front
        nearness = 1 / (1 + rng.uniform(0.2, 1.3) * down)
        across, down = across * nearness, down * nearness
    per_side = rng.uniform(3, 30)
    # The 512 keeps the places above 0, where cutting off the fraction rounds down.
    rows = down * (0 if rng.random() < 0.2 else per_side * rng.uniform(0.3, 1.5)) + 512  # times 0: stripes
    row = rows.astype(np.int16)
    columns = across * per_side + 512
    if rng.random() < 0.5:  # as bricks are laid
        columns += (row & 1) * np.float32(rng.random())
    column = columns.astype(np.int16)
    table = palette(rng, 16)[rng.integers(0, rng.integers(2, 16), 256)]
    table[255] = rng.integers(256, size=3)
    cell = row + column & 1 if rng.random() < 0.4 else row * 7 + column * 11 & 255
    joint = rng.uniform(0, 0.18)
    indices = cell.astype(np.uint8)
    indices[(rows - row < joint) | (columns - column < joint)] = 255
    return coloured(indices, table)


def gradient_surface(rng: Generator, size: int) -> Image.Image:
    """Return sky, wall or blurred distance: a few colours flowing into each other."""
    rows, columns = ((2, 1), (3, 2), (4, 4), (8, 8))[rng.integers(4)]
    colours = rng.permutation(palette(rng, rows * columns)).reshape(rows, columns, 3)
    image = Image.fromarray(colours.astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
    return image.resize((size, size), Image.Resampling.BILINEAR)


def clutter_surface(rng: Generator, size: int) -> Image.Image:
    """Return dead leaves: discs, boxes or splinters over each other, few large and many small."""
    sheet = 2 * size  # drawn at twice the size, averaged at the end
    colours = np.concatenate([palette(rng, 12) for _ in range(rng.integers(1, 4))])
    count = int(rng.integers(40, 260))
    smallest = rng.uniform(0.006, 0.03)
    reach = sheet * np.minimum(smallest / np.sqrt(1 - rng.random(count) * 0.998), 0.4)  # density falls as the cube
    half = np.stack([reach, reach * rng.uniform(rng.uniform(0.15, 1), 1, count)], axis=1)
    centre = rng.uniform(0, sheet, (count, 2))
    fills = colours[rng.integers(0, len(colours), count)] + rng.normal(0, 12, (count, 3))
    fills = np.minimum(np.maximum(fills, 0), 255).astype(int)
    image = Image.new("RGB", (sheet, sheet), tuple(fills[0].tolist()))
    pen = ImageDraw.Draw(image)
    kind = rng.integers(3)
    if kind == 2:  # leaves and splinters: hexagons, along one direction or in all
        turn = rng.uniform(0, 2 * np.pi, count) * rng.integers(2) + rng.normal(rng.uniform(0, 7), 0.3, count)
        ahead = np.stack([np.cos(turn), np.sin(turn)], axis=1) * half[:, :1]
        aside = np.stack([-np.sin(turn), np.cos(turn)], axis=1) * half[:, 1:]
        waist = rng.uniform(0.1, 0.6) * ahead
        outline = np.stack([ahead, waist + aside, aside - waist, -ahead, -waist - aside, waist - aside], axis=1)
        shapes, paint = (outline + centre[:, None]).reshape(count, -1), pen.polygon
    else:
        half = half[:, ::-1] if rng.random() < 0.5 else half
        shapes, paint = np.concatenate([centre - half, centre + half], axis=1), (pen.ellipse, pen.rectangle)[kind]
    for shape, fill in zip(shapes.tolist(), map(tuple, fills.tolist()), strict=True):
        paint(shape, fill)
    return image.reduce(2)


SURFACES = (noise_surface, tile_surface, gradient_surface, clutter_surface)
SURFACE_SHARES = np.cumsum([0.3, 0.2, 0.15, 0.35])


def surface(rng: Generator, size: int) -> Image.Image:
    """Return an RGB image, `size` pixels square, of one material."""
    return SURFACES[np.searchsorted(SURFACE_SHARES[:-1], rng.random())](rng, size)


def region(rng: Generator, size: int) -> Image.Image:
    """Return a mask, "L": the part of a scene that one material fills, behind an edge, a skyline or a frame."""
    kind = rng.integers(4)
    x = np.linspace(-0.5, 0.5, size)
    if kind == 0:  # a horizon or the edge of a wall
        angle = (0, np.pi / 2, rng.uniform(0, 2 * np.pi))[rng.integers(3)]
        inside = x * np.sin(angle) + x[:, None] * np.cos(angle) > rng.uniform(-0.3, 0.3)
        return Image.fromarray(inside.astype(np.uint8) * 255)
    if kind == 1:  # hills, trees, roofs
        heights = rng.uniform(-0.3, 0.2) + np.cumsum(rng.normal(0, 0.04, 24))
        skyline = np.interp(x, np.linspace(-0.5, 0.5, 24), heights) + rng.uniform(0, 0.06) * rng.random(size)
        mask = Image.fromarray((x[:, None] > skyline).astype(np.uint8) * 255)
        return mask if rng.random() < 0.8 else mask.transpose(Image.Transpose.ROTATE_90)
    if kind == 2:  # patches of any form
        inside = fractal(rng, size // 2, rng.uniform(0.3, 0.6)) > rng.uniform(100, 155)
        mask = Image.fromarray(inside.astype(np.uint8) * 255)
        return mask.resize((size, size), Image.Resampling.BILINEAR)
    mask = Image.new("L", (size, size))  # a table, a window, a road
    (left, right), (far_left, far_right) = np.sort(rng.uniform(-0.3, 1.3, (2, 2)), axis=1)
    top, bottom = rng.uniform(-0.2, 0.5), rng.uniform(0.6, 1.2)
    outline = np.array([left, bottom, right, bottom, far_right, top, far_left, top]) * size
    ImageDraw.Draw(mask).polygon(outline.tolist(), fill=255)
    return mask


def scene(rng: Generator, size: int) -> Image.Image:
    """Return an RGB background, `size` pixels square: one to three materials that meet at edges, in uneven light."""
    # Half are made smaller and enlarged: out of focus, or from a poorer camera.
    detail = size if rng.random() < 0.5 else max(16, int(size / rng.uniform(1.2, 2.5)))
    image = surface(rng, detail)
    for _ in range((0, 0, 0, 1, 1, 1, 1, 1, 2, 2)[rng.integers(10)]):
        image.paste(surface(rng, detail), (0, 0), region(rng, detail))
    if rng.random() < 0.4:
        glow = Image.fromarray(rng.integers(90, 256, (3, 3), dtype=np.uint8))
        image = ImageChops.multiply(image, glow.resize(image.size, Image.Resampling.BILINEAR).convert("RGB"))
    return image if detail == size else image.resize((size, size), Image.Resampling.BILINEAR)


def flat_thing(rng: Generator, size: int) -> Image.Image:
    """Return an RGBA cut-out, `size` pixels square, that is no fruit: a disc, a card, a leaf, a splinter or a blot."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    kind = rng.integers(4)
    if kind == 0:  # from a disc to a card
        corner = rng.uniform(0.1, 1)
        x, y = np.sign(x) * np.abs(x) ** corner, np.sign(y) * np.abs(y) ** corner
    elif kind == 1:
        corners = rng.uniform(0, 2 * np.pi, rng.integers(3, 8))
        corners.sort()
        x, y = np.cos(corners), np.sin(corners)
    elif kind == 2:  # pointed at both ends
        y = y * np.abs(y) ** rng.uniform(0.5, 2)
    else:
        waves = np.cos(angle[:, None] * np.arange(2, 7) + rng.uniform(0, 2 * np.pi, 5)) @ rng.normal(0, 0.35, 5)
        x, y = x * (0.65 + 0.35 * np.tanh(waves)), y * (0.65 + 0.35 * np.tanh(waves))
    y = y * rng.uniform(0.2, 1)
    turn = rng.uniform(0, 2 * np.pi)
    outline = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    outline *= 0.99 / np.abs(outline).max()
    mask = Image.new("L", (3 * size, 3 * size))
    ImageDraw.Draw(mask).polygon(((outline + 1) * (1.5 * size)).ravel().tolist(), fill=255)
    if rng.random() < 0.5:  # the colours of ripe and unripe bananas, so that colour alone does not tell
        hue, value = rng.normal(0.135, 0.025, (2, 2)) % 1, rng.uniform(0.5, 1, (2, 2))
        tones = Image.fromarray(hsv_to_rgb(hue, rng.uniform(0.5, 1, (2, 2)), value).astype(np.uint8))
        fill = tones.resize((size, size), Image.Resampling.BILINEAR)
    else:
        fill = surface(rng, size)
    fill.putalpha(mask.reduce(3))
    return fill


def photograph(rng: Generator, image: Image.Image, max_contrast: float) -> Image.Image:
    """Return an RGB image as a camera would hand it over: its saturation, exposure and noise.

    Args:
        rng: where the random numbers come from.
        image: the scene, square.
        max_contrast: at most this gain brings a dull scene to the range of tones that photographs have.
    """
    if rng.random() < 0.4:
        image = Image.blend(image.convert("L").convert("RGB"), image, rng.uniform(0.6, 1.3))
    tones = np.asarray(image.reduce(8).convert("L"), dtype=np.float32)
    gain = min(rng.uniform(30, 75) / (float(tones.std()) + 1), max_contrast)
    level = 0.5 + rng.normal(0, 0.07) + (np.arange(256) - float(tones.mean())) * (gain / 255)
    cast = np.exp(rng.normal(0, 0.07, (3, 1)))
    curves = 255 * np.minimum(np.maximum(level, 0), 1) ** cast
    image = image.point(curves.astype(np.uint8).ravel().tolist())
    if rng.random() < 0.4:
        strength = (4, 8, 16)[rng.integers(3)]
        grain = Image.fromarray(random_bytes(rng, image.height, image.width) % (2 * strength)).convert("RGB")
        image = ImageChops.add(image, grain, offset=-strength)
    return image
