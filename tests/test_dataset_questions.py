"""Questions: every answer is recomputed here from the study's table, without a look at the rules themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from dataset_support import OBJECTS, SIDES, many_metadata, random_metadata
from hypothesis import given, settings
from hypothesis import strategies as st

from urbanvlm.dataset import taxonomy
from urbanvlm.dataset.rationale import contradicts, quotes_threshold
from urbanvlm.dataset.rules import RULES, drafts
from urbanvlm.dataset.rules.rule import Draft
from urbanvlm.dataset.rules.words import amount, listed, plural
from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.parse import parse_gold
from urbanvlm.experiment import DEFAULT_THRESHOLDS, Thresholds, check_experiment
from urbanvlm.records import Example, Metadata
from urbanvlm.scenes import classes

FACTORS = ("building", "greenery", "sky")
GENERATED = tuple(SUBTYPES)


def yes(truth: bool) -> str:
    return "Yes" if truth else "No"


def expected(subtype: str, about: Mapping[str, str], row: dict[str, Any]) -> str | None:
    """The answer by the study's table, from the record in the study's layout, with the study's numbers."""
    count = row["objects"]
    share = row["view_factors"]
    span = row["depth_stats"]["range"]
    means = row["depth_per_class"]
    one, two = about.get("object1"), about.get("object2")
    thing = about.get("object")
    people, cars = count.get("person", 0), count.get("car", 0)
    if subtype == "presence.binary":
        return yes(count.get(thing, 0) > 0)
    if subtype == "negation.absence":
        return yes(count.get(thing, 0) == 0)
    if subtype == "count":
        return str(count.get(thing, 0))
    if subtype == "viewfactor.dominance":
        return yes(share[about["factor"]] > 0.5)
    if subtype == "viewfactor.sparsity":
        return yes(share[about["factor"]] <= 0.2)
    if subtype == "viewfactor.scalar":
        return str(Decimal(share[about["factor"]]).quantize(Decimal("0.01")))
    if subtype == "depth.range":
        return "Complex" if span > 20 else "Simple"
    if subtype == "depth.variation":
        return yes(span > 20)
    if subtype == "depth.range.label":
        return "high" if span > 40 else "moderate" if span > 20 else "low"
    if subtype == "depth.average_per_object":
        return str(Decimal(means[thing]).quantize(Decimal("0.01")))
    if subtype == "depth.closest_object":
        return row["depth_stats"]["closest_object"]
    if subtype in ("depth.foreground_presence", "depth.background_presence"):
        return yes(means[f"{thing}_{subtype.removeprefix('depth.').removesuffix('_presence')}"])
    if subtype == "spatial.distribution":
        return yes(row["spatial_distribution"][thing] == "left side")
    if subtype == "spatial.distribution.label":
        side = row["spatial_distribution"][thing]
        return "evenly spread" if side == "even" else side
    if subtype == "segmentation.vertical_layout":
        return yes(row["vertical_layout"]["top_sky"])
    if subtype == "segmentation.vertical_layout.entity":
        return row["vertical_layout"]["top_entity"]
    if subtype == "scene.skyline_visibility":
        return yes(row["vertical_layout"]["skyline_clear"])
    if subtype == "object.cooccurrence":
        return yes(count.get(one, 0) > 0 and count.get(two, 0) > 0)
    if subtype == "occlusion.binary":
        return yes(row["occlusion_pairs"][f"{one}|{two}"])
    if subtype == "spatial.relation":
        return yes(row["depth_order"][one] < row["depth_order"][two])
    if subtype == "negation.spatial_refute":
        return yes(row["depth_order"][one] >= row["depth_order"][two])
    if subtype == "negation.conjunction":
        return yes(share["greenery"] < 0.2 or share["sky"] < 0.2)
    if subtype == "negation.exclusion_choice":
        absent = [name for name in about.values() if count.get(name, 0) == 0]
        assert len(absent) == 1, "one is absent, never two"
        return absent[0]
    if subtype == "negation.composite_conjunction_1":
        return yes(not (share["greenery"] >= 0.4 and share["building"] >= 0.4))
    if subtype == "negation.composite_conjunction_2":
        return yes(not (share["sky"] >= 0.5 and share["greenery"] <= 0.3))
    if subtype == "negation.composite_conjunction_3":
        return yes(not (share["building"] <= 0.3 and share["sky"] <= 0.3))
    if subtype == "multi_hop.count_compare":
        return yes(people > cars)
    if subtype == "multi_hop.which_is_more":
        return None if people == cars else "people" if people > cars else "cars"
    if subtype == "counterfactual.count_perturbation":
        return yes(people + 2 >= 5)
    if subtype == "counterfactual.absence_viewfactor":
        return yes(share["building"] > 0.3)
    if subtype == "counterfactual.attribute_substitution":
        return yes(share["sky"] > 0.4)
    assert subtype == "counterfactual.occlusion_movement"
    return yes(people > 0 and count.get("bus", 0) > 0)


