"""Triangles with colour, surface and style, and the simple solids that objects and buildings are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from urbanvlm.scenes.arrays import Floats, Integers, f32
from urbanvlm.scenes.classes import ID

Colour = tuple[float, float, float]
"""sRGB, 0..1."""
Vector = Sequence[float] | Floats


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
    """V points and T triangles between them, in metres."""

    vertices: Floats
    """(V, 3)"""
    faces: Integers
    """(T, 3) indices of vertices"""
    albedo: Floats
    """(T, 3), linear"""
    surface: NDArray[np.uint8]
    class_id: NDArray[np.uint8]
    style: Integers
    """number of the building, -1 elsewhere"""

    def __len__(self) -> int:
        return len(self.faces)

    def placed(self, x: float, y: float, z: float = 0.0, heading_deg: float = 0.0, scale: Vector = (1, 1, 1)) -> Mesh:
        """Scaled, turned clockwise by the heading, then moved."""
        return replace(self, vertices=(self.vertices * f32(scale)) @ turn(heading_deg).T + f32([x, y, z]))

    def of_class(self, name: str) -> Mesh:
        return replace(self, class_id=np.full(len(self), ID[name], np.uint8))


def turn(heading_deg: float) -> Floats:
    """Rotation about z that takes north to the heading."""
    c, s = np.cos(np.radians(heading_deg)), np.sin(np.radians(heading_deg))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)


def linear(colour: Vector) -> Floats:
    """sRGB → linear albedo, by the usual power 2.2."""
    return np.power(np.clip(f32(colour), 0, 1), np.float32(2.2))


def paint(
    vertices: Floats, faces: ArrayLike, colour: Vector, surface: Surface = Surface.PLAIN, style: int = -1
) -> Mesh:
    """A mesh of one colour; the class is set later by `of_class`."""
    triangles = np.asarray(faces, np.int32)
    count = len(triangles)
    return Mesh(
        f32(vertices),
        triangles,
        np.broadcast_to(linear(colour), (count, 3)),
        np.full(count, surface, np.uint8),
        np.zeros(count, np.uint8),
        np.full(count, style, np.int16),
    )


def join(meshes: Iterable[Mesh]) -> Mesh:
    parts = list(meshes)
    first = np.cumsum([0, *(len(p.vertices) for p in parts[:-1])], dtype=np.int32)
    return Mesh(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate([p.faces + shift for p, shift in zip(parts, first, strict=True)]),
        np.concatenate([p.albedo for p in parts]),
        np.concatenate([p.surface for p in parts]),
        np.concatenate([p.class_id for p in parts]),
        np.concatenate([p.style for p in parts]),
    )


# Primitives

_BOX_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
_BOX_FACES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip


def box(low: Vector, high: Vector, colour: Vector, surface: Surface = Surface.PLAIN, style: int = -1) -> Mesh:
    return paint(f32(low) + _BOX_CORNERS * (f32(high) - f32(low)), _BOX_FACES, colour, surface, style)


def slab(low: Vector, high: Vector, z: float, colour: Vector, surface: Surface) -> Mesh:
    """A flat rectangle at height z, seen from above."""
    (x0, y0), (x1, y1) = low, high
    corners = np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)])
    return paint(corners, [[0, 1, 2], [0, 2, 3]], colour, surface)


def prism(
    profile: Sequence[tuple[float, float]],
    width: float,
    colour: Vector,
    top_width: float | None = None,
    surface: Surface = Surface.PLAIN,
) -> Mesh:
    """A convex profile of (y, z) points extruded over x, narrowing to `top_width` at its highest points."""
    points = np.array(profile, np.float32)
    share = (points[:, 1] - points[:, 1].min()) / max(float(np.ptp(points[:, 1])), 1e-6)
    half = (width + share * ((width if top_width is None else top_width) - width)) / 2
    return bridge(np.column_stack([-half, points]), np.column_stack([half, points]), colour, surface)


def bridge(start: Floats, end: Floats, colour: Vector, surface: Surface = Surface.PLAIN) -> Mesh:
    """The solid between two convex loops of n points (n, 3) each."""
    n = len(start)
    i = np.arange(n)
    j = (i + 1) % n
    sides = np.concatenate([np.column_stack([i, j, j + n]), np.column_stack([i, j + n, i + n])])
    fan = np.column_stack([np.zeros(n - 2, int), i[1:-1], i[2:]])
    return paint(np.concatenate([start, end]), np.concatenate([sides, fan[:, ::-1], fan + n]), colour, surface)


@cache
def _sphere(subdivisions: int) -> tuple[Floats, Integers]:
    shape = trimesh.creation.icosphere(subdivisions=subdivisions)
    return f32(shape.vertices), np.asarray(shape.faces, np.int32)


def ball(centre: Vector, radii: Vector, colour: Vector, surface: Surface = Surface.PLAIN, fine: int = 1) -> Mesh:
    vertices, faces = _sphere(fine)
    return paint(vertices * f32(radii) + f32(centre), faces, colour, surface)


@cache
def _cylinder(sections: int) -> tuple[Floats, Integers]:
    shape = trimesh.creation.cylinder(radius=1, height=1, sections=sections)
    return f32(shape.vertices), np.asarray(shape.faces, np.int32)


def tube(start: Vector, end: Vector, radius: float, colour: Vector, sections: int = 6, end_radius: float = -1) -> Mesh:
    """A cylinder (or a cone's frustum) from one point to another."""
    axis = f32(end) - f32(start)
    length = float(np.linalg.norm(axis))
    w = axis / length
    u = np.cross(w, [1, 0, 0] if abs(w[0]) < 0.7 else [0, 1, 0])
    u /= np.linalg.norm(u)
    unit, faces = _cylinder(sections)
    along = unit[:, 2:] + 0.5
    radii = radius + along * ((radius if end_radius < 0 else end_radius) - radius)
    vertices = f32(start) + along * axis + radii * (unit[:, :1] * u + unit[:, 1:2] * np.cross(w, u))
    return paint(vertices, faces, colour)


def ring(centre: Vector, radius: float, thickness: float, colour: Vector, sections: int = 14) -> Mesh:
    """A wheel's tyre: a ring of square section in the y-z plane."""
    angles = np.linspace(0, 2 * np.pi, sections, endpoint=False)
    loops = [
        np.column_stack([np.full(sections, x * thickness / 2), r * np.cos(angles), r * np.sin(angles)])
        for r, x in ((radius - thickness, -1), (radius, -1), (radius, 1), (radius - thickness, 1))
    ]
    loop, i = np.divmod(np.arange(4 * sections), sections)
    j, following = (i + 1) % sections, (loop + 1) % 4
    a, b = loop * sections + i, loop * sections + j
    c, d = following * sections + j, following * sections + i
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    return paint(np.concatenate(loops) + f32(centre), faces, colour)


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Floats:
    """One of the colours, a little off, so that no class has one colour code."""
    colour = np.asarray(colours[int(rng.integers(len(colours)))])
    return np.clip(colour + rng.normal(0, 0.025, 3), 0.02, 0.98)


def coated(mesh: Mesh, surface: Surface) -> Mesh:
    """The same shape with another surface."""
    return replace(mesh, surface=np.full(len(mesh), surface, np.uint8))
