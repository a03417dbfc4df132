"""The paper profile's reading of a text: the value that the published scorer takes it for, its faults included.

Not a judgement of what a text says: "not visible" is a yes here. The strict profile (`parse.py`) is for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from urbanvlm.evaluate.paper_text import (
    ANSWER_LETTER_WORDS,
    ANSWER_WORD,
    ANSWER_WORDS,
    WORDS,
    answer_phrase,
    clean,
    less_article,
    phrase_after,
    whole_word,
)
from urbanvlm.evaluate.parse import Value

PaperGroup = Literal["yes_no", "scalar", "number", "depth_label", "layout_label", "class"]

YES, NO = 1, 0
"""The values of yes and no: numbers, so that a class that is called "no" is another value."""

_GROUPS: Mapping[str, PaperGroup] = {
    "viewfactor.scalar": "scalar",
    "viewfactor.dominance": "yes_no",
    "viewfactor.sparsity": "yes_no",
    "presence.binary": "yes_no",
    "depth.range": "yes_no",
    "depth.variation": "yes_no",
    "depth.foreground_presence": "yes_no",
    "depth.background_presence": "yes_no",
    "spatial.distribution": "yes_no",
    "segmentation.vertical_layout": "yes_no",
    "scene.skyline_visibility": "yes_no",
    "object.cooccurrence": "yes_no",
    "occlusion.binary": "yes_no",
    "spatial.relation": "yes_no",
    "count": "number",
    "depth.average_per_object": "number",
    "depth.range.label": "depth_label",
    "spatial.distribution.label": "layout_label",
    "depth.closest_object": "class",
    "segmentation.vertical_layout.entity": "class",
}
_CHOICES = frozenset({"negation.exclusion_choice", "multi_hop.which_is_more"})
_BLANK: Mapping[PaperGroup, Value] = {
    "yes_no": NO,
    "scalar": 0.0,
    "number": 0,
    "depth_label": "unknown",
    "layout_label": "other",
    "class": "unknown",
}


def paper_group(subtype: str) -> PaperGroup | None:
    """How the published scorer reads answers to the subtype; None where it does not score them at all.

    One leading `paraphrase.from_` does not count.
    """
    return _group(_paraphrased(subtype))


def paper_value(text: object, subtype: str) -> Value | None:
    """The value of a text, prediction or gold label alike; None where its row is left out of the scores.

    Such are the rows of a subtype without a group, and those whose text holds nothing but marks that cleaning takes
    away, unless the question is of the yes/no group. A text that is blank, or no text at all (no prediction: None), has
    a value in every group. The value of a yes/no question is YES or NO, in the negation subtypes and the two that ask
    for a choice also a string; a count or scalar is a number within ±1000; the others are strings. `in_words` makes
    yes and no of the numbers. Never raises, and is linear in the text's length.
    """
    name = _paraphrased(subtype)
    group = _group(name)
    if group is None:
        return None
    if not isinstance(text, str) or not text.strip():
        return _BLANK[group]
    cleaned = clean(text)
    if not cleaned:
        return NO if group == "yes_no" else None
    if name in _CHOICES:
        return _choice(cleaned)
    if group == "yes_no":
        return _yes_no(cleaned, is_negation="negation" in name)
    return _READERS[group](cleaned)


def in_words(value: Value | None, subtype: str) -> Value | None:
    """The value as it is shown: yes or no for a yes/no question's YES and NO, else itself."""
    if paper_group(subtype) == "yes_no" and not isinstance(value, str) and value is not None:
        return "yes" if value == YES else "no"
    return value


def _paraphrased(subtype: str) -> str:
    return subtype.removeprefix("paraphrase.from_")


def _group(name: str) -> PaperGroup | None:
    if any(word in name for word in ("negation", "multi_hop", "counterfactual")):
        return "yes_no"
    return _GROUPS.get(name)


# ---- classes --------------------------------------------------------------------------------------------------------

