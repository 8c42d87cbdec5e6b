"""Solids for the synthetic images: made of quadrilaterals, turned, lit and drawn.

Every solid here is a tube around a curve, so one function (`tube`) makes bananas, apples, oranges and sticks.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[Any]

SUPERSAMPLING = 3  # a pixel averages 3 x 3 drawn ones: that makes the edges soft
POSING_ATTEMPTS = 10


class Mesh(NamedTuple):
    """Quadrilaterals in space with one colour each."""

    corners: Array
    """`(num_quads, 4, 3)`: x to the right, y down, z towards the viewer; clockwise on the screen from outside."""
    colours: Array
    """`(num_quads, 3)`, RGB 0...1: what the surface reflects of white light."""
    gloss: float
    """Strength of the highlight, 0...1."""


class Tube(NamedTuple):
    """The surface of a tube, as a grid of quadrilaterals."""

    corners: Array
    """`(rings - 1, sides, 4, 3)`."""
    along: Array
    """`(rings - 1, 1)`, the place of each quadrilateral along the tube, 0...1."""


def tube(axis: Array, direction: Array, radii: Array, section: Array) -> Tube:
    """Return the surface swept by a ring along a curve in the x-y plane.

    Args:
        axis: `(rings, 2)`, points of the curve.
        direction: `(rings,)`, the angle of the curve's tangent in radians.
        radii: `(rings,)`, the radius of each ring.
        section: `(sides,)`, the form of the rings: their relative radius at equally spaced angles.
    """
    angle = np.arange(len(section)) * (2 * np.pi / len(section))
    in_plane = radii[:, None] * (section * np.cos(angle))  # (rings, sides)
    x = axis[:, :1] - in_plane * np.sin(direction)[:, None]
    y = axis[:, 1:] + in_plane * np.cos(direction)[:, None]
    z = radii[:, None] * (section * np.sin(angle))
    points = np.stack([x, y, z], axis=-1)
    beside = np.concatenate([points[:, 1:], points[:, :1]], axis=1)  # the last side closes the ring
    corners = np.stack([points[:-1], points[1:], beside[1:], beside[:-1]], axis=2)
    return Tube(corners, np.linspace(0, 1, len(radii) - 1)[:, None])


def bend(positions: Array, curvature: Array) -> tuple[Array, Array]:
    """Return the points `(n, 2)` and the directions `(n,)` of the curve from the origin with the given curvature.

    Args:
        positions: `(n,)`, distances along the curve, rising.
        curvature: `(n,)`, radians per unit of distance.
    """
    steps = np.diff(positions, prepend=positions[0])
    direction = np.cumsum(curvature * steps)
    axis = np.cumsum(np.stack([np.cos(direction) * steps, np.sin(direction) * steps], axis=1), axis=0)
    return axis, direction


def random_rotation(rng: np.random.Generator, tilt: float) -> Array:
    """Return a rotation `(3, 3)` by any angle in the image's plane, after one out of it of about `tilt` radians."""
    roll, pitch = (max(-2 * tilt, min(2 * tilt, angle)) for angle in rng.normal(0, tilt, 2).tolist())
    yaw = rng.uniform(0, 2 * math.pi)
    (cos_r, sin_r), (cos_p, sin_p), (cos_y, sin_y) = ((math.cos(a), math.sin(a)) for a in (roll, pitch, yaw))
    about_x = np.array([[1, 0, 0], [0, cos_r, -sin_r], [0, sin_r, cos_r]])
    about_y = np.array([[cos_p, 0, sin_p], [0, 1, 0], [-sin_p, 0, cos_p]])
    about_z = np.array([[cos_y, -sin_y, 0], [sin_y, cos_y, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def pose(rng: np.random.Generator, mesh: Mesh, tilt: float, max_aspect: float) -> tuple[Mesh, tuple[float, float]]:
    """Return the mesh turned at random, and its width and height as seen.

    Args:
        rng: where the random numbers come from.
        mesh: what to turn.
        tilt: about how far it may lean out of the image's plane, radians.
        max_aspect: the longer of width and height over the shorter is at most this, if a few attempts find such a pose.
    """
    outline = mesh.corners[:, 0]  # one corner of each quadrilateral is enough to measure
    best_aspect = np.inf
    for _ in range(POSING_ATTEMPTS):
        rotation = random_rotation(rng, tilt)
        width, height = np.ptp(outline @ rotation[:2].T, axis=0).tolist()
        aspect = max(width, height) / min(width, height)
        if aspect < best_aspect:
            best_aspect, best, extent = aspect, rotation, (width, height)
        if aspect <= max_aspect:
            break
    return mesh._replace(corners=mesh.corners @ best.T), extent


def visible(mesh: Mesh) -> Mesh:
    """Return the quadrilaterals that face the viewer, the farthest first."""
    across, down = _diagonals(mesh.corners)
    facing = np.flatnonzero(across[:, 0] * down[:, 1] > across[:, 1] * down[:, 0])
    depth = mesh.corners[facing, 0, 2] + mesh.corners[facing, 2, 2]
    order = facing[np.argsort(depth, kind="stable")]
    return mesh._replace(corners=mesh.corners[order], colours=mesh.colours[order])


def light(rng: np.random.Generator, mesh: Mesh) -> Mesh:
    """Return the mesh in the colours that a lamp, the sky and a glossy reflection give it."""
    across, down = _diagonals(mesh.corners)
    normals = np.stack(
        [across[:, i - 2] * down[:, i - 1] - across[:, i - 1] * down[:, i - 2] for i in range(3)], axis=1
    )
    normals /= np.sqrt((normals * normals).sum(axis=1, keepdims=True)) + 1e-12
    lamp = np.array([rng.normal(0, 0.6), rng.normal(-0.5, 0.5), 1.0])
    lamp /= np.linalg.norm(lamp)
    halfway = lamp + np.array([0, 0, 1])  # between the lamp and the viewer (Blinn, SIGGRAPH 1977)
    halfway /= np.linalg.norm(halfway)
    ambient, wrap = rng.uniform(0.45, 0.8), rng.uniform(0, 0.35)
    lit = np.maximum(normals @ lamp + wrap, 0) / (1 + wrap)
    from_the_ground = rng.uniform(0, 0.15) * np.maximum(normals[:, 1], 0)
    shade = ambient + (1 - ambient) * lit + from_the_ground
    tint = shade[:, None] ** np.array([0.85, 1.0, 1.25])  # skin lets light through: shadows keep red and lose blue
    shine = mesh.gloss * np.maximum(normals @ halfway, 0) ** rng.uniform(5, 20)
    exposure = rng.uniform(0.92, 1.2) * (1 + rng.normal(0, 0.035, 3))
    return mesh._replace(colours=mesh.colours * tint * exposure + shine[:, None])


def draw(mesh: Mesh, width: int, height: int) -> Image.Image:
    """Return an RGBA image `width` by `height` pixels that the mesh, its quadrilaterals in order, just fills."""
    canvas = Image.new("RGBA", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    flat = mesh.corners[..., :2].reshape(-1, 2)
    low, high = flat.min(axis=0), flat.max(axis=0)
    flat = (flat - low) * ((np.array(canvas.size) - 1) / (high - low))
    colours = np.concatenate([np.minimum(mesh.colours, 1), np.ones((len(mesh.colours), 1))], axis=1)
    fills = np.round(np.maximum(colours, 0) * 255).astype(int)
    pen = ImageDraw.Draw(canvas)
    for quad, fill in zip(flat.reshape(-1, 8).tolist(), map(tuple, fills.tolist()), strict=True):
        pen.polygon(quad, fill)
    return canvas.reduce(SUPERSAMPLING)


def _diagonals(corners: Array) -> tuple[Array, Array]:
    return corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
