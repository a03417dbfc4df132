"""Which number a cleaned text settles on, as a count, a share or a length in metres."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from urbanvlm.evaluate.parse_choices import Claims, denies_existence
from urbanvlm.evaluate.parse_text import without_ignorance
from urbanvlm.evaluate.vocabulary import word_set

_MOST_DIGITS = 15

_TO_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_BY_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS = {word: float(number) for number, word in enumerate(_TO_TWENTY.split())} | {"single": 1.0}
_TENS = {word: 10.0 * number for number, word in enumerate(_BY_TENS.split(), start=2)}
_GROUPS = {"dozen": 12.0, "couple": 2.0, "pair": 2.0, "hundred": 100.0}
_FRACTION_WORDS = {"half": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifth": 5, "fifths": 5}
_METRES = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 0.01),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1000.0),
    **dict.fromkeys(("ft", "foot", "feet"), 0.3048),
}
_PERCENT = frozenset({"%", "percent", "pct", "percentage"})
_BOUND_SIGNS = frozenset("<>≤≥")
_BOUND_WORDS = word_set("over under above below beyond exceeding")
_BOUND_PAIRS = {(word, "than") for word in word_set("more less fewer greater larger smaller higher lower")} | {
    ("at", "least"),
    ("at", "most"),
    ("up", "to"),
    ("no", "more"),
    ("no", "fewer"),
}
_NOT_A_COUNT = word_set("of another word words number integer digit answer sentence side by can could way")
_POINTS_AT_ONE = word_set("no this that which each any every another the other some")

_SPLIT = re.compile(r"[\s()\[\]{}\"':;!?=|]+|-{2,}")
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?:e[+-]?\d{1,3})?"
_UNIT = "|".join((*_METRES, "pct", "percent"))
_NUMBER = re.compile(rf"([<>≤≥]?=?[+-]?)({_PLAIN})(%|{_UNIT})?")
_RANGE = re.compile(rf"~?({_PLAIN})(%|{_UNIT})?-({_PLAIN})(%|{_UNIT})?")
_FRACTION = re.compile(r"(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class _Number:
    value: float
    spelled: bool = False
    open_bound: bool = False
    """`<5`: it names no value"""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A value that the text claims, in its unit; None where it claims something that is no value."""

    value: float | None
    unit: str = ""
    weak: bool = False
    """the word `one`, which may be a pronoun"""


def number_claims(text: str, kind: str, asked: Claims) -> frozenset[float | None]:
    """The values that a text claims for a kind of `integer`, `share` or `number`; None among them is unreadable.

    One number, however often it is repeated, is an answer. A range (`10-15`, `between 10 and 15`) claims its middle, a
    bound (`more than 10`) nothing that could be scored. `35 %` is 0.35 for a share and no count. Decimal commas are
    read; a comma before exactly three digits groups thousands (`1,204`), unless a zero precedes it (`0,350`).
    `no cars` and `none` claim 0 for a count or share, a bare `no` does not. Lengths are in metres.
    """
    text = without_ignorance(text)
    lexemes = list(_lexemes(text))
    claims = [claim for claim in (_for_kind(r, kind) for r in _readings(lexemes, kind)) if claim is not None]
    strong = [claim for claim in claims if not claim.weak] or claims
    values = {None if claim.value is None else round(claim.value, 9) for claim in strong}
    if kind != "number" and denies_existence(text, asked):
        values.add(0.0)
    return frozenset(values)


def _for_kind(reading: _Reading, kind: str) -> _Reading | None:
    """The reading as a value of the kind; None where its unit says that it measures something else."""
    if reading.value is None:
        return reading
    value = reading.value
    if kind == "integer":
        if reading.unit not in {"", "range"}:
            return None
        whole = value >= 0 and (value.is_integer() or reading.unit == "range")
        return reading if whole else _Reading(None)
    if kind == "share":
        if reading.unit in _METRES:
            return None
        value = value / 100 if reading.unit == "%" else value
        return _Reading(value if 0 <= value <= 1 else None, weak=reading.weak)
    if reading.unit == "%":
        return None
    return _Reading(value * _METRES.get(reading.unit, 1.0), weak=reading.weak)


