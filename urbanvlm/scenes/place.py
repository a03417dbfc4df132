"""What stands where in a street block, as plain data without geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from urbanvlm.scenes.arrays import Floats
from urbanvlm.scenes.camera import HEIGHTS_M, Camera

KERB_M = 0.12
"""Height of sidewalks above the road."""
SideKind = Literal["front", "plaza", "park"]
WeatherKind = Literal["clear", "overcast", "fog", "dusk"]


@dataclass(frozen=True, slots=True)
class Weather:
    """The light of a place."""

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

    def ground_at(self, x: Floats, y: Floats) -> NDArray[np.str_]:
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

    def to_street(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """World → street frame."""
        s, c = np.sin(np.radians(self.street_heading_deg)), np.cos(np.radians(self.street_heading_deg))
        return x * c - y * s + self.offset[0], x * s + y * c + self.offset[1]

    def to_world(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Street frame → world."""
        s, c = np.sin(np.radians(self.street_heading_deg)), np.cos(np.radians(self.street_heading_deg))
        x, y = x - self.offset[0], y - self.offset[1]
        return x * c + y * s, -x * s + y * c
