"""The shapes of a street: triangles with colour, surface and style, each object standing at the origin facing north."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
import trimesh
from numpy.typing import NDArray

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
    """A triangle soup: corners (T, 3, 3) in metres, linear albedo (T, 3), Surface, class id and style row, (T,) each."""

    corners: NDArray[np.float32]
    albedo: NDArray[np.float32]
    surface: NDArray[np.uint8]
    class_id: NDArray[np.uint8]
    style: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, x: float, y: float, z: float = 0.0, heading_deg: float = 0.0, scale: Vector = (1, 1, 1)) -> Mesh:
        """Scaled, turned clockwise by the heading, then moved."""
        corners = (self.corners * np.asarray(scale, np.float32)) @ turn(heading_deg).T + np.float32([x, y, z])
        return Mesh(corners.astype(np.float32), self.albedo, self.surface, self.class_id, self.style)

    def of_class(self, name: str) -> Mesh:
        return Mesh(
            self.corners, self.albedo, self.surface, np.full(len(self), ID[name], np.uint8), self.style
        )


def turn(heading_deg: float) -> NDArray[np.float32]:
    """Rotation about z that takes north to the heading."""
    c, s = np.cos(np.radians(heading_deg)), np.sin(np.radians(heading_deg))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float32)


def linear(colour: Vector | NDArray[np.floating]) -> NDArray[np.float32]:
    """sRGB → linear albedo, by the usual power 2.2."""
    return np.power(np.clip(np.asarray(colour, np.float32), 0, 1), np.float32(2.2))


def paint(corners: NDArray[np.floating], colour: Vector, surface: Surface = Surface.PLAIN, style: int = -1) -> Mesh:
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
def _sphere(subdivisions: int) -> NDArray[np.float32]:
    return np.asarray(trimesh.creation.icosphere(subdivisions=subdivisions).triangles, np.float32)


def ball(centre: Vector, radii: Vector, colour: Vector, surface: Surface = Surface.PLAIN, fine: int = 1) -> Mesh:
    return paint(_sphere(fine) * np.float32(radii) + np.float32(centre), colour, surface)


@cache
def _cylinder(sections: int) -> NDArray[np.float32]:
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


# Objects. Each stands on z = 0, centred on the origin, facing north (+y).

SKIN = ((0.95, 0.78, 0.66), (0.85, 0.64, 0.5), (0.62, 0.42, 0.3), (0.4, 0.27, 0.2))
HAIR = ((0.1, 0.08, 0.07), (0.3, 0.19, 0.1), (0.62, 0.48, 0.28), (0.55, 0.53, 0.52))
CLOTHES = (
    (0.75, 0.14, 0.14), (0.16, 0.3, 0.62), (0.92, 0.9, 0.86), (0.12, 0.12, 0.14), (0.9, 0.68, 0.16),
    (0.2, 0.48, 0.36), (0.58, 0.28, 0.56), (0.9, 0.45, 0.2), (0.45, 0.65, 0.8), (0.5, 0.5, 0.52),
)  # fmt: skip
TROUSERS = ((0.13, 0.15, 0.24), (0.2, 0.2, 0.2), (0.24, 0.33, 0.5), (0.46, 0.38, 0.28), (0.32, 0.33, 0.34))
CAR_PAINT = (
    (0.8, 0.1, 0.1), (0.12, 0.25, 0.6), (0.92, 0.92, 0.92), (0.1, 0.1, 0.11), (0.62, 0.64, 0.66),
    (0.32, 0.34, 0.37), (0.1, 0.36, 0.26), (0.86, 0.56, 0.14), (0.5, 0.68, 0.8), (0.42, 0.1, 0.14),
)  # fmt: skip
BUS_PAINT = ((0.82, 0.12, 0.12), (0.93, 0.72, 0.1), (0.15, 0.45, 0.75), (0.16, 0.55, 0.3), (0.9, 0.5, 0.1))
CARGO = ((0.93, 0.93, 0.91), (0.8, 0.78, 0.7), (0.6, 0.66, 0.72), (0.35, 0.42, 0.36), (0.75, 0.55, 0.35))
LEAVES = ((0.22, 0.42, 0.13), (0.3, 0.48, 0.16), (0.16, 0.36, 0.16), (0.4, 0.5, 0.18), (0.72, 0.47, 0.14))
BARK = (0.36, 0.27, 0.19)
GLASS = (0.2, 0.26, 0.32)
RUBBER = (0.08, 0.08, 0.09)
METAL = (0.35, 0.37, 0.4)


def _pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours, a little off, so that no class has one colour code."""
    colour = np.asarray(colours[rng.integers(len(colours))]) + rng.normal(0, 0.025, 3)
    red, green, blue = np.clip(colour, 0.02, 0.98)
    return float(red), float(green), float(blue)