# ---- text -> numbers and words --------------------------------------------------------------------------------------

_Lexeme = _Number | str | None
"""a number, a word, or None: digits that are no number"""


def _lexemes(text: str) -> Iterator[_Lexeme]:
    words = [part for token in _SPLIT.split(text) for part in _spelled_parts(token.rstrip(",.").lstrip(","))]
    index = 0
    while index < len(words):
        word = words[index]
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in _TENS and 1 <= _NUMBER_WORDS.get(following, 0) <= 9:
            yield _Number(_TENS[word] + _NUMBER_WORDS[following], spelled=True)
            index += 1
        elif word in _TENS or word in _NUMBER_WORDS:
            yield _Number(_TENS.get(word) or _NUMBER_WORDS[word], spelled=True)
        elif any(map(str.isdigit, word)) or "#" in word:
            yield from _digits(word)
        elif word:
            yield word
        index += 1


def _spelled_parts(token: str) -> list[str]:
    """`twenty-five` and `two-thirds` are two words each."""
    parts = token.split("-")
    known = _NUMBER_WORDS.keys() | _TENS.keys() | _FRACTION_WORDS.keys() | _GROUPS.keys()
    return parts if len(parts) == 2 and all(part in known for part in parts) else [token]


def _digits(word: str) -> Iterator[_Lexeme]:
    if match := _NUMBER.fullmatch(word.lstrip("~")):
        sign, size = match[1], _value(match[2])
        yield None if size is None else _Number(-size if "-" in sign else size, open_bound=sign[:1] in _BOUND_SIGNS)
        if match[3]:
            yield match[3]
    elif match := _RANGE.fullmatch(word):
        ends = [_value(match[1]), _value(match[3])]
        yield from (_as_lexeme(ends[0]), "to", _as_lexeme(ends[1]))
        if match[4] or match[2]:
            yield match[4] or match[2]
    elif match := _FRACTION.fullmatch(word):
        yield from (_Number(float(match[1])), "/", _Number(float(match[2])))
    elif not any(map(str.isalpha, word)):
        yield None


def _as_lexeme(value: float | None) -> _Lexeme:
    return None if value is None else _Number(value)


def _value(digits: str) -> float | None:
    if sum(map(str.isdigit, digits)) > _MOST_DIGITS:
        return None
    if "," in digits:
        thousands = re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", digits)
        digits = digits.replace(",", "" if thousands else ".")
    try:
        value = float(digits)
    except ValueError:  # 0,350,000
        return None
    return value if math.isfinite(value) else None


# ---- numbers and words -> readings ----------------------------------------------------------------------------------


def _readings(lexemes: Sequence[_Lexeme], kind: str) -> Iterator[_Reading]:
    index = 0
    while index < len(lexemes):
        lexeme = lexemes[index]
        if isinstance(lexeme, _Number):
            reading, index = _number_reading(lexemes, index, kind)
        elif lexeme is None:
            reading, index = _Reading(None), index + 1
        else:
            reading, index = _word_reading(lexemes, index, kind)
        if reading is not None:
            yield reading


def _at(lexemes: Sequence[_Lexeme], index: int) -> _Lexeme:
    return lexemes[index] if 0 <= index < len(lexemes) else ""


def _number_reading(lexemes: Sequence[_Lexeme], index: int, kind: str) -> tuple[_Reading | None, int]:
    """The reading that begins with the number at `index`, and where to go on."""
    number = lexemes[index]
    assert isinstance(number, _Number)
    if _points_at_something(lexemes, index):
        return None, index + 1
    value, unit, end = _grouped(lexemes, index, kind)
    if _at(lexemes, index - 1) == "not" or (
        _at(lexemes, index - 2) == "not" and _at(lexemes, index - 1) in {"exactly", "about", "just", "only"}
    ):
        return None, end
    joint = _at(lexemes, end)
    second = _at(lexemes, end + 1)
    is_range = joint in {"to", "-"} or (joint == "and" and _at(lexemes, index - 1) == "between")
    if is_range and isinstance(second, _Number):
        top, top_unit, end = _grouped(lexemes, end + 1, kind)
        return _range_reading(value, unit, top, top_unit, kind), end
    if number.open_bound or _is_bound(lexemes, index):
        return _Reading(None), end
    return _Reading(value, unit, weak=number.spelled and number.value == 1 and end == index + 1), end