def things(subtype: str, metadata: Metadata) -> int:
    """How many questions one image gives, before any choice."""
    there = {name for name, count in metadata.objects.items() if count}
    pairs = len(metadata.depth_order) * (len(metadata.depth_order) - 1)
    by_subtype = {
        **dict.fromkeys(("presence.binary", "negation.absence", "count"), len(OBJECTS)),
        **dict.fromkeys((f"viewfactor.{name}" for name in ("dominance", "sparsity", "scalar")), len(FACTORS)),
        "depth.average_per_object": len(metadata.depth_per_class),
        "depth.foreground_presence": len(metadata.foreground),
        "depth.background_presence": len(metadata.background),
        "depth.closest_object": int(metadata.closest_object is not None),
        "spatial.distribution": len(metadata.spatial_distribution),
        "spatial.distribution.label": len(metadata.spatial_distribution),
        "object.cooccurrence": len(OBJECTS) * (len(OBJECTS) - 1) // 2,
        "occlusion.binary": len(metadata.occlusion_pairs),
        "spatial.relation": pairs,
        "negation.spatial_refute": pairs,
        "negation.exclusion_choice": len(there) * (len(there) - 1) // 2 * (len(OBJECTS) - len(there)),
        "multi_hop.which_is_more": int(metadata.objects.get("person", 0) != metadata.objects.get("car", 0)),
    }
    return by_subtype.get(subtype, 1)


SHARES = st.one_of(st.sampled_from((0.0, 0.2, 0.3, 0.4, 0.5, 1.0)), st.floats(0, 1))
DEPTHS = st.one_of(st.sampled_from((4.0, 5.0, 10.0, 20.0, 40.0)), st.floats(0.1, 200))


@st.composite
def metadata(draw: st.DrawFn) -> Metadata:
    """Any record that a scene could have, lines of the rules among its numbers."""
    counts = draw(st.dictionaries(st.sampled_from(OBJECTS), st.integers(0, 12)))
    seen = [name for name, count in counts.items() if count]
    depths = {name: draw(DEPTHS) for name in [*seen, "building"]}
    top = draw(st.sampled_from(("sky", "building", "tree", "road")))
    return Metadata(
        image_id="image_7_heading90.jpg",
        place="image_7",
        objects=counts,
        view_factors={factor: draw(SHARES) for factor in FACTORS},
        depth_range=draw(DEPTHS),
        closest_object=draw(st.sampled_from(seen)) if seen else None,
        depth_per_class=depths,
        foreground={name: draw(st.booleans()) for name in depths},
        background={name: draw(st.booleans()) for name in depths},
        depth_order={name: depths[name] for name in seen},
        spatial_distribution={name: draw(st.sampled_from(SIDES)) for name in seen},
        top_entity=top,
        top_sky=top == "sky",
        skyline_clear=draw(st.booleans()),
        occlusion_pairs={f"{a}|{b}": draw(st.booleans()) for a in seen for b in seen if a != b},
        raw_objects=(),
    )


def of_subtype(metadata: Metadata, subtype: str, lines: Thresholds = DEFAULT_THRESHOLDS) -> list[Draft]:
    return list(drafts(metadata, (subtype,), 0, lines))


