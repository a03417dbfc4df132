"""Triangles with colour, surface and style, and the simple solids that objects and buildings are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
import trimesh
from numpy.typing import NDArray

from urbanvlm.scenes.arrays import Floats, Integers, f32
from urbanvlm.scenes.classes import ID

Colour = tuple[float, float, float]
"""sRGB, 0..1."""
Vector = Sequence[float]


class Surface(IntEnum):
    """How a triangle is textured; see texture.py."""

    PLAIN = 0
    ROAD = 1
    PAVING = 2
    GRASS = 3
    FOLIAGE = 4
    FACADE = 5
    ROOF = 6
    GLASS = 7
    GLOW = 8


@dataclass(frozen=True)
class Mesh:
    """A triangle soup of T triangles, in metres."""

    corners: Floats
    """(T, 3, 3): triangle, corner, coordinate"""
    albedo: Floats
    """(T, 3), linear"""
    surface: NDArray[np.uint8]
    class_id: NDArray[np.uint8]
    style: Integers
    """number of the building, -1 elsewhere"""

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, x: float, y: float, z: float = 0.0, heading_deg: float = 0.0, scale: Vector = (1, 1, 1)) -> Mesh:
        """Scaled, turned clockwise by the heading, then moved."""
        corners = (self.corners * np.asarray(scale, np.float32)) @ turn(heading_deg).T + f32([x, y, z])
        return Mesh(corners.astype(np.float32), self.albedo, self.surface, self.class_id, self.style)

    def of_class(self, name: str) -> Mesh:
        return Mesh(self.corners, self.albedo, self.surface, np.full(len(self), ID[name], np.uint8), self.style)


def turn(heading_deg: float) -> Floats:
    """Rotation about z that takes north to the heading."""
    c, s = np.cos(np.radians(heading_deg)), np.sin(np.radians(heading_deg))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)


def linear(colour: Vector | Floats) -> Floats:
    """sRGB → linear albedo, by the usual power 2.2."""
    return np.power(np.clip(np.asarray(colour, np.float32), 0, 1), np.float32(2.2))


def paint(corners: Floats, colour: Vector, surface: Surface = Surface.PLAIN, style: int = -1) -> Mesh:
    """A mesh of one colour; the class is set later by `of_class`."""
    count = len(corners)
    return Mesh(
        np.asarray(corners, np.float32),
        np.broadcast_to(linear(colour), (count, 3)),
        np.full(count, surface, np.uint8),
        np.zeros(count, np.uint8),
        np.full(count, style, np.int16),
    )


def join(parts: Iterable[Mesh]) -> Mesh:
    parts = list(parts)
    return Mesh(
        np.concatenate([p.corners for p in parts]),
        np.concatenate([p.albedo for p in parts]),
        np.concatenate([p.surface for p in parts]),
        np.concatenate([p.class_id for p in parts]),
        np.concatenate([p.style for p in parts]),
    )


# Primitives

_BOX_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
_BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4]]
    + [[1, 5, 7], [1, 7, 3]]
)


def box(low: Vector, high: Vector, colour: Vector, surface: Surface = Surface.PLAIN, style: int = -1) -> Mesh:
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return paint((low + _BOX_CORNERS * (high - low))[_BOX_FACES], colour, surface, style)


def slab(low: Vector, high: Vector, z: float, colour: Vector, surface: Surface) -> Mesh:
    """A flat rectangle at height z, seen from above."""
    (x0, y0), (x1, y1) = low, high
    a, b, c, d = (x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)
    return paint(np.array([[a, b, c], [a, c, d]]), colour, surface)


def prism(profile: Sequence[tuple[float, float]], width: float, colour: Vector, top_width: float | None = None) -> Mesh:
    """A convex profile of (y, z) points extruded over x, narrowing to `top_width` at its highest points."""
    points = np.array(profile, np.float32)
    share = (points[:, 1] - points[:, 1].min()) / max(float(np.ptp(points[:, 1])), 1e-6)
    half = (width + share * ((width if top_width is None else top_width) - width)) / 2
    left = np.column_stack([-half, points])
    right = np.column_stack([half, points])
    n = len(points)
    triangles = []
    for i in range(1, n - 1):
        triangles += [[left[0], left[i + 1], left[i]], [right[0], right[i], right[i + 1]]]
    for i in range(n):
        j = (i + 1) % n
        triangles += [[left[i], left[j], right[j]], [left[i], right[j], right[i]]]
    return paint(np.array(triangles), colour)


@cache
def _sphere(subdivisions: int) -> Floats:
    return np.asarray(trimesh.creation.icosphere(subdivisions=subdivisions).triangles, np.float32)


def ball(centre: Vector, radii: Vector, colour: Vector, surface: Surface = Surface.PLAIN, fine: int = 1) -> Mesh:
    return paint(_sphere(fine) * f32(radii) + f32(centre), colour, surface)


@cache
def _cylinder(sections: int) -> Floats:
    return np.asarray(trimesh.creation.cylinder(radius=1, height=1, sections=sections).triangles, np.float32)


def tube(start: Vector, end: Vector, radius: float, colour: Vector, sections: int = 6, end_radius: float = -1) -> Mesh:
    """A cylinder (or a cone's frustum) from one point to another."""
    start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
    axis = end - start
    length = float(np.linalg.norm(axis))
    w = axis / length
    u = np.cross(w, [1, 0, 0] if abs(w[0]) < 0.7 else [0, 1, 0])
    u /= np.linalg.norm(u)
    unit = _cylinder(sections)
    along = unit[..., 2:] + 0.5
    radii = radius + along * ((radius if end_radius < 0 else end_radius) - radius)
    corners = start + along * axis + radii * (unit[..., :1] * u + unit[..., 1:2] * np.cross(w, u))
    return paint(corners, colour)


def ring(centre: Vector, radius: float, thickness: float, colour: Vector, sections: int = 14) -> Mesh:
    """A wheel's tyre: a square-section ring in the y-z plane."""
    angles = np.linspace(0, 2 * np.pi, sections, endpoint=False)
    parts = []
    for r, x in ((radius - thickness, -1), (radius, -1), (radius, 1), (radius - thickness, 1)):
        parts.append(np.column_stack([np.full(sections, x * thickness / 2), r * np.cos(angles), r * np.sin(angles)]))
    loops = np.stack(parts)
    triangles = []
    for k in range(4):
        a, b = loops[k], loops[(k + 1) % 4]
        a2, b2 = np.roll(a, -1, axis=0), np.roll(b, -1, axis=0)
        triangles += [np.stack([a, a2, b2], axis=1), np.stack([a, b2, b], axis=1)]
    return paint(np.concatenate(triangles) + np.asarray(centre), colour)


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours, a little off, so that no class has one colour code."""
    colour = np.asarray(colours[rng.integers(len(colours))]) + rng.normal(0, 0.025, 3)
    red, green, blue = np.clip(colour, 0.02, 0.98)
    return float(red), float(green), float(blue)
