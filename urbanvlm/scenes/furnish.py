"""Objects and scenery on a street's ground: each where its class may stand, none in another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from urbanvlm.scenes.archetypes import CROWD, CROWD_CHANCE, GROVE, HABITS, LEANS, Archetype, Habit
from urbanvlm.scenes.arrays import Flags, Floats
from urbanvlm.scenes.camera import FIELD_OF_VIEW_DEG
from urbanvlm.scenes.place import KERB_M, Item, Place, Street

VARIANTS = 24
"""Individuals per class that differ in shape and colour."""
CLEARANCE_M = 1.2
"""Nothing comes nearer to the camera."""


class _Room:
    """The ground taken so far, as circles in the world frame."""

    def __init__(self) -> None:
        self._circles = np.zeros((0, 3))

    def free(self, x: Floats, y: Floats, radius: float) -> Flags:
        """Whether circles of the radius at points of any shape touch nothing."""
        taken_x, taken_y, taken_radius = self._circles.T
        apart = np.hypot(x[..., None] - taken_x, y[..., None] - taken_y) > taken_radius + radius
        return np.asarray(apart.all(axis=-1))

    def take(self, x: Floats, y: Floats, radius: float) -> None:
        self._circles = np.vstack([self._circles, np.column_stack([x, y, np.full(len(x), radius)])])


def place_objects(place: Place, kind: Archetype, rng: np.random.Generator) -> list[Item]:
    """Each quarter around the camera gets its own classes and counts, so that the four views differ."""
    items: list[Item] = []
    room = _Room()
    for quarter in (0.0, 90.0, 180.0, 270.0):
        habits = dict(HABITS)
        if rng.random() < kind.grove:
            habits["tree"] = GROVE
        if rng.random() < CROWD_CHANCE:
            habits["person"] = CROWD
        for name, habit in habits.items():
            if rng.random() >= habit.presence * kind.busy:
                continue
            count = habit.least
            while count < habit.most and rng.random() < habit.more:
                count += 1
            lean = LEANS[0 if habit.least > 1 else rng.choice(len(LEANS), p=[lean.chance for lean in LEANS])]
            first = int(rng.integers(len(lean.middles_deg)))
            for index in range(count):
                towards = quarter + lean.middles_deg[(first + index) % len(lean.middles_deg)]
                item = _find_spot(place, name, habit, towards, lean.half_width_deg, room, rng)
                if item is not None:
                    items.append(replace(item, scale=float(rng.uniform(1.15, 1.5))) if habit is GROVE else item)
    return items


def _find_spot(
    place: Place, name: str, habit: Habit, towards_deg: float, spread_deg: float, room: _Room, rng: np.random.Generator
) -> Item | None:
    """Draw many spots in a sector around the camera and take the first that suits the class and is free."""
    tries = 48
    bearing = np.radians(towards_deg + rng.uniform(-spread_deg, spread_deg, tries))
    near = max(habit.near_m, _nearest_in_view(place, habit.middle_m))
    distance = np.exp(rng.uniform(np.log(near), np.log(max(habit.far_m, 1.4 * near)), tries))
    x, y = place.to_street(distance * np.sin(bearing), distance * np.cos(bearing))
    heading = np.full(tries, place.street_heading_deg)
    ground = place.street.ground_at(x, y)
    if name in ("car", "bus", "truck"):
        x, y, turned = _to_lane(place.street, x, y, ground)
        heading = heading + turned + rng.normal(0, 2.0, tries)
    wx, wy = place.to_world(x, y)
    steps = np.linspace(-habit.half_length_m, habit.half_length_m, 1 + 2 * int(np.ceil(habit.half_length_m / 1.6)))
    # The object's footprint as circles along its length: arrays of tries × steps.
    fx = wx[:, None] + steps * np.sin(np.radians(heading))[:, None]
    fy = wy[:, None] + steps * np.cos(np.radians(heading))[:, None]
    stands = np.isin(place.street.ground_at(*place.to_street(fx, fy)), habit.ground)
    clear = stands & room.free(fx, fy, habit.radius_m) & (np.hypot(fx, fy) > habit.radius_m + CLEARANCE_M)
    found = np.flatnonzero(clear.all(axis=1) & (np.hypot(wx, wy) > 0.9 * near))
    if not len(found):
        return None
    i = found[0]
    room.take(fx[i], fy[i], habit.radius_m)
    return Item(
        name,
        float(wx[i]),
        float(wy[i]),
        0.0 if ground[i] in ("road", "cross", "path") else KERB_M,
        _facing(name, float(wx[i]), float(wy[i]), float(heading[i]), rng),
        int(rng.integers(VARIANTS)),
    )


def _nearest_in_view(place: Place, height: float) -> float:
    """How far a point of the height must be from the camera, so as not to fall below the picture."""
    below = np.radians(FIELD_OF_VIEW_DEG / 2 - place.pitch_deg[1])
    return float((place.camera_height - height) / np.tan(below))


def _to_lane(street: Street, x: Floats, y: Floats, ground: Floats) -> tuple[Floats, Floats, Floats]:
    """Move vehicles to the middle of the nearest lane; degrees to turn from the street's heading."""
    on_road, on_cross = ground == "road", ground == "cross"
    turned = np.where(x > 0, 0.0, 180.0)
    if street.lanes:
        lane = 2 * street.half_width / street.lanes
        middle = (np.floor(x / lane) + 0.5) * lane
        x = np.where(on_road, middle, x)
    if street.cross_y is not None:
        ahead = y > street.cross_y
        y = np.where(on_cross, street.cross_y + np.where(ahead, 0.5, -0.5) * street.cross_half_width, y)
        turned = np.where(on_cross, np.where(ahead, 270.0, 90.0), turned)
    return x, y, turned


