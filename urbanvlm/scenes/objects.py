"""People, street furniture and plants, each standing at the origin facing north."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from urbanvlm.scenes.arrays import f32
from urbanvlm.scenes.meshes import Mesh, Surface, Vector, ball, box, bridge, coated, join, pick, prism, tube
from urbanvlm.scenes.vehicles import METAL, RUBBER, bicycle, bus, car, truck

SKIN = ((0.95, 0.78, 0.66), (0.85, 0.64, 0.5), (0.62, 0.42, 0.3), (0.4, 0.27, 0.2))
HAIR = ((0.1, 0.08, 0.07), (0.3, 0.19, 0.1), (0.62, 0.48, 0.28), (0.55, 0.53, 0.52))
CLOTHES = (
    (0.75, 0.14, 0.14), (0.16, 0.3, 0.62), (0.92, 0.9, 0.86), (0.12, 0.12, 0.14), (0.9, 0.68, 0.16),
    (0.2, 0.48, 0.36), (0.58, 0.28, 0.56), (0.9, 0.45, 0.2), (0.45, 0.65, 0.8), (0.5, 0.5, 0.52),
)  # fmt: skip
TROUSERS = ((0.13, 0.15, 0.24), (0.2, 0.2, 0.2), (0.24, 0.33, 0.5), (0.46, 0.38, 0.28), (0.32, 0.33, 0.34))
LEAVES = ((0.22, 0.42, 0.13), (0.3, 0.48, 0.16), (0.16, 0.36, 0.16), (0.4, 0.5, 0.18), (0.72, 0.47, 0.14))
BARK = (0.36, 0.27, 0.19)


def person(rng: np.random.Generator) -> Mesh:
    skin, top, legs, hair = (pick(rng, c) for c in (SKIN, CLOTHES, TROUSERS, HAIR))
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
        parts.append(box((-0.17, -0.32, 1.0), (0.17, -0.12, 1.42), pick(rng, CLOTHES)))
    if rng.random() < 0.3:
        parts.append(prism([(-0.2, 0.55), (0.2, 0.55), (0.13, 1.05), (-0.13, 1.05)], 0.52, top, 0.36))
    size = rng.uniform(0.92, 1.08)
    return join(parts).of_class("person").placed(0, 0, scale=(size, size, size))


def bench(rng: np.random.Generator) -> Mesh:
    wood = pick(rng, ((0.55, 0.36, 0.2), (0.42, 0.27, 0.16), (0.62, 0.45, 0.28), (0.3, 0.38, 0.3)))
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
    case = pick(rng, ((0.1, 0.11, 0.1), (0.12, 0.14, 0.13), (0.85, 0.65, 0.1)))
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
            head.append(coated(lens, Surface.GLOW) if lamp == lit else lens)
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
        back, front = (np.column_stack([r * np.cos(angles), np.full(8, y), z + r * np.sin(angles)]) for y in (y0, y1))
        return bridge(back, front, colour)

    red = pick(rng, ((0.78, 0.07, 0.08),))
    parts = [octagon(radius, 0.06, 0.09, white), octagon(radius * 0.93, 0.09, 0.1, red)]
    parts.append(octagon(radius * 0.98, 0.05, 0.06, (0.6, 0.61, 0.62)))
    cell = 0.062
    for place, letter in enumerate("STOP"):
        for x0, z0, x1, z1 in _STOP_STROKES[letter]:
            # Mirrored in x: the plate faces north, so its reader looks south.
            a, b = (7.5 - 4 * place - x1) * cell, (7.5 - 4 * place - x0) * cell
            parts.append(box((a, 0.1, z + (z0 - 2.5) * cell), (b, 0.112, z + (z1 - 2.5) * cell), white))
    post = tube((0, 0, 0), (0, 0, z + 0.4), 0.05, METAL).of_class("pole")
    return join([join(parts).of_class("stop sign"), post])


def tree(rng: np.random.Generator) -> Mesh:
    kind = rng.choice(["broad", "broad", "tall", "conifer"])
    green = pick(rng, LEAVES[:3] if kind == "conifer" else LEAVES)
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
        for index in range(3):
            top = index == 2
            angle, off = index * 3.1 + rng.uniform(0, 1.5), 0.12 * wide if top else wide * 0.42
            z = trunk + crown * (0.7 if top else rng.uniform(0.32, 0.48))
            radii = np.array([wide, wide, crown * 0.36]) * rng.uniform(0.62, 0.8)
            shade = tuple(np.clip(np.array(green) * rng.uniform(0.88, 1.12), 0, 1))
            lump = ball((off * np.cos(angle), off * np.sin(angle), z), radii, shade, fine=2)
            parts.append(_ruffled(lump, rng, 0.1))
    foliage = [coated(part, Surface.FOLIAGE) for part in parts[1:]]
    return join([parts[0], *foliage]).of_class("tree")


def _ruffled(mesh: Mesh, rng: np.random.Generator, amount: float) -> Mesh:
    """Move vertices along the line from the middle by a smooth function of their position."""
    waves = f32(rng.uniform(-4, 4, (3, 3)))
    shift = sum(np.sin(mesh.vertices @ wave + index) for index, wave in enumerate(waves))
    centre = mesh.vertices.mean(axis=0)
    return replace(mesh, vertices=f32(centre + (mesh.vertices - centre) * (1 + amount * np.asarray(shift)[:, None])))


def hedge(rng: np.random.Generator) -> Mesh:
    length = 3.6
    height = rng.uniform(0.7, 1.3)
    green = pick(rng, LEAVES[:3])
    return box((-0.4, -length / 2, 0), (0.4, length / 2, height), green, Surface.FOLIAGE).of_class("vegetation")


def bush(rng: np.random.Generator) -> Mesh:
    size, green = rng.uniform(0.5, 1.0), pick(rng, LEAVES[:4])
    lump = ball((0, 0, size * 0.55), (size, size, size * 0.8), green, Surface.FOLIAGE)
    return _ruffled(lump, rng, 0.08).of_class("vegetation")


def lamp(rng: np.random.Generator) -> Mesh:
    height = rng.uniform(5.0, 7.0)
    parts = [
        tube((0, 0, 0), (0, 0, height), 0.09, METAL, end_radius=0.05),
        tube((0, 0, height), (0, 1.1, height + 0.15), 0.05, METAL),
        box((-0.14, 0.9, height + 0.08), (0.14, 1.5, height + 0.2), (0.85, 0.85, 0.8)),
    ]
    return join(parts).of_class("pole")


SHAPES = {
    "person": person,
    "bicycle": bicycle,
    "car": car,
    "bus": bus,
    "truck": truck,
    "traffic light": traffic_light,
    "stop sign": stop_sign,
    "bench": bench,
    "tree": tree,
    "hedge": hedge,
    "bush": bush,
    "lamp": lamp,
}
"""Kind of item → maker of one individual."""