@given(metadata())
@settings(max_examples=150, deadline=None)
def test_every_answer_is_the_one_of_the_table_and_nothing_is_left_out(record: Metadata) -> None:
    row = record.to_json()
    for subtype in GENERATED:
        found = of_subtype(record, subtype)
        assert len(found) == things(subtype, record), subtype
        assert len({tuple(draft.about.items()) for draft in found}) == len(found)
        for draft in found:
            assert draft.answer == expected(subtype, draft.about, row), (subtype, draft.about)


@pytest.mark.parametrize("subtype", GENERATED)
def test_every_answer_of_a_closed_set_occurs_and_can_be_scored(subtype: str) -> None:
    answers, values = set(), set()
    for record in many_metadata(60):
        for draft in of_subtype(record, subtype):
            answers.add(draft.answer)
            example = Example("a#0", "a.jpg", "a", draft.question, draft.answer, "perceptual", subtype)
            values.add(parse_gold(example))
    assert len(answers) > 1
    if SUBTYPES[subtype].answers is not None:
        assert values == set(SUBTYPES[subtype].answers or ())
        assert answers == set(SUBTYPES[subtype].written or ())


@given(metadata())
@settings(max_examples=60, deadline=None)
def test_a_rationale_ends_in_the_answer_and_quotes_no_rule(record: Metadata) -> None:
    for draft in drafts(record, GENERATED, seed=0):
        assert draft.cot_answer.endswith(f". Answer: {draft.answer}")
        assert draft.cot_answer.count("Answer:") == 1
        assert not contradicts(draft.cot_answer, draft.answer)
        assert not quotes_threshold(draft.rationale)
        assert not re.search(r"threshold|more than|less than|at least|%|[<>=]", draft.rationale)
        assert draft.rationale.count(".") >= 2 or "." in draft.answer or "wrong" in draft.question, "step by step"


NUMBERS_SEEN = {"viewfactor.scalar", "depth.average_per_object"}
"""subtypes whose answer is a number that is no count"""


@pytest.mark.parametrize("subtype", sorted(set(GENERATED) - NUMBERS_SEEN))
def test_a_rationale_names_no_number_but_counts(subtype: str) -> None:
    for record in many_metadata(30):
        for draft in of_subtype(record, subtype):
            assert not re.search(r"\d", draft.rationale) or max(record.objects.values()) > 8


@pytest.mark.parametrize("subtype", GENERATED)
def test_what_is_seen_decides_the_answer(subtype: str) -> None:
    """The same words about the same things never come before two answers, whatever the picture."""
    answers = defaultdict(set)
    for record in many_metadata(150):
        for draft in of_subtype(record, subtype):
            answers[draft.rationale, tuple(draft.about.values())].add(draft.answer)
    assert {len(found) for found in answers.values()} == {1}


NUMBER_WORDS = "no one two three four five six seven eight nine ten".split()


def first_of(pattern: str) -> Callable[[str], str]:
    return lambda text: re.findall(pattern, text)[0]


def says(*phrases: str) -> Callable[[str], str]:
    return lambda text: yes(any(phrase in text for phrase in phrases))


def reach(text: str) -> str:
    return "high" if "a long way" in text else "moderate" if "a fair way" in text else "low"


def nearer(text: str) -> bool:
    """Does one reach the first-named before the second?"""
    first = re.findall(r"past the ([a-z ]+) and the", text)[0]
    return f"I reach the {first} first" in text


def number_in(text: str) -> str:
    word = re.findall(r"I come to (\w+)", text)[0]
    return str(NUMBER_WORDS.index(word)) if word in NUMBER_WORDS else word