_MERGED: Mapping[str, str] = {
    word: merged
    for merged, words in {
        "vehicle": "car cars bus buses motorcycle motorcycles train trains truck trucks van vans bicycle bicycles",
        "greenery": "tree trees shrub shrubs plant plants bush bushes leaf leaves vegetation forest grass",
        "person": "person persons people pedestrian pedestrians human humans man men woman women child children",
        "building": "building buildings skyscraper skyscrapers structure structures tower towers house houses "
        "office offices",
    }.items()
    for word in words.split()
}
_CHOICE_TOKENS = frozenset(
    "tree car bench people cars person truck bus bicycle motorcycle train skateboard clock sheep".split()
)
# ſ and ı pass here too, as in all of the letter words.
_PREDICATE = re.compile(r" (?:[iı][sſ]|are|wa[sſ]|were|appear[sſ]|[sſ]eem[sſ])")
_IS_CLOSEST = re.compile(r"(?<=\w) (?:is|was|appears|seems) (?:the )?closest")
_NOT_IN_A_RUN = re.compile(r"[^\w ]")
_ANSWER_NUMERAL_WORDS = answer_phrase(WORDS, marks=":")
_NO_CLASS = frozenset(
    "looking i i'm the a an is are was were appears seems closest object camera to of in on at with by for from that "
    "this these those what which one light foreground background".split()
)


def merge_class(name: str) -> str:
    """The study's coarse class of a word that is one of its synonyms; any other string stays as it is."""
    return _MERGED.get(name, name)


def _choice(text: str) -> str:
    """A choice between classes: all letter words behind `answer`; else the last token that names a choice; else all."""
    phrase = phrase_after(ANSWER_LETTER_WORDS, text)
    if phrase is None:
        phrase = next((token for token in reversed(text.split()) if token in _CHOICE_TOKENS), text)
    return merge_class(phrase)


def _class(text: str) -> str:
    """A class: what `answer` names; else what is said to be closest; else any words behind `answer:`; else a token."""
    for read in (_answered_class, _closest_class, _answered_words, _late_token):
        name = read(text)
        if name is not None:
            return merge_class(name)
    return "unknown"


def _answered_class(text: str) -> str | None:
    """The letter words behind `answer` without their article, up to a word that only begins like a predicate.

    "red island" is cut to "red"; the first word is never cut.
    """
    phrase = phrase_after(ANSWER_LETTER_WORDS, text)
    return None if phrase is None else _PREDICATE.split(less_article(phrase), maxsplit=1)[0]


def _closest_class(text: str) -> str | None:
    """Everything said before the first "is (the) closest", back to the last character of no word and no space."""
    found = _IS_CLOSEST.search(text)
    if found is None:
        return None
    return less_article(_NOT_IN_A_RUN.split(text[: found.start()])[-1].strip())


def _answered_words(text: str) -> str | None:
    """Words of any script and numerals behind `answer:` (not `answer-`), article and all."""
    return phrase_after(_ANSWER_NUMERAL_WORDS, text)


def _late_token(text: str) -> str | None:
    """The last token of three characters or more, punctuation counted, that is no filler."""
    return next((token for token in reversed(text.split()) if len(token) > 2 and token not in _NO_CLASS), None)


# ---- numbers --------------------------------------------------------------------------------------------------------

# No match begins inside a run of digits: it would not differ, but to try it at each digit would be quadratic.
_DECIMAL = re.compile(r"[-+]?(?<!\d)\d*\.\d+")
_INTEGER = re.compile(r"[-+]?\d+")
_LARGEST = 1000
_MOST_DIGITS = 4300
"""Python refuses to make an int of more, and so the published scorer stops there."""
_QUANTITIES: Mapping[str, int] = {
    "none": 0,
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "a couple": 2,
    "couple": 2,
    "a few": 3,
    "few": 3,
    "several": 4,
    "some": 4,
    "many": 6,
    "a lot": 8,
    "half a dozen": 6,
    "dozen": 12,
    "hundred": 100,
}
"""In the order in which they are looked for."""


