"""Every gold answer of every subtype, counted a second time from the renderer's maps, on 2,000 random scenes.

Written from the contract's table of question types and the definitions at the head of `scenes/labels.py` alone: nothing
of the labels or of the rules is used but the rows that they make.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations, permutations

import numpy as np
import pytest

from urbanvlm.dataset.rules import drafts
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.experiment import Thresholds
from urbanvlm.scenes.block import Block, build_block
from urbanvlm.scenes.camera import Camera
from urbanvlm.scenes.classes import CLASSES
from urbanvlm.scenes.labels import metadata_of
from urbanvlm.scenes.render import View, render_view
from urbanvlm.scenes.sample import sample_place

SEED, SIZE, HEADINGS, PLACES = 41, 48, (0, 90, 180, 270), 500
COUNTED = {"person", "bicycle", "car", "bus", "truck", "traffic light", "stop sign", "bench", "tree"}
GREEN = {"grass", "vegetation", "tree"}
SPECK_PIXELS = 10
"""of a picture of 48 × 48; fewer pixels are no part of a thing, nor do they hide one"""

Cell = tuple[int, int, float]
"""row, column, depth"""


class Seen:
    """A view as lists of pixels."""

    def __init__(self, block: Block, camera: Camera, view: View) -> None:
        self.side = len(view.class_map)
        self.pixels = self.side**2
        self.names = [[CLASSES[index] for index in row] for row in view.class_map.tolist()]
        self.cells: dict[str, list[Cell]] = {}
        self.class_of: dict[int, str] = {}
        instances, depths = view.instance_map.tolist(), view.depth.tolist()
        for r, row in enumerate(self.names):
            for c, name in enumerate(row):
                self.cells.setdefault(name, []).append((r, c, depths[r][c]))
                if instances[r][c]:
                    self.class_of[instances[r][c]] = name
        self.there = [name for name in self.cells if name in COUNTED]
        self.behind = self._behind(block, camera, view) if len(set(self.class_of.values())) > 1 else set()

    def _behind(self, block: Block, camera: Camera, view: View) -> set[tuple[str, str]]:
        """(a, b): an a is hidden by a b. Each instance is looked at alone, along the same rays."""
        step = np.arange(self.side) + 0.5
        centres = np.array([(column, row) for row in step for column in step])
        rays = camera.directions(centres, self.side)
        eyes = np.tile(np.float32(camera.position), (self.pixels, 1))
        shown = view.instance_map.ravel().tolist()
        pairs = set()
        for number, name in self.class_of.items():
            thing = block.objects[number - 1]
            hit = thing.scene.run(eyes, rays, output=1)["primID"]
            mine = [h >= 0 and CLASSES[block.mesh.class_id[thing.first_triangle + h]] == name for h in hit.tolist()]
            before = Counter(other for other, covered in zip(shown, mine, strict=True) if covered and other)
            pairs |= {(name, self.class_of[other]) for other, pixels in before.items() if pixels >= SPECK_PIXELS}
        return pairs

    def count(self, name: str) -> int:
        return sum(other == name for other in self.class_of.values())

    def at_least(self, names: set[str], tenths: int) -> bool:
        return 10 * self.area(names) >= tenths * self.pixels

    def at_most(self, names: set[str], tenths: int) -> bool:
        return 10 * self.area(names) <= tenths * self.pixels

    def area(self, names: set[str]) -> int:
        return sum(len(self.cells.get(name, ())) for name in names)

    def depths(self, name: str) -> list[float]:
        return [depth for _, _, depth in self.cells[name]]

    def mean(self, name: str) -> float:
        return sum(self.depths(name)) / len(self.cells[name])

    def reach(self) -> float:
        """From the depth that 5 % of the solid pixels fall short of to the one that 95 % do."""
        solid = sorted(depth for name in self.cells if name != "sky" for depth in self.depths(name))
        return _quantile(solid, 0.95) - _quantile(solid, 0.05) if solid else 0.0

    def left_tenths(self, name: str) -> float:
        left = sum(2 * (column + 1) <= self.side for _, column, _ in self.cells[name])
        return 10 * left / len(self.cells[name])

    def top(self) -> str:
        upper = Counter(name for row in self.names[: self.side * 2 // 10] for name in row)
        return min(upper, key=lambda name: (-upper[name], CLASSES.index(name)))

    def skyline(self) -> bool:
        clear = 0
        for column in zip(*self.names, strict=True):
            solid = [name for name in column if name != "sky"]
            clear += column[0] == "sky" and solid[:1] == ["building"]
        return 2 * clear >= self.side


def _quantile(ascending: list[float], share: float) -> float:
    """Linear between the two nearest ranks."""
    rank = share * (len(ascending) - 1)
    low = int(rank)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (rank - low) * (ascending[high] - ascending[low])


FACTOR = {"greenery": GREEN, "sky": {"sky"}, "building": {"building"}}
GREENERY, SKY, BUILDING = FACTOR["greenery"], FACTOR["sky"], FACTOR["building"]
About = Mapping[str, str]
Right = Callable[[Seen, About, str], bool]


def yes_if(true: Callable[[Seen, About], bool]) -> Right:
    return lambda seen, about, answer: answer == ("Yes" if true(seen, about) else "No")


def word(truth: Callable[[Seen, About], str]) -> Right:
    return lambda seen, about, answer: answer == truth(seen, about)


def decimals(truth: Callable[[Seen, About], float]) -> Right:
    """With two decimals, rounded to the nearest."""
    return lambda seen, about, answer: (
        len(answer.partition(".")[2]) == 2 and abs(float(answer) - truth(seen, about)) <= 0.005 + 1e-5
    )


def side(seen: Seen, about: About) -> str:
    tenths = seen.left_tenths(about["object"])
    return "left side" if tenths > 6 else "right side" if tenths < 4 else "evenly spread"


def depth_label(seen: Seen, about: About) -> str:
    return "high" if seen.reach() > 40 else "moderate" if seen.reach() > 20 else "low"


def nearer(seen: Seen, about: About) -> bool:
    return seen.mean(about["object1"]) < seen.mean(about["object2"])


def absent(seen: Seen, about: About) -> str:
    return next(about[key] for key in ("object1", "object2", "object3") if not seen.count(about[key]))


RIGHT: dict[str, Right] = {
    "presence.binary": yes_if(lambda seen, about: seen.count(about["object"]) > 0),
    "count": word(lambda seen, about: str(seen.count(about["object"]))),
    "viewfactor.dominance": yes_if(lambda seen, about: not seen.at_most(FACTOR[about["factor"]], 5)),
    "viewfactor.sparsity": yes_if(lambda seen, about: seen.at_most(FACTOR[about["factor"]], 2)),
    "viewfactor.scalar": decimals(lambda seen, about: seen.area(FACTOR[about["factor"]]) / seen.pixels),
    "depth.range": word(lambda seen, about: "Complex" if seen.reach() > 20 else "Simple"),
    "depth.variation": yes_if(lambda seen, about: seen.reach() > 20),
    "depth.range.label": word(depth_label),
    "depth.average_per_object": decimals(lambda seen, about: seen.mean(about["object"])),
    "depth.closest_object": lambda seen, about, answer: (
        min(seen.depths(answer)) == min(min(seen.depths(name)) for name in seen.there)
    ),
    "depth.foreground_presence": yes_if(lambda seen, about: min(seen.depths(about["object"])) < 5),
    "depth.background_presence": yes_if(lambda seen, about: max(seen.depths(about["object"])) > 10),
    "spatial.distribution": yes_if(lambda seen, about: side(seen, about) == "left side"),
    "spatial.distribution.label": word(side),
    "segmentation.vertical_layout": yes_if(lambda seen, about: seen.top() == "sky"),
    "segmentation.vertical_layout.entity": word(lambda seen, about: seen.top()),
    "scene.skyline_visibility": yes_if(lambda seen, about: seen.skyline()),
    "object.cooccurrence": yes_if(lambda seen, about: {about["object1"], about["object2"]} <= set(seen.there)),
    "occlusion.binary": yes_if(lambda seen, about: (about["object1"], about["object2"]) in seen.behind),
    "spatial.relation": yes_if(nearer),
    "negation.absence": yes_if(lambda seen, about: seen.count(about["object"]) == 0),
    "negation.spatial_refute": yes_if(lambda seen, about: not nearer(seen, about)),
    "negation.conjunction": yes_if(lambda seen, about: not (seen.at_least(GREENERY, 2) and seen.at_least(SKY, 2))),
    "negation.exclusion_choice": word(absent),
    "negation.composite_conjunction_1": yes_if(
        lambda seen, about: not (seen.at_least(GREENERY, 4) and seen.at_least(BUILDING, 4))
    ),
    "negation.composite_conjunction_2": yes_if(
        lambda seen, about: not (seen.at_least(SKY, 5) and seen.at_most(GREENERY, 3))
    ),
    "negation.composite_conjunction_3": yes_if(
        lambda seen, about: not (seen.at_most(BUILDING, 3) and seen.at_most(SKY, 3))
    ),
    "multi_hop.count_compare": yes_if(lambda seen, about: seen.count("person") > seen.count("car")),
    "multi_hop.which_is_more": word(
        lambda seen, about: "people" if seen.count("person") > seen.count("car") else "cars"
    ),
    "counterfactual.count_perturbation": yes_if(lambda seen, about: seen.count("person") >= 3),
    "counterfactual.absence_viewfactor": yes_if(lambda seen, about: not seen.at_most(BUILDING, 3)),
    "counterfactual.attribute_substitution": yes_if(lambda seen, about: not seen.at_most(SKY, 4)),
    "counterfactual.occlusion_movement": yes_if(lambda seen, about: seen.count("bus") > 0 and seen.count("person") > 0),
}
"""subtype -> is this the right answer?"""

EACH_CLASS = {(name,) for name in COUNTED}
EACH_FACTOR = {(name,) for name in FACTOR}
THE_IMAGE: set[tuple[str, ...]] = {()}


def askable(subtype: str, seen: Seen) -> set[tuple[str, ...]]:
    """What can be asked about with a true answer; sets of classes in alphabetical order."""
    there = sorted(seen.there)
    if subtype in ("presence.binary", "count", "negation.absence"):
        return EACH_CLASS
    if subtype in ("viewfactor.dominance", "viewfactor.sparsity", "viewfactor.scalar"):
        return EACH_FACTOR
    if subtype in ("depth.average_per_object", "depth.foreground_presence", "depth.background_presence"):
        return {(name,) for name in (*there, "building") if name in seen.cells}
    if subtype in ("spatial.distribution", "spatial.distribution.label"):
        return {(name,) for name in there}
    if subtype in ("occlusion.binary", "spatial.relation", "negation.spatial_refute"):
        return set(permutations(there, 2))
    if subtype == "object.cooccurrence":
        return set(combinations(sorted(COUNTED), 2))
    if subtype == "negation.exclusion_choice":
        return {three for three in combinations(sorted(COUNTED), 3) if len(set(three) & set(there)) == 2}
    if subtype == "depth.closest_object":
        return THE_IMAGE if there else set()
    if subtype == "multi_hop.which_is_more":
        return THE_IMAGE if seen.count("person") != seen.count("car") else set()
    return THE_IMAGE


def recounted(number: int) -> tuple[list[str], Counter[tuple[str, str]]]:
    """All questions about one place: what is wrong with their answers, and how often each answer was given."""
    place = sample_place(number, SEED)
    block = build_block(place)
    wrong: list[str] = []
    given: Counter[tuple[str, str]] = Counter()
    for heading in HEADINGS:
        camera = place.camera(heading)
        view = render_view(block, camera, SIZE)
        metadata = metadata_of(view, f"{place.name}_heading{heading}.png", place.name, Thresholds())
        seen = Seen(block, camera, view)
        asked: dict[str, list[tuple[str, ...]]] = {subtype: [] for subtype in SUBTYPES}
        for draft in drafts(metadata, tuple(SUBTYPES), SEED, Thresholds()):
            asked[draft.subtype].append(tuple(draft.about.values()))
            given[draft.subtype, draft.answer] += 1
            if not RIGHT[draft.subtype](seen, draft.about, draft.answer):
                wrong.append(f"{metadata.image_id}: {draft.subtype} of {dict(draft.about)}: {draft.answer}")
        for subtype, things in asked.items():
            if sorted(things) != sorted(askable(subtype, seen)):
                wrong.append(f"{metadata.image_id}: {subtype} asks about {things}")
    return wrong, given


# Two minutes of one core's time; a busy machine may take several times as long.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def places() -> Iterator[list[tuple[list[str], Counter[tuple[str, str]]]]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(8, len(os.sched_getaffinity(0))), context) as pool:
        yield list(pool.map(recounted, range(PLACES), chunksize=5))


def test_every_answer_of_two_thousand_scenes_is_counted_the_same_twice(
    places: list[tuple[list[str], Counter[tuple[str, str]]]],
) -> None:
    assert RIGHT.keys() == SUBTYPES.keys()
    wrong = [line for found, _ in places for line in found]
    assert not wrong, f"{len(wrong)} answers, such as\n" + "\n".join(wrong[:20])


def test_among_them_every_answer_that_can_be_given_is_not_rare(
    places: list[tuple[list[str], Counter[tuple[str, str]]]],
) -> None:
    given: Counter[tuple[str, str]] = Counter()
    for _, counted in places:
        given.update(counted)
    scenes = PLACES * len(HEADINGS)
    for subtype in SUBTYPES.values():
        total = sum(count for (name, _), count in given.items() if name == subtype.name)
        assert total >= scenes / 2, subtype.name
        for answer in subtype.written or ():
            assert given[subtype.name, answer] >= 0.06 * total, (subtype.name, answer)
    for subtype in ("depth.closest_object", "negation.exclusion_choice"):
        for name in COUNTED:
            assert given[subtype, name] >= 0.04 * sum(given[subtype, other] for other in COUNTED), (subtype, name)
    for name in ("sky", "building", "tree"):
        assert given["segmentation.vertical_layout.entity", name] >= 0.1 * scenes, name
