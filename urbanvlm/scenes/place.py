"""What stands where in a street block: the random sampling of a place, as plain data without geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from urbanvlm.scenes.camera import HEIGHTS_M, Camera

VARIANTS = 24
"""individuals per countable class that differ in shape and colour"""
KERB_M = 0.12
CLEARANCE_M = 1.2
SideKind = Literal["front", "plaza", "park"]
WeatherKind = Literal["clear", "overcast", "fog", "dusk"]


@dataclass(frozen=True, slots=True)
class Weather:
    kind: WeatherKind = "clear"
    sun_heading_deg: float = 140.0
    sun_elevation_deg: float = 45.0
    seed: int = 0
    """of the clouds"""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the street beyond its sidewalk: `depth` metres of yard, square or lawn, then buildings."""

    kind: SideKind
    depth: float
    green: bool


@dataclass(frozen=True, slots=True)
class Street:
    """The ground plan, in the street's frame: x across to the right, y along it, the block's middle at 0, 0."""

    half_width: float = 4.0
    lanes: int = 2
    sidewalk: float = 2.5
    sides: tuple[Side, Side] = (Side("front", 0.0, False), Side("front", 0.0, False))
    """left (x < 0) and right"""
    length: float = 90.0
    """the rows of buildings reach from -length to +length"""
    paved: bool = True
    """the base ground far away is paved, else grass"""
    cross_y: float | None = None
    """middle of a crossing street"""
    cross_half_width: float = 3.5
    crosswalk_ys: tuple[float, ...] = ()
    yellow_line: bool = False

    def is_path(self) -> bool:
        """Without lanes the 'road' is a footpath."""
        return self.lanes == 0

    def intervals(self) -> list[tuple[float, float]]:
        """The stretches of y that no crossing street cuts."""
        far = self.length + 30
        if self.cross_y is None:
            return [(-far, far)]
        return [(-far, self.cross_y - self.cross_half_width), (self.cross_y + self.cross_half_width, far)]

    def ground_at(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.str_]:
        """What one stands on at street-frame points: road, cross, path, sidewalk, yard, plaza, lawn or '' (built)."""
        away = np.abs(x)
        kerb = self.half_width + self.sidewalk
        ground = np.full(np.shape(x), "", dtype="<U8")
        for sign, side in zip((-1, 1), self.sides, strict=True):
            name = {"front": "yard", "plaza": "plaza", "park": "lawn"}[side.kind]
            ground[(np.sign(x) == sign) & (away >= kerb) & (away < kerb + side.depth)] = name
        ground[away < kerb] = "sidewalk"
        ground[away < self.half_width] = "path" if self.is_path() else "road"
        if self.cross_y is not None:
            off = np.abs(y - self.cross_y)
            ground[(off < self.cross_half_width) & (away >= self.half_width)] = "cross"
        return ground


@dataclass(frozen=True, slots=True)
class Building:
    """A box of whole bays and floors, in the street's frame, and what its façade looks like."""

    x0: float
    y0: float
    bays_x: int
    bays_y: int
    floors: int
    bay: float = 3.0
    floor_height: float = 3.2
    window_width: float = 0.5
    window_height: float = 0.55
    wall: tuple[float, float, float] = (0.7, 0.6, 0.5)
    shop: bool = False
    brick: bool = False
    gable: bool = False
    balconies: bool = False
    seed: int = 0

    @property
    def x1(self) -> float:
        return self.x0 + self.bays_x * self.bay

    @property
    def y1(self) -> float:
        return self.y0 + self.bays_y * self.bay

    @property
    def height(self) -> float:
        return self.floors * self.floor_height + 0.6