def person(rng: np.random.Generator) -> Mesh:
    skin, top, legs, hair = (_pick(rng, c) for c in (SKIN, CLOTHES, TROUSERS, HAIR))
    stride, swing = rng.uniform(0.02, 0.3), rng.uniform(0.0, 0.25)
    parts = [
        tube((-0.1, stride, 0.06), (-0.09, 0, 0.88), 0.085, legs, end_radius=0.11),
        tube((0.1, -stride, 0.06), (0.09, 0, 0.88), 0.085, legs, end_radius=0.11),
        box((-0.15, stride - 0.1, 0), (-0.05, stride + 0.17, 0.1), RUBBER),
        box((0.05, -stride - 0.1, 0), (0.15, -stride + 0.17, 0.1), RUBBER),
        ball((0, 0, 1.15), (0.24, 0.16, 0.36), top),
        ball((0, 0, 1.33), (0.26, 0.15, 0.14), top),
        tube((-0.25, 0, 1.38), (-0.3, swing, 0.9), 0.07, top, end_radius=0.05),
        tube((0.25, 0, 1.38), (0.3, -swing, 0.9), 0.07, top, end_radius=0.05),
        ball((-0.3, swing, 0.86), (0.055, 0.055, 0.07), skin, fine=0),
        ball((0.3, -swing, 0.86), (0.055, 0.055, 0.07), skin, fine=0),
        tube((0, 0, 1.42), (0, 0, 1.56), 0.06, skin),
        ball((0, 0.01, 1.63), (0.105, 0.12, 0.14), skin),
        ball((0, -0.025, 1.67), (0.115, 0.12, 0.12), hair),
    ]
    if rng.random() < 0.3:
        parts.append(box((-0.17, -0.32, 1.0), (0.17, -0.12, 1.42), _pick(rng, CLOTHES)))
    if rng.random() < 0.3:
        parts.append(prism([(-0.2, 0.55), (0.2, 0.55), (0.13, 1.05), (-0.13, 1.05)], 0.52, top, 0.36))
    size = rng.uniform(0.92, 1.08)
    return join(parts).of_class("person").placed(0, 0, scale=(size, size, size))


def bicycle(rng: np.random.Generator) -> Mesh:
    frame = _pick(rng, CAR_PAINT)
    hub_front, hub_rear = (0, 0.54, 0.36), (0, -0.54, 0.36)
    crank, seat, head = (0, -0.08, 0.32), (0, -0.22, 0.88), (0, 0.36, 0.86)
    parts = []
    for hub in (hub_front, hub_rear):
        parts.append(ring(hub, 0.36, 0.075, RUBBER))
        for angle in np.radians([0, 45, 90, 135]):
            spoke = np.array([0, np.cos(angle), np.sin(angle)]) * 0.32
            parts.append(tube(np.add(hub, -spoke), np.add(hub, spoke), 0.014, (0.6, 0.62, 0.65), sections=3))
    for a, b in ((hub_rear, crank), (hub_rear, seat), (crank, seat), (crank, head), (seat, head), (hub_front, head)):
        parts.append(tube(a, b, 0.035, frame, sections=5))
    parts += [
        tube(head, (0, 0.32, 1.04), 0.03, frame, sections=5),
        tube((-0.27, 0.3, 1.06), (0.27, 0.3, 1.06), 0.03, RUBBER, sections=5),
        tube(seat, (0, -0.25, 0.98), 0.03, METAL, sections=5),
        box((-0.09, -0.4, 0.97), (0.09, -0.12, 1.04), RUBBER),
        ball(crank, (0.05, 0.1, 0.1), METAL, fine=0),
    ]
    if rng.random() < 0.4:
        parts.append(box((-0.18, 0.4, 0.78), (0.18, 0.68, 1.0), (0.45, 0.32, 0.2)))
    return join(parts).of_class("bicycle").placed(0, 0, scale=(1.1, 1.1, 1.1))


