"""A random street block: ground plan, buildings, weather and standpoint from (seed, number)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from urbanvlm.scenes.archetypes import ARCHETYPES, REACH_CHANCE, REACH_M, WALLS, Archetype
from urbanvlm.scenes.camera import HEIGHTS_M
from urbanvlm.scenes.furnish import place_objects, place_scenery
from urbanvlm.scenes.place import Building, Place, Side, SideKind, Street, Weather, WeatherKind


def sample_place(number: int, seed: int, camera: Literal["eye", "car", "mixed"] = "mixed") -> Place:
    """The place of a number: the same for the same arguments, independent of all other places."""
    root = (seed, number)
    rng = np.random.default_rng(root)
    names = list(ARCHETYPES)
    weights = np.array([ARCHETYPES[name].weight for name in names])
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    kind = ARCHETYPES[name]
    height = camera if camera != "mixed" else ("eye", "car")[rng.integers(2)]
    street = _street(kind, rng)
    pitch = rng.uniform(*kind.pitch_deg)
    aslant = rng.normal(0, 6) if rng.random() < 0.5 else rng.uniform(-45, 45)
    bare = Place(
        name=f"image_{number:06d}",
        street=street,
        street_heading_deg=float(rng.integers(4) * 90 + aslant),
        offset=_standpoint(street, height, rng),
        buildings=tuple(_buildings(street, kind, rng)),
        weather=_weather(rng),
        archetype=name,
        camera_height=HEIGHTS_M[height],
        pitch_deg=(pitch - 3, pitch + 3),
        seed=root,
    )
    objects = place_objects(bare, kind, rng)
    return replace(bare, items=(*objects, *place_scenery(bare, objects, rng)))


def _street(kind: Archetype, rng: np.random.Generator) -> Street:
    reach = rng.uniform(*(kind.reach_m or REACH_M[rng.choice(len(REACH_M), p=REACH_CHANCE)]))
    yard = rng.uniform(*kind.yard_m)
    depths = {"front": yard, "plaza": rng.uniform(14, 20 + 0.3 * reach), "park": rng.uniform(14, 20 + 0.3 * reach)}

    def side(which: SideKind) -> Side:
        return Side(which, depths[which], which == "park" or (which == "front" and rng.random() < kind.green))

    left, right = kind.sides[rng.integers(len(kind.sides))]
    half = rng.uniform(3, 4.5)
    cross_y = rng.choice([-1, 1]) * rng.uniform(4, 18) if kind.lanes and rng.random() < 0.45 else None
    if cross_y is not None:
        crosswalks: tuple[float, ...] = (cross_y - half - 2.2, cross_y + half + 2.2)
    else:
        crosswalks = (rng.uniform(-18, 18),) if kind.lanes and rng.random() < 0.5 else ()
    return Street(
        half_width=rng.uniform(*kind.road_m) / 2,
        lanes=kind.lanes,
        sidewalk=rng.uniform(*kind.sidewalk_m),
        sides=(side(left), side(right)),
        length=reach,
        paved=bool(rng.random() >= kind.green),
        cross_y=cross_y,
        cross_half_width=half,
        crosswalk_ys=crosswalks,
        yellow_line=bool(rng.random() < 0.4),
    )


def _standpoint(street: Street, height: str, rng: np.random.Generator) -> tuple[float, float]:
    """A car's camera is on a lane, an eye on a sidewalk, a square, a path or a crosswalk."""
    side = rng.choice([-1, 1])
    if height == "car" or street.is_path():
        return float(side * rng.uniform(0.2, 0.6) * street.half_width), 0.0
    wide = [s.kind != "front" for s in street.sides][0 if side < 0 else 1]
    reach = 7.0 if wide else -0.3
    return float(side * (street.half_width + rng.uniform(-2.5, street.sidewalk * 0.4 + max(reach, 0)))), 0.0