READ: Mapping[str, Callable[[str], str]] = {
    "presence.binary": lambda text: yes("can make out no " not in text),
    "count": number_in,
    "viewfactor.dominance": says("makes up the bulk of", "makes up nearly all of"),
    "viewfactor.sparsity": says("next to nothing", "a sliver", "only a small part"),
    "viewfactor.scalar": lambda text: format(int(re.findall(r"(\d+) of them", text)[0]) / 100, ".2f"),
    "depth.range": lambda text: "Simple" if reach(text) == "low" else "Complex",
    "depth.variation": lambda text: yes(reach(text) != "low"),
    "depth.range.label": reach,
    "depth.average_per_object": first_of(r"([\d.]+) metres"),
    "depth.closest_object": first_of(r"first is an? ([a-z ]+)\."),
    "depth.foreground_presence": says("only a few steps away"),
    "depth.background_presence": says("lies well down the street"),
    "spatial.distribution": says("left of the middle"),
    "spatial.distribution.label": lambda text: (
        "left side" if "left of" in text else "right side" if "right of" in text else "evenly spread"
    ),
    "segmentation.vertical_layout": lambda text: yes("not sky" not in text),
    "segmentation.vertical_layout.entity": first_of(r"most of it is ([a-z ]+)\."),
    "scene.skyline_visibility": says("For a long stretch it runs along"),
    "object.cooccurrence": lambda text: yes("find no " not in text),
    "occlusion.binary": says("One of them breaks off"),
    "spatial.relation": lambda text: yes(nearer(text)),
    "negation.absence": says("I find no "),
    "negation.spatial_refute": lambda text: yes(not nearer(text)),
    "negation.exclusion_choice": first_of(r"for an? ([a-z ]+) and see none"),
    "multi_hop.count_compare": says("Of the people"),
    "multi_hop.which_is_more": first_of(r"Of the (people|cars) there are more"),
    "counterfactual.count_perturbation": says("they fill the scene"),
    "counterfactual.absence_viewfactor": says("a wide gap opens"),
    "counterfactual.attribute_substitution": says("the whole picture looks different"),
    "counterfactual.occlusion_movement": lambda text: yes("find no " not in text),
    **dict.fromkeys((name for name in GENERATED if "conjunction" in name), says("does not fit", "does not describe")),
}
"""A reader of rationales: subtype -> what follows from the words"""


@given(metadata())
@settings(max_examples=60, deadline=None)
def test_the_answer_follows_from_the_words(record: Metadata) -> None:
    assert READ.keys() == SUBTYPES.keys()
    for subtype, read in READ.items():
        for draft in of_subtype(record, subtype):
            assert read(draft.rationale) == draft.answer, draft.cot_answer


ON_THE_LINES = (0.0, 0.1999, 0.2, 0.3, 0.3001, 0.3999, 0.4, 0.4001, 0.4999, 0.5, 0.5001, 1.0)


def test_on_every_line_the_answer_and_the_words_are_the_table_s() -> None:
    of_shares = [name for name in GENERATED if any("view_factors" in field for field in RULES[name].needs)]
    of_counts = [name for name in GENERATED if RULES[name].needs == ("objects",)]
    record = random_metadata("image_1", 0)
    records = [
        (replace(record, view_factors=dict(zip(FACTORS, shares, strict=True))), of_shares)
        for shares in product(ON_THE_LINES, repeat=3)
    ]
    records += [
        (replace(record, objects={"person": people, "car": cars, "bus": buses}), of_counts)
        for people, cars, buses in product(range(7), range(4), range(2))
    ]
    for moved, subtypes in records:
        row = moved.to_json()
        for draft in drafts(moved, subtypes, 0):
            assert draft.answer == expected(draft.subtype, draft.about, row), (draft.subtype, row)
            assert draft.answer == READ[draft.subtype](draft.rationale), draft.cot_answer


@pytest.mark.parametrize("subtype", GENERATED)
def test_there_are_several_phrasings_and_none_tells_the_answer(subtype: str) -> None:
    assert len(RULES[subtype].phrasings) == len(set(RULES[subtype].phrasings)) >= 3
    phrasings: defaultdict[str, set[str]] = defaultdict(set)
    for record in many_metadata(120):
        for draft in of_subtype(record, subtype):
            words = draft.question
            for number, phrasing in enumerate(RULES[subtype].phrasings):
                if re.fullmatch(re.sub(r"\\{\w+\\}", ".+", re.escape(phrasing)), words):
                    phrasings[str(number)].add(draft.answer)
            assert "{" not in words and words.endswith("?")
    assert len(phrasings) == len(RULES[subtype].phrasings)
    assert all(len(answers) > 1 for answers in phrasings.values())


