"""Questions about where in the picture things are."""

from __future__ import annotations

from urbanvlm.dataset.rules.ask import objects_of, the_image
from urbanvlm.dataset.rules.rule import About, Rule
from urbanvlm.dataset.rules.words import plural, yes_no
from urbanvlm.experiment import Thresholds
from urbanvlm.records import Metadata

SIDE_ANSWERS = {"left side": "left side", "right side": "right side", "even": "evenly spread"}
"""metadata's word -> the answer"""
_SIDES_SEEN = {
    "left side": "mostly left of the middle",
    "right side": "mostly right of the middle",
    "even": "on both sides of the middle alike",
}


def _side(metadata: Metadata, about: About) -> str:
    return metadata.spatial_distribution[about["object"]]


def _on_the_left(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_side(metadata, about) == "left side")


def _side_answer(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return SIDE_ANSWERS[_side(metadata, about)]


def _seen_side(metadata: Metadata, about: About, lines: Thresholds) -> str:
    where = _SIDES_SEEN[_side(metadata, about)]
    return f"I look where the {plural(about['object'])} are. What I see of them is {where}."


def _sky_on_top(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(metadata.top_sky)


def _seen_top(metadata: Metadata, about: About, lines: Thresholds) -> str:
    # top_entity may be missing where top_sky is not: it is no part of what this question needs.
    entity = "sky" if metadata.top_sky else metadata.top_entity or "something else"
    rest = "" if metadata.top_sky else ", not sky"
    return f"I follow the upper edge of the picture. What fills most of it is {entity}{rest}."


def _top_entity(metadata: Metadata, about: About, lines: Thresholds) -> str | None:
    return metadata.top_entity or None


def _seen_entity(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return f"I follow the upper edge of the picture. What fills most of it is {metadata.top_entity}."


def _skyline(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(metadata.skyline_clear)


def _seen_skyline(metadata: Metadata, about: About, lines: Thresholds) -> str:
    end = (
        "For a long stretch it runs along walls and roofs."
        if metadata.skyline_clear
        else "Hardly anywhere does it run along walls and roofs; other things come between, or no sky shows."
    )
    return f"I trace the line where the sky ends. {end}"


LAYOUT = (
    Rule(
        "spatial.distribution",
        needs=("spatial_distribution",),
        about=objects_of("spatial_distribution"),
        answer=_on_the_left,
        seen=_seen_side,
        phrasings=(
            "Do the {objects} stand mostly to the left?",
            "Are most of the {objects} in the left half?",
            "Is the left half where one sees most of the {objects}?",
        ),
    ),
    Rule(
        "spatial.distribution.label",
        needs=("spatial_distribution",),
        about=objects_of("spatial_distribution"),
        answer=_side_answer,
        seen=_seen_side,
        phrasings=(
            "On which side are the {objects}?",
            "Where in the picture are the {objects}?",
            "How do the {objects} spread over the picture's two halves?",
        ),
    ),
    Rule(
        "segmentation.vertical_layout",
        needs=("vertical_layout.top_sky",),
        about=the_image,
        answer=_sky_on_top,
        seen=_seen_top,
        phrasings=(
            "Is the top of the picture sky?",
            "Does sky fill most of the upper edge?",
            "Is it mainly sky that one sees at the very top?",
        ),
    ),
    Rule(
        "segmentation.vertical_layout.entity",
        needs=("vertical_layout.top_entity",),
        about=the_image,
        answer=_top_entity,
        seen=_seen_entity,
        phrasings=(
            "What fills most of the top of the picture?",
            "Which class is mainly at the top?",
            "What does one see most along the upper edge?",
        ),
    ),
    Rule(
        "scene.skyline_visibility",
        needs=("vertical_layout.skyline_clear",),
        about=the_image,
        answer=_skyline,
        seen=_seen_skyline,
        phrasings=(
            "Is the skyline clear?",
            "Can one follow the line of the roofs against the sky?",
            "Do the buildings stand out freely against the sky?",
        ),
    ),
)
