"""Plain statements are read as the answers to each wording of the project's own questions."""

import pytest

from urbanvlm.dataset.rules import RULES
from urbanvlm.dataset.rules.words import a_or_an, plural
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.evaluate.parse import parse_answer

PLACES = {"depth.foreground_presence": " in the foreground", "depth.background_presence": " in the background"}
PAIRS = (("bench", "bus"), ("car", "tree"), ("person", "dog"), ("traffic light", "kite"))
EXISTENTIAL = ("presence.binary", "object.cooccurrence", "negation.absence", *PLACES)


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize(
    ("subtype", "phrasing"), [(name, phrasing) for name in EXISTENTIAL for phrasing in RULES[name].phrasings]
)
def test_there_is_and_there_are_none(subtype, phrasing, one, other):
    question = phrasing.format(object=one, an_object=a_or_an(one), an_object1=a_or_an(one), an_object2=a_or_an(other))
    both, place = subtype == "object.cooccurrence", PLACES.get(subtype, "")
    there = "here is " + a_or_an(one) + (f" and {a_or_an(other)}" if both else "") + place
    none = "here are no " + plural(one) + (f" or {plural(other)}" if both else "") + place
    yes, no = ("no", "yes") if subtype == "negation.absence" else ("yes", "no")
    for statement, value in ((there, yes), (none, no)):
        for said in (f"T{statement}.", f"{value.capitalize()}, t{statement}."):
            assert parse_answer(said, SUBTYPES[subtype], question).value == value, said
    if subtype != "object.cooccurrence":
        assert parse_answer(f"There is {a_or_an(other)}{place}.", SUBTYPES[subtype], question).value is None