def _weather(rng: np.random.Generator) -> Weather:
    kinds: tuple[WeatherKind, ...] = ("clear", "overcast", "fog", "dusk")
    kind = kinds[rng.choice(4, p=[0.5, 0.2, 0.12, 0.18])]
    low, high = {"clear": (22, 65), "overcast": (60, 80), "fog": (60, 80), "dusk": (5, 14)}[kind]
    return Weather(kind, float(rng.uniform(0, 360)), float(rng.uniform(low, high)), int(rng.integers(1 << 30)))


def _building(
    x: float, y: float, outward: int, bays: tuple[int, int], kind: Archetype, rng: np.random.Generator
) -> Building:
    """One building whose façade is at x and which extends outward from it, its near corner at y."""
    bay = float(rng.uniform(2.4, 3.6))
    wall = np.clip(np.asarray(WALLS[rng.integers(len(WALLS))]) + rng.normal(0, 0.03, 3), 0.1, 0.95)
    glassy = kind.floors[1] > 6 and rng.random() < 0.25
    return Building(
        x0=x if outward > 0 else x - bays[0] * bay,
        y0=y,
        bays_x=bays[0],
        bays_y=bays[1],
        floors=int(rng.integers(kind.floors[0], kind.floors[1] + 1)),
        bay=bay,
        floor_height=float(rng.uniform(2.9, 3.6)),
        window_width=0.88 if glassy else float(rng.uniform(0.35, 0.62)),
        window_height=0.82 if glassy else float(rng.uniform(0.42, 0.68)),
        wall=(float(wall[0]), float(wall[1]), float(wall[2])),
        shop=bool(kind.gable == 0 and rng.random() < 0.45),
        brick=bool(rng.random() < 0.4),
        gable=bool(rng.random() < kind.gable),
        balconies=bool(rng.random() < 0.25),
        seed=int(rng.integers(1 << 15)),
    )


def _buildings(street: Street, kind: Archetype, rng: np.random.Generator) -> list[Building]:
    rows = []
    for outward, side in zip((-1, 1), street.sides, strict=True):
        x = outward * (street.half_width + street.sidewalk + side.depth)
        for low, high in street.intervals():
            y, end = max(low + 0.3, -street.length), min(high - 0.3, street.length)
            while y < end - 6:
                building = _building(x, y, outward, (int(rng.integers(3, 5)), int(rng.integers(3, 7))), kind, rng)
                if building.y1 > end:
                    break
                if rng.random() >= kind.gap:
                    rows.append(building)
                y = building.y1 + (rng.uniform(1.5, 6) if rng.random() < 2 * kind.gap else 0.02)
    return rows + _closing(street, kind, rng) + _skyline(street, kind, rng)


def _closing(street: Street, kind: Archetype, rng: np.random.Generator) -> list[Building]:
    """Buildings across the ends of a street that is not open."""
    closing = []
    reach = street.half_width + street.sidewalk + max(side.depth for side in street.sides)
    for end in (-1, 1):
        if street.length > REACH_M[1][1] or rng.random() < 0.15:
            continue
        x = -reach
        while x < reach:
            building = _building(x, 0.0, 1, (int(rng.integers(4, 7)), 4), kind, rng)
            y = street.length + 4 if end > 0 else -street.length - 4 - building.bays_y * building.bay
            closing.append(replace(building, y0=y))
            x = building.x1 + 0.02
    return closing


def _skyline(street: Street, kind: Archetype, rng: np.random.Generator) -> list[Building]:
    """Large buildings far away, with gaps between."""
    skyline = []
    width = street.half_width + street.sidewalk + max(side.depth for side in street.sides)
    near = max(street.length, width) + 28
    for angle in np.arange(0, 360, 11.0) + rng.uniform(0, 11):
        if rng.random() < 0.25:
            continue
        radius = near + rng.uniform(0, 0.4 * street.length)
        x, y = radius * np.sin(np.radians(angle)), radius * np.cos(np.radians(angle))
        tower = int(rng.integers(8)) if rng.random() < 0.3 else 0
        bays = (int(rng.integers(4, 8)), int(rng.integers(4, 8)))
        plain = _building(float(x), float(y), 1, bays, kind, rng)
        skyline.append(replace(plain, floors=int(rng.integers(2, 5)) + tower, gable=False, balconies=False, shop=False))
    return skyline