def test_the_three_of_exclusion_are_named_in_the_question() -> None:
    positions = defaultdict(int)
    for record in many_metadata(60):
        for draft in of_subtype(record, "negation.exclusion_choice"):
            named = re.findall(r"an? ([a-z ]+?)(?:,| or |\?)", draft.question)
            assert sorted(named) == sorted(draft.about.values())
            positions[named.index(draft.answer)] += 1
    assert sorted(positions) == [0, 1, 2]


@pytest.mark.parametrize(
    ("share", "sparse", "dominant"),
    [
        (0.0, "Yes", "No"),
        (0.2, "Yes", "No"),
        (0.2001, "No", "No"),
        (0.5, "No", "No"),
        (0.5001, "No", "Yes"),
        (1.0, "No", "Yes"),
    ],
)
def test_shares_on_a_threshold(share: float, sparse: str, dominant: str) -> None:
    record = replace(random_metadata("image_1", 0), view_factors=dict.fromkeys(FACTORS, share))
    assert {d.answer for d in of_subtype(record, "viewfactor.sparsity")} == {sparse}
    assert {d.answer for d in of_subtype(record, "viewfactor.dominance")} == {dominant}


@pytest.mark.parametrize(
    ("depth", "label"), [(0, "low"), (20, "low"), (20.1, "moderate"), (40, "moderate"), (40.1, "high")]
)
def test_depths_on_a_threshold(depth: float, label: str) -> None:
    record = replace(random_metadata("image_1", 0), depth_range=float(depth))
    assert [d.answer for d in of_subtype(record, "depth.range.label")] == [label]


MOVED = [
    ("viewfactor.dominance", {"dominant_share": 0.7}, {"view_factors": dict.fromkeys(FACTORS, 0.6)}),
    ("viewfactor.sparsity", {"sparse_share": 0.1}, {"view_factors": dict.fromkeys(FACTORS, 0.15)}),
    ("depth.range", {"moderate_depth_m": 30.0}, {"depth_range": 25.0}),
    ("depth.variation", {"moderate_depth_m": 30.0}, {"depth_range": 25.0}),
    ("depth.range.label", {"high_depth_m": 60.0}, {"depth_range": 50.0}),
    ("negation.conjunction", {"green_share": 0.5}, {"view_factors": dict.fromkeys(FACTORS, 0.3)}),
    ("negation.conjunction", {"open_share": 0.5}, {"view_factors": dict.fromkeys(FACTORS, 0.3)}),
    ("negation.composite_conjunction_1", {"leafy_share": 0.2, "built_up_share": 0.2},
     {"view_factors": dict.fromkeys(FACTORS, 0.3)}),
    ("negation.composite_conjunction_2", {"open_sky_share": 0.1}, {"view_factors": dict.fromkeys(FACTORS, 0.2)}),
    ("negation.composite_conjunction_2", {"little_green_share": 0.7}, {"view_factors": dict.fromkeys(FACTORS, 0.6)}),
    ("negation.composite_conjunction_3", {"low_rise_share": 0.1}, {"view_factors": dict.fromkeys(FACTORS, 0.2)}),
    ("negation.composite_conjunction_3", {"closed_sky_share": 0.1}, {"view_factors": dict.fromkeys(FACTORS, 0.2)}),
    ("counterfactual.count_perturbation", {"crowd": 9}, {"objects": {"person": 4}}),
    ("counterfactual.count_perturbation", {"added_people": 4}, {"objects": {"person": 1}}),
    ("counterfactual.absence_viewfactor", {"opens_up_share": 0.1}, {"view_factors": dict.fromkeys(FACTORS, 0.2)}),
    ("counterfactual.attribute_substitution", {"recoloured_share": 0.1},
     {"view_factors": dict.fromkeys(FACTORS, 0.2)}),
]  # fmt: skip


@pytest.mark.parametrize(("subtype", "moved", "fields"), MOVED)
def test_a_threshold_that_is_moved_moves_the_answer_and_the_words(
    subtype: str, moved: dict[str, Any], fields: dict[str, Any]
) -> None:
    record = replace(random_metadata("image_1", 0), **fields)
    before = of_subtype(record, subtype)[0]
    after = of_subtype(record, subtype, Thresholds(**moved))[0]
    assert before.answer != after.answer
    assert before.rationale != after.rationale


