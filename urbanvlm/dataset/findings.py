"""What can be wrong with a file of questions: the codes, how grave each is, and a finding."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from urbanvlm.errors import UserError, suggest

if TYPE_CHECKING:
    from urbanvlm.dataset.rows import RowFile

Severity = Literal["error", "warning", "note"]

FIRST_PLACES = 5
"""examples of a finding, where there is no room for all"""
MOST_GROUPS = 1000
OTHERS = "and others of the kind"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a code before any file is read."""

    severity: Severity
    meaning: str
    allowable: bool = True
    """can a run go on with it? With an error that is not allowable, there is nothing to go on with"""
    then: str = ""
    """what a run does with an error that is allowed"""


CODES: Mapping[str, Kind] = {
    "malformed-line": Kind("error", "a line is not JSON, or not an object", allowable=False),
    "malformed-row": Kind("error", "a key is missing, or is not text", allowable=False),
    "image-token": Kind("error", "a text holds <image>, which a model takes for a picture", allowable=False),
    "nan": Kind("error", "NaN or infinity", allowable=False),
    "image-outside": Kind("error", "image_id is no path inside the image folder", allowable=False),
    "unknown-subtype": Kind("error", "no such subtype", allowable=False),
    "missing-image": Kind("error", "no such picture", allowable=False),
    "broken-image": Kind(
        "error", "the picture is not whole, too large, or of numbers that could mean any shade", allowable=False
    ),
    "missing-rationale": Kind("error", "trained on rationales, but has none", allowable=False),
    "nothing-to-ask": Kind("error", "no row can be scored", allowable=False),
    "too-long": Kind("error", "image, prompt and answer are more than the model reads", allowable=False),
    "contradicting-rationale": Kind("error", "the rationale ends in another answer than the row's", allowable=False),
    "duplicate-id": Kind("error", "two rows of one id", then="the later ones are called <id>~2, <id>~3, and so on"),
    "text-only": Kind("error", "a conversation without a picture", then="it is left out"),
    "linked-image": Kind(
        "error", "a link leads out of the image folder", then="what it leads to is read; jobs must see it there too"
    ),
    "contradicting-answers": Kind("error", "one question about one image has two answers", then="both are kept"),
    "number-out-of-range": Kind(
        "error", "a number that the subtype cannot have", then="it is learnt from, and asked only if it can be scored"
    ),
    "shared-places": Kind(
        "error", "the training split shows the same places", then="scores are partly those of places learnt from"
    ),
    "answer-outside-set": Kind("warning", "the answer is none of the subtype; the row is not asked"),
    "untold-places": Kind("warning", "nothing tells which pictures show one place, so each is a place of its own"),
    "duplicate-question": Kind("warning", "one question about one image is asked twice"),
    "unscored": Kind("warning", "no subtype: the row can be learnt from, but is not asked"),
    "single-label": Kind("warning", "a subtype has one answer only"),
    "low-entropy": Kind("warning", "a subtype has nearly one answer only"),
    "high-blind-baseline": Kind("warning", "a constant answer scores high"),
    "quoted-threshold": Kind("note", "the rationale quotes the rule's number instead of what is seen"),
    "other-words": Kind("note", "the answer is in other words than those that it is scored as"),
}
"""Stable: scripts and experiments name them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Faults of one file that are described in the same words."""

    what: str
    numbers: tuple[int, ...]
    """lines, or items of an array, in their order"""


Faults = Iterable[tuple[int, str]]
"""(line or item, what is wrong there)"""


def grouped(faults: Faults) -> tuple[Group, ...]:
    """All of them, the most frequent words first; of very many different ones, the later ones lose their words."""
    groups: dict[str, list[int]] = {}
    for number, what in faults:
        known = what if what in groups or len(groups) < MOST_GROUPS else OTHERS
        groups.setdefault(known, []).append(number)
    in_order = sorted(groups.items(), key=lambda item: (item[0] == OTHERS, -len(item[1])))
    return tuple(Group(what, tuple(numbers)) for what, numbers in in_order)


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault in one file, with how often and where."""

    code: str
    severity: Severity
    where: str
    """the file"""
    count: int
    message: str
    groups: tuple[Group, ...] = ()
    is_array: bool = False

    @property
    def examples(self) -> tuple[str, ...]:
        """`file:line`, or `file: item N` of an array, with what is wrong there; the first few."""
        faults = ((number, group.what) for group in self.groups for number in group.numbers)
        first = heapq.nsmallest(FIRST_PLACES, faults, key=lambda fault: fault[0])
        return tuple(f"{self.where}{': item ' if self.is_array else ':'}{number}: {what}" for number, what in first)

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {name: getattr(self, name) for name in ("code", "severity", "where", "count", "message")}
        groups = [{"what": group.what, "places": list(group.numbers)} for group in self.groups]
        return row | {"examples": list(self.examples), "groups": groups}


def finding(
    code: str,
    file: RowFile,
    count: int,
    message: str = "",
    faults: Faults = (),
    severity: Severity | None = None,
) -> Finding:
    """With the code's own severity and meaning where nothing else is said."""
    kind = CODES[code]
    words = message or kind.meaning
    return Finding(code, severity or kind.severity, str(file.path), count, words, grouped(faults), file.is_array)


@dataclass
class Tally:
    """The faults that were met while a file is read."""

    faults: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """code -> (line or item number, what is wrong there)"""

    @property
    def counts(self) -> dict[str, int]:
        return {code: len(faults) for code, faults in self.faults.items()}

    def add(self, code: str, number: int, what: str) -> None:
        self.faults.setdefault(code, []).append((number, what))


def check_code(code: str) -> None:
    """Raises ValueError for a code that does not exist."""
    if code not in CODES:
        raise ValueError(f"unknown finding {code!r}; {suggest(code, CODES)}")


def given_codes(given: Iterable[str]) -> tuple[str, ...]:
    """What `--allow` was given, a code each or several apart by commas. Raises UserError for what cannot be allowed."""
    try:
        return allowable([code for codes in given for code in codes.replace(",", " ").split()])
    except ValueError as error:
        raise UserError("--allow", str(error)) from None


def allowable(codes: Sequence[str]) -> tuple[str, ...]:
    """The codes, if a run can go on with each of them. Raises ValueError naming the first that it cannot."""
    for code in codes:
        check_code(code)
        if not CODES[code].allowable:
            raise ValueError(f"{code} cannot be allowed, as nothing can go on with it ({CODES[code].meaning})")
    return tuple(codes)