@dataclass(frozen=True, slots=True)
class Item:
    """An object in the world frame: x east, y north, heading clockwise from north."""

    kind: str
    """a countable class, or hedge, bush, lamp"""
    x: float
    y: float
    z: float = 0.0
    heading_deg: float = 0.0
    variant: int = 0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """A street block. The camera stands at the world's origin."""

    name: str
    street: Street
    street_heading_deg: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    """the camera's position in the street's frame"""
    buildings: tuple[Building, ...] = ()
    items: tuple[Item, ...] = ()
    weather: Weather = field(default_factory=Weather)
    archetype: str = "hand-built"
    camera_height: float = HEIGHTS_M["eye"]
    pitch_deg: tuple[float, float] = (0.0, 0.0)
    """range from which a view's pitch is drawn"""
    seed: tuple[int, ...] = (0,)

    def camera(self, heading_deg: int) -> Camera:
        """The camera of one heading; its pitch depends on the seed and the heading only."""
        rng = np.random.default_rng([*self.seed, 7, heading_deg])
        return Camera(0.0, 0.0, self.camera_height, float(heading_deg), float(rng.uniform(*self.pitch_deg)))

    def to_street(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
        """World → street frame."""
        s, c = np.sin(np.radians(self.street_heading_deg)), np.cos(np.radians(self.street_heading_deg))
        return x * c - y * s + self.offset[0], x * s + y * c + self.offset[1]

    def to_world(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
        """Street frame → world."""
        s, c = np.sin(np.radians(self.street_heading_deg)), np.cos(np.radians(self.street_heading_deg))
        x, y = x - self.offset[0], y - self.offset[1]
        return x * c + y * s, -x * s + y * c


@dataclass(frozen=True, slots=True)
class Archetype:
    """A kind of place: the ranges its numbers are drawn from."""

    weight: float
    road_m: tuple[float, float]
    lanes: int
    sidewalk_m: tuple[float, float]
    sides: tuple[tuple[SideKind, SideKind], ...]
    depth_m: tuple[float, float]
    """yard in front of buildings; squares and lawns are deeper, see SIDE_DEPTH_M"""
    floors: tuple[int, int]
    gap: float
    """chance that a lot between buildings stays empty"""
    pitch_deg: tuple[float, float]
    green: float
    """chance that yards and the far ground are grass"""
    trees: float
    """how readily trees stand here, relative to the others"""
    gable: float = 0.0


SIDE_DEPTH_M = {"plaza": (14.0, 34.0), "park": (30.0, 60.0)}

ARCHETYPES = {
    "canyon": Archetype(1.2, (6, 8), 2, (2.0, 3.2), (("front", "front"),), (0, 0.5), (5, 11), 0.02, (-2, 12), 0, 0.5),
    "avenue": Archetype(
        1.3, (11, 15), 4, (3.5, 5), (("front", "front"), ("front", "plaza")), (0, 3), (3, 7), 0.12, (-3, 10), 0.3, 1.2
    ),
    "residential": Archetype(
        1.2, (6, 8), 2, (1.8, 2.6), (("front", "front"), ("front", "park")), (3, 7), (1, 3), 0.4, (-4, 9), 1, 1.5, 0.8
    ),
    "green side": Archetype(
        1.0, (7, 10), 2, (2.2, 3.5), (("park", "front"), ("front", "park")), (0, 4), (3, 6), 0.2, (-5, 9), 0.6, 2.0
    ),
    "park": Archetype(1.3, (2.5, 4.5), 0, (0.0, 0.0), (("park", "park"),), (0, 0), (3, 7), 0.4, (-9, 9), 1, 2.6),
    "square": Archetype(
        1.3, (6, 9), 2, (3, 5), (("plaza", "plaza"), ("plaza", "park")), (0, 2), (2, 6), 0.25, (2, 16), 0.1, 0.7
    ),
}


@dataclass(frozen=True, slots=True)
class Habit:
    """Where and how often a class stands, per quarter of the surroundings."""

    presence: float
    """chance to be in a quarter at all"""
    more: float
    """chance of each further one"""
    most: int
    near_m: float
    far_m: float
    ground: tuple[str, ...]
    radius_m: float
    half_length_m: float = 0.0


PEDESTRIAN = ("sidewalk", "plaza", "path", "lawn", "yard")
HABITS = {
    "bus": Habit(0.36, 0.12, 2, 7.5, 22, ("road", "cross", "plaza"), 1.6, 5.2),
    "truck": Habit(0.36, 0.15, 2, 6.5, 20, ("road", "cross", "plaza"), 1.5, 3.6),
    "car": Habit(0.5, 0.55, 6, 4.5, 20, ("road", "cross", "plaza"), 1.2, 2.1),
    "tree": Habit(0.5, 0.55, 6, 5.0, 22, ("lawn", "yard", "sidewalk", "plaza"), 0.9),
    "bench": Habit(0.42, 0.3, 3, 3.0, 9, ("sidewalk", "plaza", "lawn", "yard", "path"), 0.9),
    "bicycle": Habit(0.42, 0.4, 4, 3.0, 8.5, (*PEDESTRIAN, "road"), 0.7),
    "traffic light": Habit(0.4, 0.35, 3, 4.0, 11, ("sidewalk", "plaza", "yard", "lawn"), 0.4),
    "stop sign": Habit(0.4, 0.25, 2, 3.5, 9, ("sidewalk", "plaza", "yard", "lawn"), 0.4),
    "person": Habit(0.5, 0.6, 6, 3.0, 13, (*PEDESTRIAN, "road", "cross"), 0.45),
}
"""Countable class → habit, the largest first, so that what needs room finds it."""


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
    bare = Place(
        name=f"image_{number:06d}",
        street=street,
        street_heading_deg=float(rng.choice([0.0, 90.0, 180.0, 270.0]) + rng.choice([rng.normal(0, 6), rng.uniform(-45, 45)])),
        offset=_standpoint(street, height, rng),
        buildings=tuple(_buildings(street, kind, rng)),
        weather=_weather(rng),
        archetype=name,
        camera_height=HEIGHTS_M[height],
        pitch_deg=(pitch - 3, pitch + 3),
        seed=root,
    )
    items = _objects(bare, kind, rng)
    items += _greenery(bare, kind, items, rng)
    return Place(**{f: getattr(bare, f) for f in Place.__slots__ if f != "items"}, items=tuple(items))


def _street(kind: Archetype, rng: np.random.Generator) -> Street:
    kinds = kind.sides[rng.integers(len(kind.sides))]
    depth = rng.uniform(*kind.depth_m)

    def side(which: SideKind) -> Side:
        if which == "front":
            return Side("front", depth, bool(rng.random() < kind.green))
        return Side(which, rng.uniform(*SIDE_DEPTH_M[which]), which == "park")

    crossing = kind.lanes > 0 and rng.random() < 0.45
    cross_y = float(rng.choice([-1, 1]) * rng.uniform(4, 22)) if crossing else None
    half = rng.uniform(3, 4.5)
    if cross_y is not None:
        crosswalks: tuple[float, ...] = (cross_y - half - 2.2, cross_y + half + 2.2)
    else:
        crosswalks = (float(rng.uniform(-18, 18)),) if kind.lanes and rng.random() < 0.5 else ()
    return Street(
        half_width=rng.uniform(*kind.road_m) / 2,
        lanes=kind.lanes,
        sidewalk=rng.uniform(*kind.sidewalk_m),
        sides=(side(kinds[0]), side(kinds[1])),
        length=float(rng.choice([rng.uniform(28, 50), rng.uniform(60, 130)], p=[0.35, 0.65])),
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


WALLS = (
    (0.76, 0.68, 0.56), (0.66, 0.36, 0.27), (0.85, 0.8, 0.7), (0.55, 0.52, 0.5), (0.78, 0.62, 0.4),
    (0.6, 0.64, 0.68), (0.72, 0.5, 0.4), (0.88, 0.86, 0.83), (0.5, 0.38, 0.32), (0.62, 0.66, 0.56),
)  # fmt: skip


def _building(x: float, y: float, outward: int, bays: tuple[int, int], kind: Archetype, rng: np.random.Generator) -> Building:
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
                bays = (int(rng.integers(3, 5)), int(rng.integers(3, 7)))
                building = _building(x, y, outward, bays, kind, rng)
                if building.y1 > end:
                    break
                if rng.random() >= kind.gap:
                    rows.append(building)
                y = building.y1 + (rng.uniform(2.5, 7) if rng.random() < kind.gap else 0.02)
    return rows + _closing(street, kind, rng) + _skyline(street, kind, rng)


def _closing(street: Street, kind: Archetype, rng: np.random.Generator) -> list[Building]:
    """Buildings across the ends of a short street."""
    closing = []
    for end in (-1, 1):
        if street.length > 55 or rng.random() < 0.3:
            continue
        x, stop = -street.half_width - street.sidewalk - 6, street.half_width + street.sidewalk + 6
        while x < stop:
            b = _building(x, 0.0, 1, (int(rng.integers(4, 7)), 4), kind, rng)
            y = street.length + 8 if end > 0 else -street.length - 8 - b.bays_y * b.bay
            closing.append(Building(**{**_fields(b), "y0": y}))
            x = b.x1 + 0.02
    return closing


def _skyline(street: Street, kind: Archetype, rng: np.random.Generator) -> list[Building]:
    """Large buildings far away, with gaps between."""
    skyline = []
    reach = max(street.length, 75.0) + 45
    for angle in np.arange(0, 360, 11.0) + rng.uniform(0, 11):
        if rng.random() < 0.3:
            continue
        radius = reach + rng.uniform(0, 60)
        x, y = radius * np.sin(np.radians(angle)), radius * np.cos(np.radians(angle))
        b = _building(x, y, 1, (int(rng.integers(6, 10)), int(rng.integers(6, 10))), kind, rng)
        floors = int(rng.integers(3, 6) + (rng.integers(0, 8) if rng.random() < 0.3 else 0))
        skyline.append(Building(**{**_fields(b), "floors": floors, "gable": False, "balconies": False, "bay": 3.4}))
    return skyline


def _fields(building: Building) -> dict[str, object]:
    return {name: getattr(building, name) for name in Building.__slots__}


class _Room:
    """The ground taken so far, as circles in the world frame."""

    def __init__(self) -> None:
        self._circles = np.zeros((0, 3))

    def free(self, x: NDArray, y: NDArray, radius: float) -> NDArray[np.bool_]:
        gap = np.hypot(x[:, None] - self._circles[:, 0], y[:, None] - self._circles[:, 1]) - self._circles[:, 2]
        return (gap > radius).all(axis=1)

    def take(self, x: NDArray, y: NDArray, radius: float) -> None:
        self._circles = np.vstack([self._circles, np.column_stack([x, y, np.full(len(x), radius)])])


def _objects(place: Place, kind: Archetype, rng: np.random.Generator) -> list[Item]:
    """Each quarter around the camera gets its own classes and counts, so that the four views differ."""
    items: list[Item] = []
    room = _Room()
    for quarter in (0.0, 90.0, 180.0, 270.0):
        for name, habit in HABITS.items():
            presence = habit.presence * (kind.trees**0.5 if name == "tree" else 1.0)
            if rng.random() >= presence:
                continue
            count = 1
            while count < habit.most and rng.random() < habit.more:
                count += 1
            lean = rng.choice([-16.0, 0.0, 16.0])
            for _ in range(count):
                item = _find_spot(place, name, habit, quarter, lean, room, rng)
                if item is not None:
                    items.append(item)
    return items


def _find_spot(
    place: Place, name: str, habit: Habit, quarter: float, lean: float, room: _Room, rng: np.random.Generator
) -> Item | None:
    """Draw many spots in the quarter and take the first that suits the class and is free."""
    tries = 48
    spread = 34.0 - abs(lean)
    bearing = np.radians(quarter + lean + rng.uniform(-spread, spread, tries))
    distance = np.exp(rng.uniform(np.log(habit.near_m), np.log(habit.far_m), tries))
    x, y = place.to_street(distance * np.sin(bearing), distance * np.cos(bearing))
    heading = np.full(tries, place.street_heading_deg)
    ground = place.street.ground_at(x, y)
    if habit.half_length_m:
        x, y, turned = _to_lane(place.street, x, y, ground)
        heading = heading + turned + rng.normal(0, 2.0, tries)
    wx, wy = place.to_world(x, y)
    along = np.radians(heading)
    fits = np.isin(ground, habit.ground) & (np.hypot(wx, wy) > habit.near_m * 0.9)
    offsets = np.linspace(-habit.half_length_m, habit.half_length_m, 1 + 2 * int(np.ceil(habit.half_length_m / 1.6)))
    for offset in offsets:
        ox, oy = wx + offset * np.sin(along), wy + offset * np.cos(along)
        sx, sy = place.to_street(ox, oy)
        margin = np.isin(place.street.ground_at(sx, sy), habit.ground)
        fits &= margin & room.free(ox, oy, habit.radius_m) & (np.hypot(ox, oy) > habit.radius_m + CLEARANCE_M)
    found = np.flatnonzero(fits)
    if len(found) == 0:
        return None
    i = found[0]
    ox, oy = wx[i] + offsets * np.sin(along[i]), wy[i] + offsets * np.cos(along[i])
    room.take(ox, oy, habit.radius_m)
    return Item(
        name,
        float(wx[i]),
        float(wy[i]),
        0.0 if ground[i] in ("road", "cross", "path") else KERB_M,
        _facing(name, float(wx[i]), float(wy[i]), float(heading[i]), rng),
        int(rng.integers(VARIANTS)),
    )


def _to_lane(
    street: Street, x: NDArray, y: NDArray, ground: NDArray[np.str_]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
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


def _greenery(place: Place, kind: Archetype, items: list[Item], rng: np.random.Generator) -> list[Item]:
    """Hedges, bushes and lamps: scenery that is not counted."""
    street, scenery = place.street, []
    kerb = street.half_width + street.sidewalk

    def put(name: str, x: float, y: float, heading: float, z: float = KERB_M) -> None:
        wx, wy = place.to_world(np.float64(x), np.float64(y))
        clear = all(np.hypot(wx - item.x, wy - item.y) > 1.6 for item in items)
        if clear and np.hypot(wx, wy) > 3.5:
            scenery.append(Item(name, float(wx), float(wy), z, heading, int(rng.integers(VARIANTS))))

    for sign, side in zip((-1, 1), street.sides, strict=True):
        for y in np.arange(-42, 42, rng.uniform(14, 24)) + rng.uniform(0, 10):
            cut = street.cross_y is not None and abs(y - street.cross_y) < street.cross_half_width + 1
            if street.lanes and not cut:
                towards_road = place.street_heading_deg - sign * 90
                put("lamp", sign * (street.half_width + 0.4), float(y), towards_road)
        if not side.green or side.depth < 1.5:
            continue
        for y in np.arange(-36, 36, 4.0):
            cut = street.cross_y is not None and abs(y - street.cross_y) < street.cross_half_width + 2.5
            if cut:
                continue
            if side.kind == "front" and rng.random() < 0.45:
                put("hedge", sign * (kerb + 0.5), float(y), place.street_heading_deg, 0.05)
            elif rng.random() < 0.5:
                x = sign * (kerb + rng.uniform(1.2, max(1.3, min(side.depth - 1, 20))))
                put("bush", x, float(y + rng.uniform(-2, 2)), 0.0, 0.05)
    return scenery