def _facing(name: str, x: float, y: float, along: float, rng: np.random.Generator) -> float:
    """Signs, lights and benches face the camera more or less; people any way; the rest along the street."""
    to_camera = float(np.degrees(np.arctan2(-x, -y)))
    if name in ("stop sign", "traffic light"):
        return to_camera + float(rng.uniform(-35, 35))
    if name == "bench":
        return to_camera + float(rng.uniform(-50, 50) + (180 if rng.random() < 0.3 else 0))
    if name == "bicycle":
        return to_camera + float(rng.choice([-90, 90]) + rng.uniform(-40, 40))
    if name == "person":
        return float(rng.uniform(0, 360))
    return along


def place_scenery(place: Place, objects: list[Item], rng: np.random.Generator) -> list[Item]:
    """Lamps, hedges and bushes: scenery that is not counted, where no object stands."""
    street, along = place.street, place.street_heading_deg
    kerb = street.half_width + street.sidewalk
    spots: list[tuple[str, float, float, float]] = []  # kind, x and y in the street's frame, heading
    for sign, side in zip((-1, 1), street.sides, strict=True):
        if street.lanes:
            lamps = np.arange(-42, 42, rng.uniform(14, 24)) + rng.uniform(0, 10)
            spots += [("lamp", sign * (street.half_width + 0.4), y, along - sign * 90) for y in lamps]
        if not side.green or side.depth < 1.5:
            continue
        for y in np.arange(-36.0, 36.0, 4.0):
            if side.kind == "front" and rng.random() < 0.45:
                spots.append(("hedge", sign * (kerb + 0.5), y, along))
            elif rng.random() < 0.5:
                x = sign * (kerb + rng.uniform(1.2, min(side.depth - 0.2, 20.0)))
                spots.append(("bush", x, y + rng.uniform(-2, 2), 0.0))
    return [item for spot in spots if (item := _scenery(place, *spot, objects, rng)) is not None]


def _scenery(
    place: Place, kind: str, x: float, y: float, heading: float, objects: list[Item], rng: np.random.Generator
) -> Item | None:
    street = place.street
    if street.cross_y is not None and abs(y - street.cross_y) < street.cross_half_width + 2.5:
        return None
    wx, wy = (float(v) for v in place.to_world(np.array(x), np.array(y)))
    if np.hypot(wx, wy) < 3.5 or any(np.hypot(wx - item.x, wy - item.y) < 1.6 for item in objects):
        return None
    return Item(kind, wx, wy, KERB_M, heading, int(rng.integers(VARIANTS)))
