"""The numbers in a cleaned text, each with its unit: from digits and words, ranges and fractions to values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from urbanvlm.evaluate.parse_presence import NEUTRAL_WORDS, POSSIBLY
from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_text import ODD_DIGIT
from urbanvlm.evaluate.vocabulary import VEHICLE_WORDS, class_mentions, content_words, word_set

_MOST_DIGITS = 15
"""before the decimal point; a third has any number behind it"""

_TO_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_BY_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS = {word: float(number) for number, word in enumerate(_TO_TWENTY.split())} | {"single": 1.0}
_TENS = {word: 10.0 * number for number, word in enumerate(_BY_TENS.split(), start=2)}
_GROUPS = {"dozen": 12.0, "couple": 2.0, "pair": 2.0, "hundred": 100.0, "thousand": 1000.0, "million": 1e6}
_AREA_WORDS = frozenset({"square", "cubic"})
_MINUS = frozenset({"minus", "negative"})
_FRACTION_WORDS = {"half": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifth": 5, "fifths": 5}
METRES = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 0.01),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1000.0),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 0.001),
    **dict.fromkeys(("ft", "foot", "feet"), 0.3048),
    **dict.fromkeys(("inch", "inches"), 0.0254),
    **dict.fromkeys(("yd", "yds", "yard", "yards"), 0.9144),
    **dict.fromkeys(("mi", "mile", "miles"), 1609.344),
}
OTHER_UNITS = word_set(
    "° deg degree degrees px pixel pixels s sec second seconds min minute minutes h hour hours day days kg ton tons "
    f"km/h kmh mph m/s m2 m{ODD_DIGIT} block blocks length lengths step steps pace paces storey storeys story stories "
    "floors lane lanes times x"
)
"""They measure neither a count, nor a share, nor metres."""
_LENGTHS_OF = frozenset({"length", "lengths", "block", "blocks"})
PERCENT = frozenset({"%", "percent", "pct", "percentage"})
_BOUND_SIGNS = frozenset("<>≤≥")
_BOUND_WORDS = word_set("within over under above below beyond exceeding") | _BOUND_SIGNS
_BOUND_PAIRS = {(word, "than") for word in word_set("more less fewer greater larger smaller higher lower")} | {
    ("at", "least"),
    ("at", "most"),
    ("up", "to"),
    ("no", "more"),
    ("no", "fewer"),
    ("maximum", "of"),
    ("minimum", "of"),
}
_BOUNDS_AFTER = {
    (joint, word) for joint in ("or", "and") for word in word_set("more less fewer above below up over")
} | {
    ("at", "least"),
    ("at", "most"),
}
_NOT_A_COUNT = word_set("of another word words number integer digit answer sentence side by can could way")
_POINTS_AT_ONE = word_set("no this that which each any every another the other some")

_HOLD_SEVERAL = word_set(
    "row rows line lines column columns group groups cluster clusters pairs set sets kind kinds type types sort sorts "
    "picture pictures photo photos image images lot lots space spaces spot spots dozens hundreds thousands"
)

_NOUN_WITHIN = 3
"""words, in `one large red car`"""

_SPLIT = re.compile(r"[\s()\[\]{}\"':;!?=|]+|-{2,}")
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?:e[+-]?\d{1,3})?"
_UNIT = "|".join((*METRES, "pct", "percent"))
_NUMBER = re.compile(rf"([<>≤≥]?=?[+-]?)({_PLAIN})(%|°|{_UNIT})?")
_RANGE = re.compile(rf"~?({_PLAIN})(%|{_UNIT})?-({_PLAIN})(%|{_UNIT})?")
_LOOPED_DIGITS = re.compile(r"\d{0,3}?(\d{1,3}?)\1{7,}\d{0,2}")
_FRACTION = re.compile(r"(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands in the text, without its unit."""

    value: float
    spelled: bool = False
    open_bound: bool = False
    """`<5`: it names no value"""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that the text claims, in its unit; None where it claims something that is no value."""

    value: float | None
    unit: str = ""
    weak: bool = False
    """the word `one`, which may be a pronoun"""


# ---- text -> numbers and words --------------------------------------------------------------------------------------

Lexeme = Number | str | None
"""a number, a word, or None: digits that are no number"""


def lexemes_of(text: str) -> Iterator[Lexeme]:
    words = [part for token in _SPLIT.split(text) for part in _spelled_parts(token.rstrip(",.").lstrip(","))]
    index = 0
    while index < len(words):
        word = words[index]
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in _TENS and 1 <= _NUMBER_WORDS.get(following, 0) <= 9:
            yield Number(_TENS[word] + _NUMBER_WORDS[following], spelled=True)
            index += 1
        elif word in _TENS or word in _NUMBER_WORDS:
            yield Number(_TENS.get(word) or _NUMBER_WORDS[word], spelled=True)
        elif any(map(str.isdigit, word)) or ODD_DIGIT in word:
            yield from _digits(word)
        elif word:
            yield word
        index += 1


def _spelled_parts(token: str) -> list[str]:
    """`twenty-five` and `two-thirds` are two words each."""
    parts = token.split("-")
    known = _NUMBER_WORDS.keys() | _TENS.keys() | _FRACTION_WORDS.keys() | _GROUPS.keys()
    return parts if len(parts) == 2 and all(part in known for part in parts) else [token]


def _digits(word: str) -> Iterator[Lexeme]:
    if len(word) > _MOST_DIGITS and _LOOPED_DIGITS.fullmatch(word):
        return
    if match := _NUMBER.fullmatch(word.lstrip("~≈")):
        sign, size = match[1], _value(match[2])
        yield None if size is None else Number(-size if "-" in sign else size, open_bound=sign[:1] in _BOUND_SIGNS)
        if match[3]:
            yield match[3]
    elif match := _RANGE.fullmatch(word):
        low, high = (None if (end := _value(part)) is None else Number(end) for part in (match[1], match[3]))
        yield from (low, "to", high)
        if match[4] or match[2]:
            yield match[4] or match[2]
    elif match := _FRACTION.fullmatch(word):
        yield from (Number(float(match[1])), "/", Number(float(match[2])))
    else:
        yield word if any(map(str.isalpha, word)) else None


def _value(digits: str) -> float | None:
    if "," in digits:
        thousands = re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", digits)
        digits = digits.replace(",", "" if thousands else ".")
    if len(digits.partition(".")[0]) > _MOST_DIGITS:
        return None
    try:
        value = float(digits)
    except ValueError:  # 0,350,000
        return None
    return value if math.isfinite(value) else None


# ---- numbers and words -> readings ----------------------------------------------------------------------------------


def measures(lexemes: Sequence[Lexeme], kind: str, question: Question) -> Iterator[Reading]:
    index = 0
    while index < len(lexemes):
        lexeme = lexemes[index]
        if isinstance(lexeme, Number):
            reading, index = _number_reading(lexemes, index, kind, question)
        elif lexeme is None:
            reading, index = Reading(None), index + 1
        else:
            reading, index = _word_reading(lexemes, index, kind)
        if reading is not None:
            yield reading


def _at(lexemes: Sequence[Lexeme], index: int) -> Lexeme:
    return lexemes[index] if 0 <= index < len(lexemes) else ""


def _number_reading(lexemes: Sequence[Lexeme], index: int, kind: str, question: Question) -> tuple[Reading | None, int]:
    """The reading that begins with the number at `index`, and where to go on."""
    number = lexemes[index]
    assert isinstance(number, Number)
    value, unit, end = _grouped(lexemes, index, kind)
    if kind == "integer" and _counts_groups(lexemes, end, question):
        return Reading(None), end
    lone_one = number.spelled and number.value == 1 and end == index + 1
    if lone_one and _is_no_count(lexemes, index, question):
        return None, end
    before = _at(lexemes, index - 1)
    if before == "not" or (_at(lexemes, index - 2) == "not" and before in {"exactly", "about", "just", "only"}):
        return None, end
    joint = _at(lexemes, end)
    second = _at(lexemes, end + 1)
    is_range = joint in {"to", "-"} or (joint == "and" and before == "between")
    if is_range and isinstance(second, Number):
        top, top_unit, end = _grouped(lexemes, end + 1, kind)
        return _range_reading(value, unit, top, top_unit, kind), end
    if not unit and joint in {"or", "and"} and isinstance(second, Number):
        unit = _grouped(lexemes, end + 1, kind)[1]
    if number.open_bound or _is_bound(lexemes, index) or (joint, second) in _BOUNDS_AFTER or joint == "plus":
        return Reading(None), end
    if before in _MINUS and value is not None:
        value = -value
    pronoun = lone_one and not isinstance(second, Number) and not _counts_class(lexemes, end, question)
    return Reading(value, unit, weak=pronoun), end


def _range_reading(low: float | None, unit: str, high: float | None, high_unit: str, kind: str) -> Reading | None:
    """The middle of a range. The whole scale (`0 to 1`, `0-100 %`) is an echoed instruction, so no claim at all."""
    unit = high_unit or unit
    if low is None or high is None or low > high:
        return Reading(None)
    if kind == "share" and (low, high) in {(0.0, 1.0), (0.0, 100.0)}:
        return None
    middle = (low + high) / 2
    return Reading(middle, unit or ("" if middle.is_integer() else "range"))


def _grouped(lexemes: Sequence[Lexeme], index: int, kind: str) -> tuple[float | None, str, int]:
    """(value, unit, index behind it) of a number with what belongs to it: `2 dozen`, `3/4`, `two thirds`, `12 m`."""
    number = lexemes[index]
    assert isinstance(number, Number)
    value: float | None = number.value
    end = index + 1
    fraction = False
    following = _at(lexemes, end)
    out_of = following == "out" and _at(lexemes, end + 1) == "of"
    whole = _at(lexemes, end + 1 + out_of)
    if following in _GROUPS and number.spelled | (following != "pair"):
        value, end = number.value * _GROUPS[str(following)], end + 1
        if _at(lexemes, end) in _GROUPS:  # a hundred thousand, a couple dozen
            value = None
    elif following in _FRACTION_WORDS:
        value, end = number.value / _FRACTION_WORDS[str(following)] if kind == "share" else None, end + 1
    elif (following, _at(lexemes, end + 1), _at(lexemes, end + 2)) == ("and", "a", "half"):
        value, end = number.value + 0.5, end + 3
    elif (following == "/" or out_of) and isinstance(whole, Number):
        halves = number.value == whole.value == 50  # 50/50
        value = number.value / whole.value if kind == "share" and whole.value and not halves else None
        end += 2 + out_of
        fraction = kind == "share"
    following = _at(lexemes, end)
    if following == "per" and _at(lexemes, end + 1) == "cent":
        return value, "%", end + 2
    if following in _AREA_WORDS:
        return value, "m2", end + 2
    if _at(lexemes, end + 1) in _LENGTHS_OF and following in {"car", "city", "bus"}:  # five car lengths
        return value, str(_at(lexemes, end + 1)), end + 2
    if following in PERCENT:
        return value, "%", end + 1
    if following in METRES or following in OTHER_UNITS:
        return value, str(following), end + 1
    return value, "fraction" if fraction else "", end


def _is_no_count(lexemes: Sequence[Lexeme], index: int, question: Question) -> bool:
    """The `one` of `one of them`, `this one`, `one word`, `one moment`: a pronoun, an echoed instruction, an idiom."""
    following = _at(lexemes, index + 1)
    if following in _NOT_A_COUNT or _at(lexemes, index - 1) in _POINTS_AT_ONE:
        return True
    known = not isinstance(following, str) or not following or following in NEUTRAL_WORDS | POSSIBLY
    return not known and not _counts_class(lexemes, index + 1, question)


def _counts_class(lexemes: Sequence[Lexeme], index: int, question: Question) -> bool:
    """Does a class, a vehicle, or a word of the question follow within a few words?"""
    words = [lexeme if isinstance(lexeme, str) else "" for lexeme in lexemes[index : index + _NOUN_WITHIN]]
    if class_mentions(words) or VEHICLE_WORDS.intersection(words):
        return True
    following = content_words(words)
    return bool(following) and not question.words.isdisjoint(following)


def _counts_groups(lexemes: Sequence[Lexeme], index: int, question: Question) -> bool:
    """Is it `rows of cars`, or `parking spaces for cars`, that are counted, where the question does not name them?"""
    return any(
        _at(lexemes, at) in _HOLD_SEVERAL
        and _at(lexemes, at + 1) in {"of", "for", "with"}
        and question.words.isdisjoint(content_words([str(_at(lexemes, at))]))
        for at in (index, index + 1)
    )


def _is_bound(lexemes: Sequence[Lexeme], index: int) -> bool:
    before = _at(lexemes, index - 1)
    return before in _BOUND_WORDS or (_at(lexemes, index - 2), before) in _BOUND_PAIRS


def _word_reading(lexemes: Sequence[Lexeme], index: int, kind: str) -> tuple[Reading | None, int]:
    """`a dozen`, `half a dozen`, `a couple`; for a share also `half` and `a third`."""
    word, before = lexemes[index], _at(lexemes, index - 1)
    article = _at(lexemes, index + 1) in {"a", "the"}
    if word == "half":
        group = _at(lexemes, index + 1 + article)
        if group == "dozen":
            return Reading(6.0), index + 2 + article
        bound = _is_bound(lexemes, index) or (group, _at(lexemes, index + 2)) in _BOUNDS_AFTER
        half = Reading(None if bound else 0.5)
        return (half if kind == "share" else None), index + 1
    bound = _is_bound(lexemes, index - 1)
    if word in _GROUPS and before == "a":
        vague = bound or _at(lexemes, index + 1) in _GROUPS
        return Reading(None if vague else _GROUPS[str(word)]), index + 1 + (_at(lexemes, index + 1) in _GROUPS)
    if word in _FRACTION_WORDS and before == "a" and kind == "share":
        return Reading(None if bound else 1 / _FRACTION_WORDS[str(word)]), index + 1
    return None, index + 1
