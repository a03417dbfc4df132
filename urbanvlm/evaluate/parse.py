"""The strict profile's reading of a model's text: an answer, `unparsed`, or `missing`.

Nothing is ever turned into "no" or 0: a text that names no value, or two that differ, is unparsed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from urbanvlm.dataset.taxonomy import NUMERIC_KINDS, SUBTYPES, Subtype
from urbanvlm.errors import UserError
from urbanvlm.evaluate.parse_choices import CHOICE_READERS
from urbanvlm.evaluate.parse_numbers import number_claims
from urbanvlm.evaluate.parse_question import ANY_QUESTION, Question, QuestionMatters, question_of
from urbanvlm.evaluate.parse_text import clean
from urbanvlm.evaluate.parse_turns import Turn, conclusion, turns
from urbanvlm.records import Example

Value = str | int | float
Status = Literal["answer", "unparsed", "missing"]

_REMEMBERED_LENGTH = 80
"""Longer texts hardly ever repeat and would fill the memory."""
_REMEMBERED = 1 << 15
_PROGRAMS_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text says. `value` is None unless the status is `answer`.

    By the subtype's answer kind it is yes | no; a whole number (a range's middle may be a half more); a share 0..1; a
    number (metres where the text names a length); one of the taxonomy's DEPTH_LABELS or SIDE_LABELS; or a class name.
    """

    status: Status
    value: Value | None = None


UNPARSED = Parsed("unparsed")
MISSING = Parsed("missing")


def parse_answer(text: str | None, subtype: Subtype, question: str = "") -> Parsed:
    """Read a text as an answer to a question of the subtype; None, for no prediction at all, is `missing`.

    Where the text has an `Answer:`, what follows the last one is read, else all of it, up to a question of the model's
    own. `question`, where given, is what was asked: its echo is left out, and statements about other things do not
    count. Linear in the length of the text.
    """
    if text is None:
        return MISSING
    name, kind = subtype.name, subtype.answer_kind
    parsed = _parse_for_any_question(text, name, kind) if len(text) <= _REMEMBERED_LENGTH else None
    return parsed or _parse(text, name, kind, question_of(question))


def parse_gold(example: Example) -> Value:
    """The gold value, from `answer` alone. Raises UserError naming the example."""
    subtype = subtype_of(example)
    value = gold_value(example.answer, subtype)
    if value is None:
        raise UserError(
            f"example {example.id}",
            f"gold answer {example.answer!r} is no {_KIND_WORDS[subtype.answer_kind]}, as {subtype.name} needs",
            "mend or remove the row",
        )
    return value


def gold_value(answer: str, subtype: Subtype) -> Value | None:
    """What a gold answer says: a number as a program writes it, with all its digits; else by the predictions' grammar.

    None where that is no value of the subtype.
    """
    if subtype.answer_kind in NUMERIC_KINDS and _PROGRAMS_NUMBER.fullmatch(answer.strip()):
        number = float(answer) + 0.0  # no minus zero
        if math.isfinite(number) and subtype.answer_kind == "number":
            return number
        if number.is_integer() and number >= 0 and subtype.answer_kind == "integer":
            return int(number)
        if 0 <= number <= 1 and subtype.answer_kind == "share":
            return number
    return parse_answer(answer, subtype).value


def subtype_of(example: Example) -> Subtype:
    """Raises UserError naming the example where its subtype is unknown."""
    subtype = SUBTYPES.get(example.scored_subtype)
    if subtype is None:
        raise UserError(f"example {example.id}", f"unknown subtype {example.subtype!r}", "see the README's table")
    return subtype


_KIND_WORDS = {
    "yes_no": "yes or no",
    "integer": "whole number",
    "share": "share from 0 to 1",
    "number": "number",
    "class": "known class",
    "depth_label": "low, moderate or high",
    "side_label": "left side, right side or evenly spread",
}


@lru_cache(maxsize=_REMEMBERED)
def _parse_for_any_question(text: str, subtype: str, kind: str) -> Parsed | None:
    """What the text says whatever was asked; None where that depends on the question."""
    try:
        return _parse(text, subtype, kind, ANY_QUESTION)
    except QuestionMatters:
        return None


def _parse(text: str, subtype: str, kind: str, question: Question) -> Parsed:
    def claims_of(turn: Turn) -> Claims:
        for part in turn.readings:
            if claims := _claims(part, subtype, kind, question):
                sentence, settles = conclusion(part)
                final = _claims(sentence, subtype, kind, question)
                if len(final) != 1 or None in final:
                    return claims
                return final if settles and (len(claims) > 1 or None in claims) else claims | final
        return frozenset()

    for turn in turns(clean(text), question):
        claims = claims_of(turn)
        if claims:
            contested = turn.contested_by and claims_of(Turn(turn.contested_by)) - claims
            return UNPARSED if contested else _settle(tuple(claims), kind)
    return UNPARSED


Claims = frozenset[str | float | None]


def _claims(text: str, subtype: str, kind: str, question: Question) -> Claims:
    if kind in CHOICE_READERS:
        return CHOICE_READERS[kind](text, subtype, question)
    return number_claims(text, kind, question)


def _settle(claims: Sequence[Value | None], kind: str) -> Parsed:
    if len(claims) != 1 or claims[0] is None:
        return UNPARSED
    value = claims[0]
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    return Parsed("answer", value)