def _wheels(half_track: float, axles: Sequence[float], radius: float) -> list[Mesh]:
    parts = []
    for side in (-1, 1):
        for y in axles:
            outer, inner = side * half_track, side * (half_track - 0.24)
            parts.append(tube((inner, y, radius), (outer, y, radius), radius, RUBBER, sections=12))
            parts.append(tube((outer, y, radius), (outer + side * 0.02, y, radius), radius * 0.55, (0.6, 0.6, 0.62), 8))
    return parts


def _lamps(half_width: float, front: float, rear: float, z: float) -> list[Mesh]:
    parts = []
    for side in (-1, 1):
        x = side * (half_width - 0.25)
        parts.append(box((x - 0.17, front - 0.05, z), (x + 0.17, front + 0.02, z + 0.15), (0.97, 0.95, 0.85)))
        parts.append(box((x - 0.17, rear - 0.02, z), (x + 0.17, rear + 0.05, z + 0.15), (0.75, 0.06, 0.05)))
    return parts


def car(rng: np.random.Generator) -> Mesh:
    body = _pick(rng, CAR_PAINT)
    kind = rng.integers(3)
    if kind == 0:  # saloon
        length, roof, cabin = 4.5, 1.45, [(-1.75, 0.85), (1.05, 0.85), (0.3, 1.4), (-1.1, 1.4)]
    elif kind == 1:  # hatchback
        length, roof, cabin = 3.9, 1.5, [(-1.9, 0.85), (1.0, 0.85), (0.35, 1.45), (-1.6, 1.45)]
    else:  # sport utility
        length, roof, cabin = 4.6, 1.75, [(-2.2, 0.98), (1.1, 0.98), (0.5, 1.7), (-2.0, 1.7)]
    belt, half = cabin[0][1], length / 2
    lower = [(-half, 0.32), (half, 0.32), (half + 0.05, 0.6), (half - 0.15, belt - 0.12), (cabin[1][0], belt + 0.03)]
    lower += [(-half + 0.2, belt + 0.03), (-half - 0.03, 0.65)]
    parts = [prism(lower, 1.78, body, 1.66), prism(cabin, 1.6, GLASS, 1.3)]
    rear, front = cabin[3][0], cabin[2][0]
    parts.append(box((-0.66, rear - 0.03, roof - 0.07), (0.66, front + 0.03, roof), body))
    for side in (-1, 1):  # pillars, so that the glass reads as windows
        for low_y, high_y in ((cabin[0][0], rear), (cabin[1][0], front), ((rear + front) / 2 - 0.1, (rear + front) / 2)):
            parts.append(tube((side * 0.8, low_y, belt), (side * 0.655, high_y, roof - 0.03), 0.05, body, sections=4))
        parts.append(box((side * 0.88 - 0.1, 0.75, belt), (side * 0.88 + 0.1, 0.92, belt + 0.14), body))
    parts += _wheels(0.89, (-length * 0.3, length * 0.31), 0.33) + _lamps(0.85, half + 0.02, -half, 0.6)
    parts.append(box((-0.55, half - 0.02, 0.36), (0.55, half + 0.06, 0.52), (0.1, 0.1, 0.1)))
    for y in (half + 0.05, -half - 0.05):
        parts.append(box((-0.26, y - 0.03, 0.42), (0.26, y + 0.03, 0.53), (0.9, 0.9, 0.85)))
    return join(_glazed(parts)).of_class("car")


def _glazed(parts: list[Mesh]) -> list[Mesh]:
    """Give the parts painted as glass the reflecting surface."""
    glass = linear(GLASS)
    return [
        Mesh(p.corners, p.albedo, np.full(len(p), Surface.GLASS, np.uint8), p.class_id, p.style)
        if np.array_equal(p.albedo[0], glass)
        else p
        for p in parts
    ]


