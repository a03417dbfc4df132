"""The rules: what can be asked about one image, the true answer, and what one sees that leads to it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

from urbanvlm.dataset.taxonomy import (
    DOMINANT_SHARE,
    FACTORS,
    HIGH_DEPTH_M,
    MODERATE_DEPTH_M,
    OBJECTS,
    SPARSE_SHARE,
)
from urbanvlm.records import Metadata

SIDE_WORDS = {"left side": "left side", "right side": "right side", "even": "evenly spread"}
"""metadata's word -> the answer"""
SIDE_SEEN = {
    "left side": "mostly left of the middle",
    "right side": "mostly right of the middle",
    "even": "on both sides of the middle alike",
}
PLURALS = {
    "bench": "benches",
    "bus": "buses",
    "person": "people",
    **{name: f"{name}s" for name in ("bicycle", "car", "stop sign", "traffic light", "tree", "truck")},
}
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PORTIONS = (
    (0.02, "hardly any"),
    (0.1, "a sliver"),
    (SPARSE_SHARE, "a small part"),
    (0.35, "a fair part"),
    (DOMINANT_SHARE, "a large part"),
    (0.75, "the greater part"),
    (1.0, "nearly all"),
)
"""largest share -> words for it; the thresholds are among the limits, so that no word stands for both sides of one"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A question that may be asked, before the choice that balances a split."""

    subtype: str
    image_id: str
    place: str
    question: str
    answer: str
    rationale: str
    """what is seen; never the rule or its threshold. The answer follows it."""
    about: Mapping[str, str] = field(default_factory=dict)
    """object, or factor, as the study's rows name it"""

    @property
    def cot_answer(self) -> str:
        return f"{self.rationale} Answer: {self.answer}"


Rule = Callable[[Metadata, Random], Iterator[Draft]]


def drafts(metadata: Metadata, subtypes: tuple[str, ...], seed: int) -> Iterator[Draft]:
    """Everything the given subtypes can ask about one image; the phrasing depends on (seed, image, subtype) alone."""
    for subtype in subtypes:
        yield from RULES[subtype](metadata, Random(f"{seed}/{metadata.image_id}/{subtype}"))  # noqa: S311


def plural(name: str) -> str:
    """Of an object class; other classes keep their name."""
    return PLURALS.get(name, name)


def with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def counted(name: str, count: int) -> str:
    """`no cars`, `one car`, `three cars`, `12 cars`"""
    number = NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else str(count)
    return f"{number} {name if count == 1 else plural(name)}"


def yes_no(truth: bool) -> str:
    return "Yes" if truth else "No"


def portion(share: float) -> str:
    """A share of the picture the way an onlooker would put it, from which sparse and dominant follow."""
    return next(words for limit, words in PORTIONS if share <= limit)