def test_a_change_of_the_people_who_come_along_shows_in_the_question() -> None:
    record = random_metadata("image_1", 0)
    for added, words in ((1, "one more person"), (2, "two more people"), (12, "12 more people")):
        (draft,) = of_subtype(record, "counterfactual.count_perturbation", Thresholds(added_people=added))
        assert words in draft.question


def test_an_empty_street_has_no_closest_object_and_no_sides() -> None:
    empty: dict[str, Any] = {"objects": {}, "closest_object": None, "spatial_distribution": {}, "depth_order": {}}
    record = replace(random_metadata("image_1", 0), **empty, occlusion_pairs={})
    for subtype in (
        *("depth.closest_object", "spatial.distribution", "spatial.distribution.label", "spatial.relation"),
        *("occlusion.binary", "negation.spatial_refute", "negation.exclusion_choice", "multi_hop.which_is_more"),
    ):
        assert of_subtype(record, subtype) == []
    assert {d.answer for d in of_subtype(record, "count")} == {"0"}
    assert {d.answer for d in of_subtype(record, "negation.absence")} == {"Yes"}


def test_an_object_that_is_listed_with_count_0_is_absent() -> None:
    record = replace(random_metadata("image_1", 0), objects={"car": 1, "bus": 0}, closest_object="car")
    assert {d.about["object"] for d in of_subtype(record, "presence.binary") if d.answer == "Yes"} == {"car"}
    assert "bus" not in of_subtype(record, "depth.closest_object")[0].rationale


def test_a_tie_is_not_asked_which_is_more() -> None:
    record = replace(random_metadata("image_1", 0), objects={"car": 3, "person": 3})
    assert of_subtype(record, "multi_hop.which_is_more") == []
    assert [d.answer for d in of_subtype(record, "multi_hop.count_compare")] == ["No"]


def test_of_a_class_that_nobody_knows_it_is_not_said_that_it_is_absent() -> None:
    record = random_metadata("image_1", 0)
    known = ("bench", "car", "traffic light")
    for draft in drafts(record, GENERATED, 0, objects=known):
        if draft.subtype in ("presence.binary", "count", "object.cooccurrence", "negation.absence"):
            assert set(draft.about.values()) <= set(known)
    asked = {draft.subtype for draft in drafts(record, GENERATED, 0, objects=known)}
    assert not {name for name in asked if name.startswith("multi_hop.")}
    assert not asked & {"counterfactual.count_perturbation", "counterfactual.occlusion_movement"}


@pytest.mark.parametrize("subtype", GENERATED)
def test_what_needs_a_missing_field_is_not_asked(subtype: str) -> None:
    record = replace(random_metadata("image_1", 0), missing=frozenset(RULES[subtype].needs[:1]))
    assert of_subtype(record, subtype) == []


def test_the_words_depend_on_seed_image_and_thing_but_not_on_the_answer() -> None:
    record = random_metadata("image_1", 0)
    emptied = replace(record, objects={})
    for subtype in ("presence.binary", "negation.absence", "count"):
        assert [d.question for d in of_subtype(record, subtype)] == [d.question for d in of_subtype(emptied, subtype)]
    texts = {tuple(d.question for d in drafts(record, GENERATED, seed)) for seed in range(5)}
    assert len(texts) > 1
    assert texts & {tuple(d.question for d in drafts(record, GENERATED, 0))}


def test_a_rule_that_contradicts_itself_is_a_bug() -> None:
    draft = of_subtype(random_metadata("image_1", 0), "depth.variation")[0]
    with pytest.raises(ValueError, match="none of Yes, No"):
        _ = replace(draft, answer="Maybe").cot_answer
    quoting = replace(draft.rule, seen=lambda *_: "The range is above 20 m.")
    with pytest.raises(ValueError, match="neither rule nor answer"):
        _ = replace(draft, rule=quoting).cot_answer