def bus(rng: np.random.Generator) -> Mesh:
    paint_, half, width = _pick(rng, BUS_PAINT), 5.4, 2.5
    second = (0.93, 0.92, 0.88) if rng.random() < 0.6 else paint_
    parts = [
        prism([(-half, 0.35), (half, 0.35), (half, 1.35), (-half, 1.35)], width, paint_),
        prism([(-half, 1.35), (half, 1.35), (half - 0.12, 3.1), (-half + 0.05, 3.1)], width, second, width - 0.12),
        box((-0.9, -half + 1, 3.1), (0.9, -half + 3.4, 3.35), (0.85, 0.85, 0.85)),
        box((-1.1, half - 0.2, 1.15), (1.1, half + 0.03, 2.6), GLASS),
        box((-0.95, half - 0.2, 2.66), (0.95, half + 0.04, 3.0), (0.95, 0.72, 0.15)),
        box((-1.0, -half - 0.03, 1.7), (1.0, -half + 0.2, 2.7), GLASS),
    ]
    windows = np.linspace(-half + 0.25, half - 1.5, 7)
    for side in (-1, 1):
        x0, x1 = sorted((side * (width / 2 - 0.2), side * (width / 2 + 0.015)))
        for y0, y1 in zip(windows[:-1], windows[1:], strict=True):
            parts.append(box((x0, y0 + 0.07, 1.5), (x1, y1 - 0.07, 2.6), GLASS))
        parts.append(box((x0, half - 1.35, 0.45), (x1, half - 0.35, 2.65), GLASS))
    parts += _wheels(1.27, (-half * 0.55, half * 0.55), 0.48) + _lamps(1.2, half, -half, 0.65)
    return join(_glazed(parts)).of_class("bus")


def truck(rng: np.random.Generator) -> Mesh:
    cab, cargo = _pick(rng, CAR_PAINT), _pick(rng, CARGO)
    length, width, height = rng.uniform(6.2, 8.2), 2.4, rng.uniform(3.0, 3.6)
    half = length / 2
    split = half - 1.9
    parts = [
        box((-0.55, -half, 0.5), (0.55, half - 0.2, 0.85), (0.15, 0.15, 0.16)),
        prism([(split, 0.5), (half, 0.5), (half, 1.5), (half - 0.35, 2.55), (split, 2.55)], 2.25, cab, 2.05),
        prism([(half - 0.02, 1.5), (half + 0.02, 1.5), (half - 0.3, 2.4), (half - 0.36, 2.4)], 2.0, GLASS, 1.85),
        box((-1.13, half - 1.25, 1.5), (1.13, half - 0.5, 2.2), GLASS),
        box((-1.1, half - 0.1, 0.4), (1.1, half + 0.1, 0.75), METAL),
    ]
    if rng.random() < 0.75:
        parts.append(box((-width / 2, -half, 0.9), (width / 2, split - 0.15, height), cargo))
        if rng.random() < 0.5:
            stripe = _pick(rng, CLOTHES)
            parts.append(box((-width / 2 - 0.015, -half + 0.5, 1.6), (width / 2 + 0.015, split - 0.6, 2.1), stripe))
    else:
        parts.append(box((-width / 2, -half, 0.9), (width / 2, split - 0.15, 1.1), cargo))
        for x in (-width / 2, width / 2 - 0.08):
            parts.append(box((x, -half, 1.1), (x + 0.08, split - 0.15, 1.75), cargo))
        parts.append(ball((0, -half * 0.35, 1.2), (1.0, half * 0.5, 0.8), (0.45, 0.36, 0.26)))
    parts += _wheels(1.15, (-half * 0.62, half - 1.0), 0.46) + _lamps(1.1, half, -half, 0.85)
    return join(_glazed(parts)).of_class("truck")


