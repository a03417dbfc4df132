"""Questions about which objects are there, and how many."""

from __future__ import annotations

from urbanvlm.dataset.rules.ask import both_of_two, each_object
from urbanvlm.dataset.rules.rule import About, Rule
from urbanvlm.dataset.rules.words import counted, yes_no
from urbanvlm.experiment import Thresholds
from urbanvlm.records import Metadata


def _count_of(metadata: Metadata, name: str) -> int:
    return metadata.objects.get(name, 0)


def _present(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_count_of(metadata, about["object"]) > 0)


def _seen_present(metadata: Metadata, about: About, lines: Thresholds) -> str:
    name = about["object"]
    return f"I look along the street from one side to the other. I can make out {_found(metadata, name)}."


def _absent(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(_count_of(metadata, about["object"]) == 0)


def _seen_absent(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return f"I search the whole picture, near and far. I find {_found(metadata, about['object'])}."


def _count(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return str(_count_of(metadata, about["object"]))


def _seen_count(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return f"I go from left to right and count one after the other. I come to {_found(metadata, about['object'])}."


def _found(metadata: Metadata, name: str) -> str:
    return counted(name, _count_of(metadata, name))


def _both(metadata: Metadata, about: About, lines: Thresholds) -> str:
    return yes_no(all(_count_of(metadata, name) > 0 for name in about.values()))


def _seen_both(metadata: Metadata, about: About, lines: Thresholds) -> str:
    one, other = about.values()
    return (
        f"I look for the first kind and find {_found(metadata, one)}. Of the second I find {_found(metadata, other)}."
    )


OBJECTS = (
    Rule(
        "presence.binary",
        needs=("objects",),
        about=each_object,
        answer=_present,
        seen=_seen_present,
        phrasings=(
            "Is there {an_object} in the scene?",
            "Can you see {an_object} here?",
            "Does the picture show {an_object}?",
        ),
    ),
    Rule(
        "count",
        needs=("objects",),
        about=each_object,
        answer=_count,
        seen=_seen_count,
        phrasings=(
            "How many {objects} are in the scene?",
            "What is the number of {objects} here?",
            "How many {objects} does the picture show?",
        ),
    ),
    Rule(
        "object.cooccurrence",
        needs=("objects",),
        about=both_of_two,
        answer=_both,
        seen=_seen_both,
        phrasings=(
            "Are there both {an_object1} and {an_object2} in the scene?",
            "Does the picture show {an_object1} together with {an_object2}?",
            "Can you find {an_object1} as well as {an_object2} here?",
        ),
    ),
)

ABSENCE = Rule(
    "negation.absence",
    needs=("objects",),
    about=each_object,
    answer=_absent,
    seen=_seen_absent,
    phrasings=(
        "Is there no {object} in the scene?",
        "Is the scene without {an_object}?",
        "Does {an_object} not occur in the picture?",
    ),
)
