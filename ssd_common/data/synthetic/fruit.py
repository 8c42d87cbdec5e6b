"""The fruit of the synthetic images, and the solid things that are not fruit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from ssd_common.data.synthetic.solids import Array, Mesh, Tube, bend, tube


def rgb(*values: int) -> Array:
    """Return a colour 0...1 from its usual 0...255 values."""
    return np.array(values) / 255


# The skin of a banana from unripe to overripe, as photographs show it in daylight.
BANANA_SKIN = np.array([rgb(112, 148, 42), rgb(172, 188, 56), rgb(230, 210, 78), rgb(246, 208, 46), rgb(230, 174, 42)])
# The radius of a banana, as a share of its largest: (place along it from the cut of the stem to the tip, radius).
BANANA_PROFILE = np.array(
    [
        *[(0.00, 0.36), (0.03, 0.31), (0.10, 0.27), (0.17, 0.36), (0.25, 0.70), (0.33, 0.90), (0.45, 1.00)],
        *[(0.62, 1.00), (0.75, 0.90), (0.86, 0.68), (0.93, 0.44), (0.965, 0.28), (1.00, 0.22)],
    ]
)
# The two colours between which the skin of an apple wanders.
APPLE_SKINS = np.array(
    [
        [rgb(150, 22, 28), rgb(196, 44, 40)],
        [rgb(190, 40, 36), rgb(222, 176, 84)],
        [rgb(124, 164, 46), rgb(166, 192, 74)],
        [rgb(120, 14, 30), rgb(150, 34, 44)],
    ]
)
ORANGE_SKIN = np.array([rgb(232, 116, 14), rgb(246, 156, 40)])
BARK, BRUISE, DARK_TIP, SEAM, LEAF = (
    rgb(92, 70, 38),
    rgb(84, 56, 26),
    rgb(48, 38, 28),
    rgb(120, 96, 40),
    rgb(92, 104, 44),
)


def mix(first: Array, second: Array, share: Array) -> Array:
    """Return `first` where `share` is 0 or less, `second` where it is 1 or more; colours `(..., 3)`, shares `(...)`."""
    return first + np.minimum(np.maximum(share, 0), 1)[..., None] * (second - first)


def blotches(rng: np.random.Generator, rows: int, columns: int, coarse: tuple[int, int]) -> Array:
    """Return a smooth field `(rows, columns)` of about -1...1 through `coarse` rows and columns of random values."""
    values = Image.fromarray(rng.uniform(-1.2, 1.2, coarse).astype(np.float32))
    return np.asarray(values.resize((columns, rows), Image.Resampling.BICUBIC), dtype=np.float64)


def solid(body: Tube, skin: Array, gloss: float) -> Mesh:
    """Return a tube with a colour for each of its quadrilaterals, `(rings - 1, sides, 3)`, as a mesh."""
    return Mesh(body.corners.reshape(-1, 4, 3), skin.reshape(-1, 3), gloss)


def banana(rng: np.random.Generator) -> Mesh:
    """Return a banana of random length, thickness, bend and ripeness."""
    rings, sides = 27, 20
    s = np.linspace(0, 1, rings)
    stem = rng.uniform(0.8, 1.1)  # how long it is
    radii = rng.uniform(0.082, 0.125) * np.interp(s, BANANA_PROFILE[:, 0] ** (1 / stem), BANANA_PROFILE[:, 1])
    radii[1:-1] = (radii[:-2] + 2 * radii[1:-1] + radii[2:]) / 4
    radii[[0, -1]] = 0  # closes the ends

    # Bent all along, most behind the stem.
    total = np.radians(rng.triangular(25, 75, 125))
    knee = np.exp(-(((s - rng.uniform(0.15, 0.45)) / 0.16) ** 2))
    curvature = 0.6 + rng.uniform(0, 1.6) * knee + rng.uniform(-0.4, 0.4) * s
    axis, direction = bend(s, curvature * (total / curvature.mean()))

    # Five faces, more or less rounded.
    angle = np.arange(sides) * (2 * np.pi / sides) + rng.uniform(0, 2 * np.pi)
    pentagon = np.cos(np.pi / 5) / np.cos(angle % (2 * np.pi / 5) - np.pi / 5)
    section = 1 + rng.uniform(0.15, 0.8) * (pentagon / pentagon.mean() - 1)
    body = tube(axis, direction, radii, section)
    return solid(body, _banana_skin(rng, body.along, angle), rng.uniform(0, 0.5))


def _banana_skin(rng: np.random.Generator, along: Array, angle: Array) -> Array:
    """Return the colours `(rows, columns, 3)` of a banana from the places `(rows, 1)` and angles `(columns,)`."""
    rows, columns = len(along), len(angle)
    ripeness = rng.uniform(0, 4) if rng.random() < 0.2 else rng.uniform(1.8, 3.4)
    greener_ends = rng.uniform(0, 1.8) * (np.abs(along - 0.55) / 0.45) ** 3
    stage = ripeness - greener_ends + 0.3 * blotches(rng, rows, columns, (7, 5))
    skin = np.stack([np.interp(stage, np.arange(5), BANANA_SKIN[:, channel]) for channel in range(3)], axis=-1)
    skin *= 1 + 0.06 * blotches(rng, rows, columns, (20, 10))[..., None]
    seams = np.cos(5 * angle - np.pi) ** 8  # where the faces meet
    skin = mix(skin, SEAM, rng.uniform(0, 0.35) * seams)
    if ripeness > 2.4 and rng.random() < 0.5:
        sugar_spots = rng.random((rows, columns)) < rng.uniform(0.01, 0.1)
        bruises = 3 * (blotches(rng, rows, columns, (9, 7)) - rng.uniform(0.7, 1.3))
        skin = mix(skin, BRUISE, np.maximum(sugar_spots * rng.uniform(0.3, 0.9), bruises))
    stem_end, tip = rng.uniform(0.02, 0.1), rng.uniform(0.94, 0.985)
    skin = mix(skin, BARK, np.minimum((stem_end - along) / 0.03, rng.uniform(0.4, 1)))
    return mix(skin, DARK_TIP, (along - tip) / 0.02)


def _ball(rng: np.random.Generator, tones: Array, height: float, dimple: float) -> tuple[Tube, Array]:
    """Return a ball with a dimple at either pole, and its skin, which wanders between two colours `(2, 3)`."""
    rings, sides = 22, 22
    polar = np.linspace(0, np.pi, rings)
    reach = 1 - dimple * (np.exp(-((polar / 0.4) ** 2)) + 0.5 * np.exp(-(((np.pi - polar) / 0.3) ** 2)))
    radii = reach * np.sin(polar) * (1 + 0.3 * dimple * np.cos(polar))  # wider near the stalk
    axis = np.stack([-height * reach * np.cos(polar), np.zeros(rings)], axis=1)
    body = tube(axis, np.zeros(rings), radii, np.ones(sides))
    patches, streaks = blotches(rng, rings - 1, sides, (3, 5)), blotches(rng, rings - 1, sides, (3, 24))
    return body, mix(tones[0], tones[1], 0.5 + rng.uniform(0.1, 0.7) * patches + 0.2 * streaks)


def apple(rng: np.random.Generator) -> Mesh:
    """Return an apple, red to green, with its stalk."""
    tones = APPLE_SKINS[rng.integers(len(APPLE_SKINS))]
    body, skin = _ball(rng, tones, rng.uniform(0.85, 1.0), rng.uniform(0.35, 0.5))
    skin = mix(skin, rgb(150, 150, 70), np.minimum(1 - body.along / 0.15, rng.uniform(0, 0.8)))
    rings, sides = 7, 6
    axis, direction = bend(np.linspace(0, rng.uniform(0.4, 0.7), rings), np.full(rings, rng.uniform(-1.5, 1.5)))
    radii = np.full(rings, rng.uniform(0.045, 0.07))
    radii[[0, -1]] = 0
    stalk = tube(np.array([-0.45, 0]) - axis, direction + np.pi, radii, np.ones(sides))
    fruit = solid(body, skin, rng.uniform(0.1, 0.6))
    corners = np.concatenate([fruit.corners, stalk.corners.reshape(-1, 4, 3)])
    return fruit._replace(
        corners=corners, colours=np.concatenate([fruit.colours, np.tile(BARK, ((rings - 1) * sides, 1))])
    )


def orange(rng: np.random.Generator) -> Mesh:
    """Return an orange with a pitted skin and a navel."""
    body, skin = _ball(rng, ORANGE_SKIN * rng.uniform(0.92, 1.05), rng.uniform(0.92, 1.0), rng.uniform(0, 0.06))
    skin = skin * (1 + rng.uniform(0.02, 0.06) * rng.standard_normal(skin.shape[:2])[..., None])
    return solid(body, mix(skin, LEAF, 1.6 - body.along / 0.03), rng.uniform(0, 0.3))


FRUITS: dict[str, Callable[[np.random.Generator], Mesh]] = {"banana": banana, "apple": apple, "orange": orange}


def stick(rng: np.random.Generator) -> Mesh:
    """Return a straight rod, thin or stout, as often as not in the colours of a banana."""
    rings = 12
    radii = np.full(rings, rng.uniform(0.03, 0.16))
    return _plain(rng, radii, 0.0, BANANA_SKIN[rng.integers(5)] if rng.random() < 0.6 else rng.random(3))


def vessel(rng: np.random.Generator) -> Mesh:
    """Return a bottle, a vase or a peg: something turned on a lathe, of any colour."""
    rings = 16
    radii = np.interp(np.linspace(0, 1, rings), np.linspace(0, 1, 6), rng.uniform(0.06, 0.5, 6))
    return _plain(rng, radii, 0.0, rng.random(3))


def hose(rng: np.random.Generator) -> Mesh:
    """Return a bent tube, of any colour but a banana's."""
    dark, light = rng.uniform(0, 0.35), rng.uniform(0.1, 0.95)
    colour = ((light, dark, dark), (dark, dark, light), (light, dark, light), (light, light, light))[rng.integers(4)]
    return _plain(rng, np.full(16, rng.uniform(0.03, 0.14)), np.radians(rng.uniform(40, 180)), np.array(colour))


def _plain(rng: np.random.Generator, radii: Array, total_bend: float, colour: Array) -> Mesh:
    """Return a tube with flat ends, one colour, and sometimes bands of another."""
    rings, sides = len(radii), 14
    radii[[0, -1]] = 0
    axis, direction = bend(np.linspace(0, 1, rings), np.full(rings, total_bend))
    axis[0], axis[-1] = axis[1], axis[-2]
    body = tube(axis, direction, radii, np.ones(sides))
    banded = (rng.random((rings - 1, 1)) < 0.3) & (rng.random() < 0.4)
    skin = mix(colour, rng.random(3), banded * np.ones(sides))
    return solid(body, skin, rng.uniform(0, 0.6))


BYSTANDERS = (stick, vessel, hose)