def bench(rng: np.random.Generator) -> Mesh:
    wood = _pick(rng, ((0.55, 0.36, 0.2), (0.42, 0.27, 0.16), (0.62, 0.45, 0.28), (0.3, 0.38, 0.3)))
    parts = [box((-0.95, y, 0.44), (0.95, y + 0.13, 0.5), wood) for y in (-0.2, -0.05, 0.1)]
    parts += [box((-0.95, -0.34, z), (0.95, -0.28, z + 0.14), wood) for z in (0.56, 0.75)]
    for x in (-0.75, 0.69):
        parts.append(box((x, -0.34, 0), (x + 0.08, -0.24, 0.9), (0.12, 0.12, 0.13)))
        parts.append(box((x, 0.12, 0), (x + 0.08, 0.2, 0.46), (0.12, 0.12, 0.13)))
        parts.append(box((x, -0.3, 0.4), (x + 0.08, 0.2, 0.46), (0.12, 0.12, 0.13)))
    return join(parts).of_class("bench").placed(0, 0, scale=(1.1, 1.1, 1.05))


def traffic_light(rng: np.random.Generator) -> Mesh:
    """Post and head; only the head is of the class, the post is `pole`."""
    base = rng.uniform(2.3, 2.9)
    case = _pick(rng, ((0.1, 0.11, 0.1), (0.12, 0.14, 0.13), (0.85, 0.65, 0.1)))
    head = [
        box((-0.3, -0.2, base), (0.3, 0.2, base + 1.35), case),
        box((-0.42, -0.03, base - 0.1), (0.42, 0.03, base + 1.45), (0.07, 0.07, 0.07)),
    ]
    lit = rng.choice([0, 0, 1, 2, 2])
    colours = ((0.15, 0.85, 0.45), (0.98, 0.75, 0.15), (0.95, 0.12, 0.1))
    for lamp, colour in enumerate(colours):
        z = base + 0.25 + 0.43 * lamp
        dim = tuple(0.22 * c for c in colour)
        for side in (-1, 1):
            lens = tube((0, side * 0.2, z), (0, side * 0.235, z), 0.17, colour if lamp == lit else dim, sections=10)
            glow = Surface.GLOW if lamp == lit else Surface.PLAIN
            head.append(Mesh(lens.corners, lens.albedo, np.full(len(lens), glow, np.uint8), lens.class_id, lens.style))
    return join([join(head).of_class("traffic light"), tube((0, 0, 0), (0, 0, base), 0.08, METAL).of_class("pole")])


_STOP_STROKES = {
    "S": ((0, 4, 3, 5), (0, 3, 1, 4), (0, 2, 3, 3), (2, 1, 3, 2), (0, 0, 3, 1)),
    "T": ((0, 4, 3, 5), (1, 0, 2, 4)),
    "O": ((0, 0, 1, 5), (2, 0, 3, 5), (1, 0, 2, 1), (1, 4, 2, 5)),
    "P": ((0, 0, 1, 5), (1, 4, 3, 5), (2, 3, 3, 4), (1, 2, 3, 3)),
}


def stop_sign(rng: np.random.Generator) -> Mesh:
    """Post and plate; only the plate is of the class, the post is `pole`."""
    z, radius, white = rng.uniform(2.1, 2.5), 0.52, (0.95, 0.95, 0.95)
    angles = np.radians(22.5 + 45 * np.arange(8))

    def octagon(r: float, y0: float, y1: float, colour: Vector) -> Mesh:
        rim = [np.column_stack([r * np.cos(angles), np.full(8, y), z + r * np.sin(angles)]) for y in (y0, y1)]
        triangles = []
        for i in range(8):
            j = (i + 1) % 8
            triangles += [[rim[0][i], rim[0][j], rim[1][j]], [rim[0][i], rim[1][j], rim[1][i]]]
            if 0 < i < 7:
                triangles += [[rim[1][0], rim[1][j], rim[1][i]], [rim[0][0], rim[0][i], rim[0][j]]]
        return paint(np.array(triangles), colour)

    red = _pick(rng, ((0.78, 0.07, 0.08),))
    parts = [octagon(radius, 0.06, 0.09, white), octagon(radius * 0.93, 0.09, 0.1, red)]
    parts.append(octagon(radius * 0.98, 0.05, 0.06, (0.6, 0.61, 0.62)))
    cell = 0.062
    for place, letter in enumerate("STOP"):
        for x0, z0, x1, z1 in _STOP_STROKES[letter]:  # mirrored in x: the plate faces north, its reader looks south
            left = (1.5 + 7.5 - 4 * place - 1.5) * cell
            a, b = left - x1 * cell + 0 * cell, left - x0 * cell
            parts.append(box((a, 0.1, z + (z0 - 2.5) * cell), (b, 0.112, z + (z1 - 2.5) * cell), white))
    post = tube((0, 0, 0), (0, 0, z + 0.4), 0.05, METAL).of_class("pole")
    return join([join(parts).of_class("stop sign"), post])


