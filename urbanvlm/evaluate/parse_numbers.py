"""Which number a cleaned text settles on, as a count, a share or a length in metres."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise, takewhile

from urbanvlm.evaluate.parse_measures import METRES, OTHER_UNITS, PERCENT, Lexeme, Number, Reading, lexemes_of, measures
from urbanvlm.evaluate.parse_presence import denies_presence, of_another_kind
from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_text import tokens_of, without_ignorance
from urbanvlm.evaluate.vocabulary import CLASSES, VEHICLE_WORDS, class_mentions, own_mentions, word_set


def number_claims(text: str, kind: str, question: Question) -> frozenset[float | None]:
    """The values that a text claims for a kind of `integer`, `share` or `number`; None among them is unreadable.

    One number, however often it is repeated, is an answer. A range (`10-15`, `between 10 and 15`) claims its middle, a
    bound (`more than 10`) nothing that could be scored. `35 %` is 0.35 for a share and no count. Decimal commas are
    read; a comma before exactly three digits groups thousands (`1,204`), unless a zero precedes it (`0,350`).
    `no cars` and `none` claim 0 for a count or share, a bare `no` does not. Lengths are in metres. Numbers of other
    things than the question names (`3 people` of cars) are left out.
    """
    whole_text = _without_echoed_bounds(without_ignorance(text), question)
    text = _about_what_was_asked(whole_text, question)
    if kind == "integer":
        text = _NUMBERED.sub(" ", text)
    lexemes = list(lexemes_of(text))
    readings = list(measures(lexemes, kind, question))
    claims = [claim for claim in (_for_kind(r, kind, question) for r in _measured(readings, kind)) if claim is not None]
    strong = [*takewhile(lambda claim: claim.weak, claims), *(claim for claim in claims if not claim.weak)]
    values = {None if claim.value is None else round(claim.value, 9) for claim in strong}
    if kind == "integer" and (len(values) > 1 or _has_parts(text, len(strong), values, lexemes)):
        values = {_total([claim.value for claim in strong], lexemes, text, question)}
    if kind == "share" and _IS_NOT_IT.search(whole_text):
        values.add(None)
    if kind == "share" and len(values) > 1:
        values = _unrounded(strong, values)
    if kind != "number" and denies_presence(whole_text, question):
        values.add(0.0)
    return frozenset(values)


def _measured(readings: Sequence[Reading], kind: str) -> Sequence[Reading]:
    """Those with a unit where there are any: the share of `two of four balls, 50 %`, the metres of `3 (8 - 5) m`."""
    if kind == "integer":
        return readings
    units = METRES.keys() if kind == "number" else {"%", "fraction"}
    if not any(reading.unit in units for reading in readings):
        return readings
    return [r for r in readings if r.unit or r.value is None or (kind == "share" and not r.value.is_integer())]


def _unrounded(claims: Sequence[Reading], values: set[float | None]) -> set[float | None]:
    """The fraction of `4/7, or 57 %`."""
    fractions = {claim.value for claim in claims if claim.unit == "fraction"}
    if len(fractions) == 1:
        (exact,) = fractions
        if exact is not None and all(value is not None and abs(value - exact) <= _ROUNDED for value in values):
            return {exact}
    return values


_ROUNDED = 0.005
_IS_NOT_IT = re.compile(
    r"(?:\d|%|\b(?:percent|cent|half|thirds?|quarters?|fifths?))"
    r"(?:(?!\b(?:and|but|while|which|that|rest)\b)[^.,;:!?\n]){0,60}\b(?:is|are) not\b"
)
"""`70 % of the picture is not sky`"""
_TOTAL = re.compile(
    r"\b(?:(?:a )?total (?:of|is|:)|total (?:number|count|amount)[^.!\n]{0,80}? is|adds? up to)(?= )"
    r"|(?:^|(?<=[.!:,\n]) ?)(?:in total|overall|altogether|in all),?(?: there are| there is| i (?:see|count))?(?= )"
    r"|(?P<before>\b\w+(?: \w+){0,2}) (?:in total|altogether|in all)\b"
)


def _total(numbers: Sequence[float | None], lexemes: Sequence[Lexeme], text: str, question: Question) -> float | None:
    """The whole where a text tells it from its parts: `5 in total`, `two cars. One car is red`, `3: 1 bus and 2 cars`.

    None where it does not: `2 on the left, 3 on the right`.
    """
    totals = [
        match["before"] or re.split(r"[:;,(!\n]|\.(?!\d)", text[match.end() :])[0] for match in _TOTAL.finditer(text)
    ]
    if totals:
        found = {r.value for r in measures(list(lexemes_of(" ; ".join(totals))), "integer", question) if not r.weak}
        return found.pop() if len(found) == 1 else None
    if None in numbers:
        return None
    known = [number for number in numbers if number is not None]
    head, *later = _HEAD_END.split(text.strip(), maxsplit=1)
    if not later or known[0] < 2 or len(list(measures(list(lexemes_of(head)), "integer", question))) != 1:
        return None
    others = sum(word in _OTHERS and not isinstance(following, Number) for word, following in pairwise([*lexemes, ""]))
    parts = len(known) + others > 2 and sum(known[1:]) + others == known[0]
    example = _EXAMPLE.match(later[0]) and set(known[1:]) == {1.0} and not _PLACES.intersection(head.split())
    return known[0] if parts or example else None


_HEAD_END = re.compile(r"[:.!(\n](?: |$)?")
_EXAMPLE = re.compile(r"one\b(?! (?:more|of)\b)")
_PLACES = word_set("left right front behind back foreground background middle center centre")


_OF_EACH = re.compile(r"\b(?:(?:on|in|at) each|each side|each(?= ?(?:[.,;!\n]|$))|(?:both|either|per) sides?|apiece)\b")

_NUMBERED = re.compile(rf"\b(?:number|no\.|route|line|lane|{'|'.join(sorted(CLASSES))}) \d{{1,4}}\b(?![.,]?\d)")
"""`bus 12` is a name."""
_TWICE = re.compile(
    r"\b(\d{1,4}|one|two|three|four|five|six|seven|eight|nine|ten) [a-z][^.;:!?\n]{0,60}(?:\band|,) \1 [a-z]"
)


def _has_parts(text: str, claims: int, values: set[float | None], lexemes: Sequence[Lexeme]) -> bool:
    """Is the one number said perhaps that of parts: `2 men and 2 women`, `one here, another there`?"""
    twice = (next(lexemes_of(match[1])) for match in _TWICE.finditer(text))
    if _OF_EACH.search(text) or any(isinstance(number, Number) and number.value in values for number in twice):
        return True
    if _adds_another(lexemes):
        return True
    several = claims > 1 and len({lexeme for lexeme in lexemes if lexeme in _PLACES}) > 1
    return several or (values == {1.0} and ("another" in lexemes or ("the", "other") in pairwise(lexemes)))


def _adds_another(lexemes: Sequence[Lexeme]) -> bool:
    """`another two`; `and another`, unless that is one of those counted: `one here and another there`."""
    seen_one = False
    for index, (first, second) in enumerate(pairwise(lexemes)):
        seen_one = seen_one or (isinstance(first, Number) and first.value == 1)
        if first == "another" and (isinstance(second, Number) or (lexemes[index - 1] == "and" and not seen_one)):
            return True
    return False


_OTHERS = word_set("other another second")


_BOUND_PHRASE = re.compile(
    r"\b(?:(?:more|less|fewer|greater|larger|smaller|higher|lower) than(?: or equal to)?|at least|at most|up to|over"
    r"|under|above|below|exceeding) [\w.,%]*\w"
)


def _without_echoed_bounds(text: str, question: Question) -> str:
    """The text less the `lower than 8` that the question asks about."""
    if _BOUND_PHRASE.search(text):
        for match in _BOUND_PHRASE.finditer(question.wording):
            text = text.replace(match[0], " ")
    return text


_SEGMENT = re.compile(r"([,.;!](?= |\n|$)|\n|\b(?:and|but|while|whereas)\b)")


def _about_what_was_asked(text: str, question: Question) -> str:
    """The text less the pieces that name only other classes, or another kind, than the question."""
    pieces = _SEGMENT.split(text)
    tokens = [tokens_of(piece) for piece in pieces]
    classes = [{mention.value for mention in own_mentions(words, class_mentions(words))} for words in tokens]
    named = any(found and found & question.classes for found in classes)
    for index, (words, found) in enumerate(zip(tokens, classes, strict=True)):
        vehicles = not VEHICLE_WORDS.isdisjoint(words)
        others = vehicles and named if vehicles else found and question.classes
        if (others and not found & question.classes) or of_another_kind(words, question):
            pieces[index] = " ; "
    return "".join(pieces)


def _for_kind(reading: Reading, kind: str, question: Question) -> Reading | None:
    """The reading as a value of the kind; None where its unit says that it measures something else."""
    if reading.value is None:
        return reading
    if reading.unit in OTHER_UNITS:
        return None
    value = reading.value
    if kind == "integer":
        if reading.unit not in {"", "range"}:
            return None
        whole = value >= 0 and (value.is_integer() or reading.unit == "range")
        return reading if whole else Reading(None)
    if kind == "share":
        if reading.unit in METRES:
            return None
        percent = reading.unit == "%" or (value > 1 and not PERCENT.isdisjoint(question.tokens))
        value = value / 100 if percent else value
        return Reading(value if 0 <= value <= 1 else None, reading.unit, weak=reading.weak)
    if reading.unit == "%":
        return None
    return Reading(value * METRES.get(reading.unit, 1.0), weak=reading.weak)
