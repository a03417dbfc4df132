"""The numbers behind the sampling: kinds of places, and where and how often each class stands."""

from __future__ import annotations

from dataclasses import dataclass, replace

from urbanvlm.scenes.place import SideKind


@dataclass(frozen=True, slots=True)
class Archetype:
    """A kind of place: the ranges its numbers are drawn from, and chances 0..1."""

    weight: float
    road_m: tuple[float, float]
    lanes: int
    sidewalk_m: tuple[float, float]
    sides: tuple[tuple[SideKind, SideKind], ...]
    yard_m: tuple[float, float]
    floors: tuple[int, int]
    pitch_deg: tuple[float, float]
    gap: float
    """that a lot stays empty"""
    green: float
    """that yards and the far ground are grass"""
    grove: float
    """that a quarter of the surroundings has trees close together"""
    gable: float = 0.0
    """that a roof is pitched"""
    reach_m: tuple[float, float] | None = None
    """how far one sees along it; as REACH_M has it if not given"""
    busy: float = 1.0
    """factor of the chance that a class is in a quarter"""


ARCHETYPES = {
    "canyon": Archetype(
        weight=1.1, road_m=(5, 7.5), lanes=2, sidewalk_m=(1.6, 3.0), sides=(("front", "front"),), yard_m=(0, 0.5),
        floors=(5, 11), pitch_deg=(-2, 12), gap=0.02, green=0, grove=0.12,
    ),
    "avenue": Archetype(
        weight=1.3, road_m=(11, 15), lanes=4, sidewalk_m=(3.5, 5), sides=(("front", "front"), ("front", "plaza")),
        yard_m=(0, 3), floors=(3, 7), pitch_deg=(-3, 19), gap=0.12, green=0.3, grove=0.4,
    ),
    "residential": Archetype(
        weight=1.3, road_m=(6, 8), lanes=2, sidewalk_m=(1.8, 2.6), sides=(("front", "front"), ("front", "park")),
        yard_m=(3, 7), floors=(1, 3), pitch_deg=(-1, 20), gap=0.25, green=1, grove=0.45, gable=0.8,
    ),
    "green side": Archetype(
        weight=1.0, road_m=(7, 10), lanes=2, sidewalk_m=(2.2, 3.5), sides=(("park", "front"), ("front", "park")),
        yard_m=(0, 4), floors=(3, 6), pitch_deg=(0, 20), gap=0.15, green=0.6, grove=0.45,
    ),
    "court": Archetype(
        weight=2.3, road_m=(0.6, 1.1), lanes=0, sidewalk_m=(0, 0), sides=(("front", "front"),), yard_m=(7, 13),
        floors=(5, 9), pitch_deg=(-12, -5), gap=0, green=1, grove=0.1, gable=0.05, reach_m=(10, 18), busy=0.6,
    ),
    "park": Archetype(
        weight=0.8, road_m=(2.5, 4.5), lanes=0, sidewalk_m=(0, 0), sides=(("park", "park"),), yard_m=(0, 0),
        floors=(3, 7), pitch_deg=(-9, 16), gap=0.3, green=1, grove=0.45,
    ),
    "park road": Archetype(
        weight=0.7, road_m=(6, 8), lanes=2, sidewalk_m=(1.5, 2.5), sides=(("park", "park"),), yard_m=(0, 0),
        floors=(3, 7), pitch_deg=(-9, 16), gap=0.3, green=1, grove=0.45,
    ),
    "square": Archetype(
        weight=1.9, road_m=(6, 9), lanes=2, sidewalk_m=(3, 5), sides=(("plaza", "plaza"), ("plaza", "park")),
        yard_m=(0, 2), floors=(1, 3), pitch_deg=(11, 28), gap=0.45, green=0.1, grove=0.18,
    ),
}  # fmt: skip

REACH_M = ((20, 34), (42, 60), (85, 130))
REACH_CHANCE = (0.5, 0.25, 0.25)
"""How far one sees along a street: it is closed, ends in the distance, or is open."""


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
    middle_m: float
    """height that must be in the picture"""
    ground: tuple[str, ...]
    radius_m: float
    half_length_m: float = 0.0
    least: int = 1
    """how many come together"""


DRIVEN = ("road", "cross", "plaza")
PLANTED = ("lawn", "yard", "sidewalk", "plaza")
HABITS = {
    # presence, more, most, near_m, far_m, middle_m, ground, radius_m, half_length_m
    "bus": Habit(0.76, 0.25, 3, 6.0, 20, 1.4, DRIVEN, 1.6, 5.2),
    "truck": Habit(0.68, 0.25, 3, 5.5, 18, 1.3, DRIVEN, 1.5, 3.6),
    "car": Habit(0.86, 0.76, 7, 4.5, 18, 0.6, DRIVEN, 1.2, 2.1),
    "tree": Habit(0.32, 0.5, 4, 5.5, 22, 1.5, PLANTED, 0.9),
    "bench": Habit(0.6, 0.45, 4, 2.6, 13, 0.3, (*PLANTED, "path"), 0.9),
    "bicycle": Habit(0.6, 0.48, 4, 2.8, 13, 0.3, (*PLANTED, "path", "road"), 0.7),
    "traffic light": Habit(0.58, 0.4, 3, 2.6, 15, 2.0, PLANTED, 0.4),
    "stop sign": Habit(0.64, 0.35, 3, 2.6, 14, 2.0, PLANTED, 0.4),
    "person": Habit(0.54, 0.6, 5, 3.0, 15, 0.7, (*PLANTED, "path", "road", "cross"), 0.45),
}
"""Countable class → habit, the largest first, so that what needs room finds it."""
GROVE = Habit(1.0, 0.75, 7, 4.0, 11, 1.5, PLANTED, 0.9, least=3)
CROWD = replace(HABITS["person"], presence=1.0, more=0.75, most=9, least=4)
CROWD_CHANCE = 0.24
"""that a quarter of the surroundings has many people"""


@dataclass(frozen=True, slots=True)
class Lean:
    """Where in a quarter a class gathers: middles, taken in turn, and the half width of a sector, in degrees."""

    chance: float
    middles_deg: tuple[float, ...]
    half_width_deg: float


LEANS = (
    Lean(0.16, (0.0,), 34.0),
    Lean(0.24, (0.0,), 4.0),
    Lean(0.2, (-17.0,), 17.0),
    Lean(0.2, (17.0,), 17.0),
    Lean(0.2, (-19.0, 19.0), 10.0),
)

WALLS = (
    (0.76, 0.68, 0.56), (0.66, 0.36, 0.27), (0.85, 0.8, 0.7), (0.55, 0.52, 0.5), (0.78, 0.62, 0.4),
    (0.6, 0.64, 0.68), (0.72, 0.5, 0.4), (0.88, 0.86, 0.83), (0.5, 0.38, 0.32), (0.62, 0.66, 0.56),
)  # fmt: skip