def _scalar(text: str) -> float:
    """The first decimal number, wherever it stands; else the first integer; else 0, as for what is beyond ±1000."""
    number = _DECIMAL.search(text) or _INTEGER.search(text)
    value = float(number[0]) if number else 0.0
    return value if abs(value) <= _LARGEST else 0.0


def _number(text: str) -> int | float:
    """Half for the range from 0 to 1; else by a number word, be it a part of another word; else by digits."""
    if "0 to 1" in text or "0-1" in text:
        return 0.5
    for word, quantity in _QUANTITIES.items():
        if word in text:
            return quantity
    if _DECIMAL.search(text):
        return _scalar(text)
    integer = _INTEGER.search(text)
    if integer and len(integer[0].lstrip("+-")) > _MOST_DIGITS:
        # Leading zeros count, so the value need not be large.
        return 0
    return int(_scalar(text))


# ---- labels and yes/no ----------------------------------------------------------------------------------------------

_DEPTH_BY_INITIAL: Mapping[str, str] = {"h": "high", "m": "moderate", "l": "low"}
_DEPTH_BY_PART: Mapping[str, tuple[str, ...]] = {
    "high": ("extensive", "substantial", "significant", "complex", "varied"),
    "moderate": ("moderate", "medium", "average", "some"),
    "low": ("simple", "flat", "minimal", "little"),
}
_MIDDLE = ("even", "centre", "center", "both", "middle")
_LAYOUT_BY_PART: Mapping[str, tuple[str, ...]] = {"left side": ("left",), "right side": ("right",), "even": _MIDDLE}

_YES_OR_NO = whole_word("yes|no")
_ANSWER_YES_OR_NO = answer_phrase("ye[sſ]|no")
_AFFIRMING = whole_word("true|correct|present|visible|contains")
_DENYING = whole_word("false|incorrect|absent|none|zero")


def _depth_label(text: str) -> str:
    """By the initial of the word behind `answer`; else by describing parts of the text; else by a label."""
    word = phrase_after(ANSWER_WORD, text)
    if word and word[0] in _DEPTH_BY_INITIAL:
        return _DEPTH_BY_INITIAL[word[0]]
    described = _first_part(text, _DEPTH_BY_PART)
    # "moderate" is looked for above already.
    return described or next((label for label in ("low", "high") if label in text), "unknown")


def _layout_label(text: str) -> str:
    """By the parts of the words behind `answer`, "evenly" before the sides; else by those of the whole text."""
    phrase = phrase_after(ANSWER_WORDS, text)
    if phrase:
        label = "even" if "evenly" in phrase else _first_part(phrase, _LAYOUT_BY_PART)
        if label:
            return label
    return _first_part(text, _LAYOUT_BY_PART) or "other"


def _first_part(text: str, parts: Mapping[str, tuple[str, ...]]) -> str | None:
    """The first label of which any part is in the text."""
    return next((label for label, words in parts.items() if any(word in text for word in words)), None)


def _yes_no(text: str, is_negation: bool) -> Value:
    """By the last yes or no; else by how the word behind `answer` begins; else by words that affirm, then that deny.

    What nothing decides is no, except that in a negation subtype words behind `answer` are a class.
    """
    if stated := _YES_OR_NO.findall(text):
        return YES if stated[-1] == "yes" else NO
    begun = phrase_after(_ANSWER_YES_OR_NO, text)
    if begun:
        return YES if begun == "yes" else NO
    if _AFFIRMING.search(text):
        return YES
    if _DENYING.search(text):
        return NO
    phrase = phrase_after(ANSWER_WORDS, text) if is_negation else None
    return merge_class(phrase) if phrase else NO


_READERS: Mapping[PaperGroup, Callable[[str], Value]] = {
    "scalar": _scalar,
    "number": _number,
    "depth_label": _depth_label,
    "layout_label": _layout_label,
    "class": _class,
}