def tree(rng: np.random.Generator) -> Mesh:
    kind, green = rng.choice(["broad", "broad", "tall", "conifer"]), _pick(rng, LEAVES)
    height = rng.uniform(4.5, 8.5)
    trunk = rng.uniform(0.25, 0.38) * height
    parts = [tube((0, 0, 0), (0, 0, trunk + 0.8), 0.045 * height**0.75, BARK, end_radius=0.05)]
    if kind == "conifer":
        for low, high, radius in ((0.18, 0.6, 0.26), (0.4, 0.8, 0.2), (0.62, 1.0, 0.14)):
            cone = tube((0, 0, low * height), (0, 0, high * height), radius * height, green, 9, end_radius=0.02)
            parts.append(_ruffled(cone, rng, 0.12))
    else:
        crown = height - trunk
        wide = crown * (0.42 if kind == "broad" else 0.27)
        for index in range(4):
            angle, off = index * 2.1 + rng.uniform(0, 1), 0 if index == 3 else wide * 0.42
            z = trunk + crown * (0.72 if index == 3 else rng.uniform(0.32, 0.5))
            radii = np.array([wide, wide, crown * 0.36]) * rng.uniform(0.62, 0.8)
            shade = tuple(np.clip(np.array(green) * rng.uniform(0.88, 1.12), 0, 1))
            lump = ball((off * np.cos(angle), off * np.sin(angle), z), radii, shade, fine=2)
            parts.append(_ruffled(lump, rng, 0.1))
    foliage = [
        Mesh(p.corners, p.albedo, np.full(len(p), Surface.FOLIAGE, np.uint8), p.class_id, p.style) for p in parts[1:]
    ]
    return join([parts[0], *foliage]).of_class("tree")


def _ruffled(mesh: Mesh, rng: np.random.Generator, amount: float) -> Mesh:
    """Move corners by a smooth function of their position, so that neighbouring triangles stay joined."""
    waves = rng.uniform(-1, 1, (3, 3)) * 4
    shift = sum(np.sin(mesh.corners @ wave + index) for index, wave in enumerate(waves.astype(np.float32)))
    centre = mesh.corners.reshape(-1, 3).mean(axis=0)
    corners = centre + (mesh.corners - centre) * (1 + amount * np.asarray(shift)[..., None])
    return Mesh(corners.astype(np.float32), mesh.albedo, mesh.surface, mesh.class_id, mesh.style)


def hedge(rng: np.random.Generator, length: float) -> Mesh:
    height = rng.uniform(0.7, 1.3)
    green = _pick(rng, LEAVES[:3])
    return box((-0.4, -length / 2, 0), (0.4, length / 2, height), green, Surface.FOLIAGE).of_class("vegetation")


def bush(rng: np.random.Generator) -> Mesh:
    size, green = rng.uniform(0.5, 1.0), _pick(rng, LEAVES[:4])
    lump = ball((0, 0, size * 0.55), (size, size, size * 0.8), green, Surface.FOLIAGE, fine=2)
    return _ruffled(lump, rng, 0.08).of_class("vegetation")


def lamp(rng: np.random.Generator) -> Mesh:
    height = rng.uniform(5.0, 7.0)
    parts = [
        tube((0, 0, 0), (0, 0, height), 0.09, METAL, end_radius=0.05),
        tube((0, 0, height), (0, 1.1, height + 0.15), 0.05, METAL),
        box((-0.14, 0.9, height + 0.08), (0.14, 1.5, height + 0.2), (0.85, 0.85, 0.8)),
    ]
    return join(parts).of_class("pole")


OBJECTS = {
    "person": person,
    "bicycle": bicycle,
    "car": car,
    "bus": bus,
    "truck": truck,
    "traffic light": traffic_light,
    "stop sign": stop_sign,
    "bench": bench,
    "tree": tree,
}
"""Countable class → maker of one individual."""