def test_words_are_inflected() -> None:
    text = " ".join(f"{d.question} {d.rationale}" for m in many_metadata(10) for d in drafts(m, GENERATED, seed=0))
    assert "people" in text and "benches" in text and "buses" in text and "buildings" in text
    assert not re.search(r"\b(persons|benchs|buss|a [aeiou]\w+|an [^aeiou]\w+)\b", text)
    names = ("person", "bus", "bench", "traffic light", "baby", "toy", "skis")
    assert [plural(name) for name in names] == "people,buses,benches,traffic lights,babies,toys,skis".split(",")
    assert listed(["a car", "a bus", "a tree"]) == "a car, a bus or a tree"


@given(share=st.floats(0, 1), limit=st.floats(0, 1))
def test_no_word_for_an_amount_stands_for_both_sides_of_a_line(share: float, limit: float) -> None:
    words = amount(share, limit, ("none", "little"), ("much", "all"))
    assert (words in ("none", "little")) == (share <= limit)


def test_the_taxonomy_is_the_study_s() -> None:
    assert len(SUBTYPES) == 33
    assert [f"{m.group}: {m.name}" for m in METRICS.values() if m.in_table] == [
        *("proportion: binary", "proportion: scalar", "depth: categorical", "depth: closest object", "depth: binary"),
        *("layout: binary", "layout: top entity", "object: count", "object: presence", "object: co-occurrence"),
        *("compositional: negation", "compositional: counterfactual", "compositional: multi-hop"),
    ]
    assert {key for key, metric in METRICS.items() if metric.score == "mae"} == {
        "proportion.scalar", "object.count", "depth.average_per_object",
    }  # fmt: skip
    assert {subtype.metric for subtype in SUBTYPES.values()} == set(METRICS)
    assert all(name == subtype.name for name, subtype in SUBTYPES.items())


def test_taxonomy_rules_and_scenes_agree() -> None:
    assert list(RULES) == list(SUBTYPES)
    assert all(name == rule.subtype for name, rule in RULES.items())
    assert sorted(taxonomy.OBJECTS) == sorted(classes.COUNTABLE) == sorted(OBJECTS)


TINY = {"name": "x", "mode": "zero-shot", "models": [{"family": "llava"}]}


def test_thresholds_stand_in_the_yaml_and_make_another_run() -> None:
    def experiment(**thresholds: Any) -> Any:
        data = {"scenes": {"places": 20}, **({"thresholds": thresholds} if thresholds else {})}
        return check_experiment({**TINY, "data": data}, "x.yaml")

    plain, moved = experiment(), experiment(dominant_share=0.6, high_depth_m=50)
    assert plain.data.thresholds == DEFAULT_THRESHOLDS == experiment(dominant_share=0.5).data.thresholds
    assert moved.data.thresholds.high_depth_m == 50.0
    assert plain.run_id == experiment(dominant_share=0.5).run_id != moved.run_id


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        ({"dominant_shar": 0.6}, r"data\.thresholds\.dominant_shar: unknown key; did you mean dominant_share"),
        ({"dominant_share": 60}, r"data\.thresholds\.dominant_share: .*less than or equal to 1"),
        ({"moderate_depth_m": 40}, "moderate_depth_m must be less than high_depth_m"),
        ({"right_share": 0.7}, "right_share must be less than left_share"),
        ({"foreground_m": 11}, "foreground_m must not be more than background_m"),
        ({"top_rows_share": 0}, "top_rows_share must be more than 0"),
        ({"crowd": 2.5}, r"data\.thresholds\.crowd"),
        ({"high_depth_m": float("inf")}, r"data\.thresholds\.high_depth_m"),
    ],
)
def test_thresholds_that_make_no_sense(thresholds: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=rf"x\.yaml: .*{words}"):
        check_experiment({**TINY, "data": {"scenes": {"places": 20}, "thresholds": thresholds}}, "x.yaml")


def test_thresholds_beside_files_are_refused_rather_than_ignored() -> None:
    files = {"test_file": "a.jsonl", "images": "pictures"}
    with pytest.raises(UserError, match=r"thresholds are for data\.scenes"):
        check_experiment({**TINY, "data": {**files, "thresholds": {"crowd": 9}}}, "x.yaml")
    check_experiment({**TINY, "data": {**files, "thresholds": {}}}, "x.yaml")
