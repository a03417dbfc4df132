"""Questions: every answer is recomputed here from the study's table, without a look at the rules themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from dataset_support import OBJECTS, many_metadata, random_metadata

from urbanvlm.dataset import taxonomy
from urbanvlm.dataset.questions import RULES, Draft, drafts
from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.records import Metadata
from urbanvlm.scenes import classes

GENERATED = tuple(RULES)


def expected(subtype: str, about: dict[str, str], row: dict[str, Any]) -> str:
    """The answer by the table, from the record in the study's layout."""
    count = row["objects"].get(about.get("object", ""), 0)
    share = row["view_factors"].get(about.get("factor", ""), -1)
    depth = row["depth_stats"]["range"]
    side = row["spatial_distribution"].get(about.get("object", ""))
    truths = {
        "presence.binary": count > 0,
        "negation.absence": count == 0,
        "viewfactor.dominance": share > 0.5,
        "viewfactor.sparsity": share <= 0.2,
        "depth.variation": depth > 20,
        "spatial.distribution": side == "left side",
    }
    if subtype in truths:
        return "Yes" if truths[subtype] else "No"
    if subtype == "count":
        return str(count)
    if subtype == "viewfactor.scalar":
        return str(Decimal(share).quantize(Decimal("0.01")))
    if subtype == "depth.range.label":
        return "high" if depth > 40 else "moderate" if depth > 20 else "low"
    if subtype == "depth.closest_object":
        return str(row["depth_stats"]["closest_object"])
    if subtype == "spatial.distribution.label":
        return "evenly spread" if side == "even" else str(side)
    assert subtype == "segmentation.vertical_layout.entity"
    return str(row["vertical_layout"]["top_entity"])


def of_subtype(metadata: Metadata, subtype: str) -> list[Draft]:
    return list(drafts(metadata, (subtype,), seed=0))


@pytest.mark.parametrize("subtype", GENERATED)
def test_every_answer_is_the_one_of_the_table(subtype: str) -> None:
    answers = set()
    for metadata in many_metadata(60):
        for draft in of_subtype(metadata, subtype):
            assert draft.answer == expected(subtype, dict(draft.about), metadata.to_json())
            answers.add(draft.answer)
    assert len(answers) > 1


@pytest.mark.parametrize("subtype", GENERATED)
def test_a_rationale_ends_in_the_answer_and_quotes_no_rule(subtype: str) -> None:
    for metadata in many_metadata(30):
        for draft in of_subtype(metadata, subtype):
            assert draft.cot_answer.endswith(f". Answer: {draft.answer}")
            assert draft.cot_answer.count("Answer:") == 1
            assert not re.search(r"threshold|more than|less than|at least|above|below|%|[<>=]", draft.rationale)


@pytest.mark.parametrize("subtype", sorted(set(GENERATED) - {"segmentation.vertical_layout.entity"}))
def test_one_rationale_never_leads_to_two_answers(subtype: str) -> None:
    answers = defaultdict(set)
    for metadata in many_metadata(60):
        for draft in of_subtype(metadata, subtype):
            answers[draft.rationale].add(draft.answer)
    assert {len(found) for found in answers.values()} == {1}


@pytest.mark.parametrize("subtype", GENERATED)
def test_there_are_several_phrasings_and_none_tells_the_answer(subtype: str) -> None:
    phrasings = defaultdict(lambda: defaultdict(set))
    for metadata in many_metadata(120):
        for draft in of_subtype(metadata, subtype):
            phrasings[tuple(draft.about.items())][draft.question].add(draft.answer)
    for questions in phrasings.values():
        assert len(questions) >= 2
        assert all(len(answers) > 1 for answers in questions.values())


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
    metadata = replace(
        random_metadata("image_1", 0), view_factors=dict.fromkeys(("building", "greenery", "sky"), share)
    )
    assert {d.answer for d in of_subtype(metadata, "viewfactor.sparsity")} == {sparse}
    assert {d.answer for d in of_subtype(metadata, "viewfactor.dominance")} == {dominant}


@pytest.mark.parametrize(
    ("depth", "label"), [(0, "low"), (20, "low"), (20.1, "moderate"), (40, "moderate"), (40.1, "high")]
)
def test_depths_on_a_threshold(depth: float, label: str) -> None:
    metadata = replace(random_metadata("image_1", 0), depth_range=float(depth))
    assert [d.answer for d in of_subtype(metadata, "depth.range.label")] == [label]


def test_an_empty_street_has_no_closest_object_and_no_sides() -> None:
    metadata = replace(random_metadata("image_1", 0), objects={}, closest_object=None, spatial_distribution={})
    for subtype in ("depth.closest_object", "spatial.distribution", "spatial.distribution.label"):
        assert of_subtype(metadata, subtype) == []
    assert {d.answer for d in of_subtype(metadata, "count")} == {"0"}
    assert {d.answer for d in of_subtype(metadata, "negation.absence")} == {"Yes"}


def test_an_object_that_is_listed_with_count_0_is_absent() -> None:
    metadata = replace(random_metadata("image_1", 0), objects={"car": 1, "bus": 0}, closest_object="car")
    assert {d.about["object"] for d in of_subtype(metadata, "presence.binary") if d.answer == "Yes"} == {"car"}
    assert [d.rationale for d in of_subtype(metadata, "depth.closest_object")] == [
        "What stands nearest to me is a car."
    ]


def test_the_phrasing_depends_on_the_seed_alone() -> None:
    metadata = random_metadata("image_1", 0)
    emptied = replace(metadata, objects={})
    for subtype in ("presence.binary", "negation.absence", "count"):
        assert [d.question for d in of_subtype(metadata, subtype)] == [d.question for d in of_subtype(emptied, subtype)]
    texts = {tuple(d.question for d in drafts(metadata, GENERATED, seed)) for seed in range(5)}
    assert len(texts) > 1


def test_words_are_inflected() -> None:
    text = " ".join(d.question for m in many_metadata(10) for d in drafts(m, GENERATED, seed=0))
    assert "people" in text and "benches" in text and "buses" in text
    assert not re.search(r"\b(persons|benchs|buss|a [aeiou]\w+|an [^aeiou]\w+)\b", text)


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
    assert {name for name, subtype in SUBTYPES.items() if subtype.generates} == set(RULES)
    assert sorted(taxonomy.OBJECTS) == sorted(classes.COUNTABLE) == sorted(OBJECTS)
