"""Bicycles, cars, buses and trucks, each standing at the origin facing north."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from urbanvlm.scenes.meshes import Mesh, Surface, ball, box, join, pick, prism, ring, tube

CAR_PAINT = (
    (0.8, 0.1, 0.1), (0.12, 0.25, 0.6), (0.92, 0.92, 0.92), (0.1, 0.1, 0.11), (0.62, 0.64, 0.66),
    (0.32, 0.34, 0.37), (0.1, 0.36, 0.26), (0.86, 0.56, 0.14), (0.5, 0.68, 0.8), (0.42, 0.1, 0.14),
)  # fmt: skip
BUS_PAINT = ((0.82, 0.12, 0.12), (0.93, 0.72, 0.1), (0.15, 0.45, 0.75), (0.16, 0.55, 0.3), (0.9, 0.5, 0.1))
CARGO = ((0.93, 0.93, 0.91), (0.8, 0.78, 0.7), (0.6, 0.66, 0.72), (0.35, 0.42, 0.36), (0.75, 0.55, 0.35))
GLASS = (0.2, 0.26, 0.32)
RUBBER = (0.08, 0.08, 0.09)
METAL = (0.35, 0.37, 0.4)


def bicycle(rng: np.random.Generator) -> Mesh:
    frame = pick(rng, CAR_PAINT)
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
    body = pick(rng, CAR_PAINT)
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
    parts = [prism(lower, 1.78, body, 1.66), prism(cabin, 1.6, GLASS, 1.3, Surface.GLASS)]
    rear, front = cabin[3][0], cabin[2][0]
    parts.append(box((-0.66, rear - 0.03, roof - 0.07), (0.66, front + 0.03, roof), body))
    for side in (-1, 1):  # pillars, so that the glass reads as windows
        middle = (rear + front) / 2
        for low_y, high_y in ((cabin[0][0], rear), (middle - 0.1, middle), (cabin[1][0], front)):
            parts.append(tube((side * 0.8, low_y, belt), (side * 0.655, high_y, roof - 0.03), 0.05, body, sections=4))
        parts.append(box((side * 0.88 - 0.1, 0.75, belt), (side * 0.88 + 0.1, 0.92, belt + 0.14), body))
    parts += _wheels(0.89, (-length * 0.3, length * 0.31), 0.33) + _lamps(0.85, half + 0.02, -half, 0.6)
    parts.append(box((-0.55, half - 0.02, 0.36), (0.55, half + 0.06, 0.52), (0.1, 0.1, 0.1)))
    for y in (half + 0.05, -half - 0.05):
        parts.append(box((-0.26, y - 0.03, 0.42), (0.26, y + 0.03, 0.53), (0.9, 0.9, 0.85)))
    return join(parts).of_class("car")


def bus(rng: np.random.Generator) -> Mesh:
    colour, half, width = pick(rng, BUS_PAINT), 5.4, 2.5
    second = (0.93, 0.92, 0.88) if rng.random() < 0.6 else colour
    parts = [
        prism([(-half, 0.35), (half, 0.35), (half, 1.35), (-half, 1.35)], width, colour),
        prism([(-half, 1.35), (half, 1.35), (half - 0.12, 3.1), (-half + 0.05, 3.1)], width, second, width - 0.12),
        box((-0.9, -half + 1, 3.1), (0.9, -half + 3.4, 3.35), (0.85, 0.85, 0.85)),
        box((-1.1, half - 0.2, 1.15), (1.1, half + 0.03, 2.6), GLASS),
        box((-0.95, half - 0.2, 2.66), (0.95, half + 0.04, 3.0), (0.95, 0.72, 0.15)),
        box((-1.0, -half - 0.03, 1.7), (1.0, -half + 0.2, 2.7), GLASS),
    ]
    windows = np.linspace(-half + 0.25, half - 1.5, 7)
    for side in (-1, 1):
        x0, x1 = sorted((side * (width / 2 - 0.2), side * (width / 2 + 0.015)))
        for y0, y1 in pairwise(windows):
            parts.append(box((x0, y0 + 0.07, 1.5), (x1, y1 - 0.07, 2.6), GLASS, Surface.GLASS))
        parts.append(box((x0, half - 1.35, 0.45), (x1, half - 0.35, 2.65), GLASS, Surface.GLASS))
    parts += _wheels(1.27, (-half * 0.55, half * 0.55), 0.48) + _lamps(1.2, half, -half, 0.65)
    return join(parts).of_class("bus")


def truck(rng: np.random.Generator) -> Mesh:
    cab, cargo = pick(rng, CAR_PAINT), pick(rng, CARGO)
    length, width, height = rng.uniform(6.2, 8.2), 2.4, rng.uniform(3.0, 3.6)
    half = length / 2
    split = half - 1.9
    parts = [
        box((-0.55, -half, 0.5), (0.55, half - 0.2, 0.85), (0.15, 0.15, 0.16)),
        prism([(split, 0.5), (half, 0.5), (half, 1.5), (half - 0.35, 2.55), (split, 2.55)], 2.25, cab, 2.05),
        prism(
            [(half - 0.02, 1.5), (half + 0.02, 1.5), (half - 0.3, 2.4), (half - 0.36, 2.4)],
            2.0,
            GLASS,
            1.85,
            Surface.GLASS,
        ),
        box((-1.13, half - 1.25, 1.5), (1.13, half - 0.5, 2.2), GLASS),
        box((-1.1, half - 0.1, 0.4), (1.1, half + 0.1, 0.75), METAL),
    ]
    if rng.random() < 0.75:
        parts.append(box((-width / 2, -half, 0.9), (width / 2, split - 0.15, height), cargo))
        if rng.random() < 0.5:
            stripe = pick(rng, CAR_PAINT)
            parts.append(box((-width / 2 - 0.015, -half + 0.5, 1.6), (width / 2 + 0.015, split - 0.6, 2.1), stripe))
    else:
        parts.append(box((-width / 2, -half, 0.9), (width / 2, split - 0.15, 1.1), cargo))
        boards = (-width / 2, width / 2 - 0.08)
        parts += [box((x, -half, 1.1), (x + 0.08, split - 0.15, 1.75), cargo) for x in boards]
        parts.append(ball((0, -half * 0.35, 1.2), (1.0, half * 0.5, 0.8), (0.45, 0.36, 0.26)))
    parts += _wheels(1.15, (-half * 0.62, half - 1.0), 0.46) + _lamps(1.1, half, -half, 0.85)
    return join(parts).of_class("truck")