def _range_reading(low: float | None, unit: str, high: float | None, high_unit: str, kind: str) -> _Reading | None:
    """The middle of a range. The whole scale (`0 to 1`, `0-100 %`) is an echoed instruction, so no claim at all."""
    unit = high_unit or unit
    if low is None or high is None or low > high:
        return _Reading(None)
    if kind == "share" and (low, high) in {(0.0, 1.0), (0.0, 100.0)}:
        return None
    middle = (low + high) / 2
    return _Reading(middle, unit or ("" if middle.is_integer() else "range"))


def _grouped(lexemes: Sequence[_Lexeme], index: int, kind: str) -> tuple[float | None, str, int]:
    """(value, unit, index behind it) of a number with what belongs to it: `2 dozen`, `3/4`, `two thirds`, `12 m`."""
    number = lexemes[index]
    assert isinstance(number, _Number)
    value: float | None = number.value
    end = index + 1
    following = _at(lexemes, end)
    out_of = following == "out" and _at(lexemes, end + 1) == "of"
    whole = _at(lexemes, end + 1 + out_of)
    if following in _GROUPS and number.spelled | (following != "pair"):
        value, end = number.value * _GROUPS[str(following)], end + 1
    elif following in _FRACTION_WORDS and kind == "share":
        value, end = number.value / _FRACTION_WORDS[str(following)], end + 1
    elif (following == "/" or out_of) and isinstance(whole, _Number):
        value = number.value / whole.value if kind == "share" and whole.value else None
        end += 2 + out_of
    following = _at(lexemes, end)
    if following == "per" and _at(lexemes, end + 1) == "cent":
        return value, "%", end + 2
    if following in _PERCENT:
        return value, "%", end + 1
    if following in _METRES:
        return value, str(following), end + 1
    return value, "", end


def _points_at_something(lexemes: Sequence[_Lexeme], index: int) -> bool:
    """`one of them`, `this one`, `one word`: a pronoun or an echoed instruction, no count."""
    number = lexemes[index]
    if not (isinstance(number, _Number) and number.spelled and number.value == 1):
        return False
    return _at(lexemes, index + 1) in _NOT_A_COUNT or _at(lexemes, index - 1) in _POINTS_AT_ONE


def _is_bound(lexemes: Sequence[_Lexeme], index: int) -> bool:
    before = _at(lexemes, index - 1)
    return before in _BOUND_WORDS or (_at(lexemes, index - 2), before) in _BOUND_PAIRS


def _word_reading(lexemes: Sequence[_Lexeme], index: int, kind: str) -> tuple[_Reading | None, int]:
    """`a dozen`, `half a dozen`, `a couple`; for a share also `half` and `a third`."""
    word, before = lexemes[index], _at(lexemes, index - 1)
    article = _at(lexemes, index + 1) in {"a", "the"}
    if word == "half":
        group = _at(lexemes, index + 1 + article)
        if group == "dozen":
            return _Reading(6.0), index + 2 + article
        half = _Reading(None if _is_bound(lexemes, index) else 0.5)
        return (half if kind == "share" else None), index + 1
    bound = _is_bound(lexemes, index - 1)
    if word in _GROUPS and before == "a":
        return _Reading(None if bound else _GROUPS[str(word)]), index + 1
    if word in _FRACTION_WORDS and before == "a" and kind == "share":
        return _Reading(None if bound else 1 / _FRACTION_WORDS[str(word)]), index + 1
    return None, index + 1