def _presence(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for name in OBJECTS:
        count = metadata.objects.get(name, 0)
        question = chance.choice(
            (f"Is there {with_article(name)} in the scene?", f"Can you see {with_article(name)} here?")
        )
        rationale = f"Looking along the street I can make out {counted(name, count)}."
        yield _draft("presence.binary", metadata, question, yes_no(count > 0), rationale, object=name)


def _absence(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for name in OBJECTS:
        count = metadata.objects.get(name, 0)
        question = chance.choice((f"Is there no {name} in the scene?", f"Is the scene without {with_article(name)}?"))
        rationale = f"Searching the whole picture I find {counted(name, count)}."
        yield _draft("negation.absence", metadata, question, yes_no(count == 0), rationale, object=name)


def _count(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for name in OBJECTS:
        count = metadata.objects.get(name, 0)
        question = chance.choice(
            (f"How many {plural(name)} are in the scene?", f"What is the number of {plural(name)} here?")
        )
        rationale = f"Going from left to right I count {counted(name, count)}."
        yield _draft("count", metadata, question, str(count), rationale, object=name)


def _dominance(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for factor in FACTORS:
        share = metadata.view_factors[factor]
        question = chance.choice((f"Does {factor} dominate the scene?", f"Is most of the picture {factor}?"))
        rationale = f"I look at what the picture shows. {factor.capitalize()} takes up {portion(share)} of it."
        yield _draft(
            "viewfactor.dominance", metadata, question, yes_no(share > DOMINANT_SHARE), rationale, factor=factor
        )


def _sparsity(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for factor in FACTORS:
        share = metadata.view_factors[factor]
        question = chance.choice((f"Is {factor} sparse in the scene?", f"Is there only little {factor} in view?"))
        rationale = f"I search the picture for {factor}. It covers {portion(share)} of the view."
        yield _draft("viewfactor.sparsity", metadata, question, yes_no(share <= SPARSE_SHARE), rationale, factor=factor)


def _share(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for factor in FACTORS:
        answer = f"{metadata.view_factors[factor]:.2f}"
        question = chance.choice((f"What share of the picture is {factor}?", f"How much of the view is {factor}?"))
        pieces = round(100 * float(answer))
        rationale = f"I cut the picture into a hundred pieces; {pieces} of them show {factor}."
        yield _draft("viewfactor.scalar", metadata, question, answer, rationale, factor=factor)


def _far(metadata: Metadata) -> str:
    reach = metadata.depth_range
    if reach > HIGH_DEPTH_M:
        return "The view runs far down the street, from things close by to things a long way off."
    if reach > MODERATE_DEPTH_M:
        return "The view opens up for some way before something closes it."
    return "The view is closed soon; everything in it is about equally near."


def _variation(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    question = chance.choice(("Does depth vary much in the scene?", "Is there a large spread of depth in view?"))
    yield _draft("depth.variation", metadata, question, yes_no(metadata.depth_range > MODERATE_DEPTH_M), _far(metadata))


def _depth_label(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    reach = metadata.depth_range
    answer = "high" if reach > HIGH_DEPTH_M else "moderate" if reach > MODERATE_DEPTH_M else "low"
    question = chance.choice(("How large is the depth range of the scene?", "How deep is the view?"))
    yield _draft("depth.range.label", metadata, question, answer, _far(metadata))


def _closest(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    if metadata.closest_object is None:
        return
    question = chance.choice(("Which object is closest to the camera?", "What is the nearest object?"))
    others = [name for name, count in metadata.objects.items() if count and name != metadata.closest_object]
    behind = f" The rest, such as {with_article(others[0])}, is farther away." if others else ""
    rationale = f"What stands nearest to me is {with_article(metadata.closest_object)}.{behind}"
    yield _draft("depth.closest_object", metadata, question, metadata.closest_object, rationale)


def _sides(metadata: Metadata) -> Iterator[tuple[str, str, str]]:
    for name, side in metadata.spatial_distribution.items():
        yield name, side, f"I look where the {plural(name)} are. What I see of them is {SIDE_SEEN[side]}."


def _left(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for name, side, rationale in _sides(metadata):
        question = chance.choice(
            (f"Are the {plural(name)} mainly on the left?", f"Do the {plural(name)} stand mostly to the left?")
        )
        yield _draft("spatial.distribution", metadata, question, yes_no(side == "left side"), rationale, object=name)


def _side_label(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    for name, side, rationale in _sides(metadata):
        question = chance.choice(
            (f"On which side are the {plural(name)}?", f"Where in the picture are the {plural(name)}?")
        )
        yield _draft("spatial.distribution.label", metadata, question, SIDE_WORDS[side], rationale, object=name)


def _top_entity(metadata: Metadata, chance: Random) -> Iterator[Draft]:
    question = chance.choice(("What fills most of the top of the picture?", "Which class is mainly at the top?"))
    rationale = f"Along the upper edge I see mostly {metadata.top_entity}."
    yield _draft("segmentation.vertical_layout.entity", metadata, question, metadata.top_entity, rationale)


def _draft(subtype: str, metadata: Metadata, question: str, answer: str, rationale: str, **about: str) -> Draft:
    return Draft(subtype, metadata.image_id, metadata.place, question, answer, rationale, about)


RULES: Mapping[str, Rule] = {
    "presence.binary": _presence,
    "count": _count,
    "viewfactor.dominance": _dominance,
    "viewfactor.sparsity": _sparsity,
    "viewfactor.scalar": _share,
    "depth.variation": _variation,
    "depth.range.label": _depth_label,
    "depth.closest_object": _closest,
    "spatial.distribution": _left,
    "spatial.distribution.label": _side_label,
    "segmentation.vertical_layout.entity": _top_entity,
    "negation.absence": _absence,
}
"""subtype -> rule; a new subtype is a rule here and `generates` in the taxonomy"""
