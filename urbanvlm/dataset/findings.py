"""What can be wrong with a file of questions: the codes, how grave each is, and a finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from urbanvlm.errors import suggest

Severity = Literal["error", "warning", "note"]

FIRST_PLACES = 5
"""a finding names the first so many of its places"""


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
class Finding:
    """One kind of fault in one file, with how often and where first."""

    code: str
    severity: Severity
    where: str
    """the file"""
    count: int
    message: str
    examples: tuple[str, ...] = ()
    """`file:line`, or `file: item N` of an array, with what is wrong there; the first few"""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"examples": list(self.examples)}


def finding(
    code: str,
    where: object,
    count: int,
    message: str = "",
    examples: Iterable[str] = (),
    severity: Severity | None = None,
) -> Finding:
    """With the code's own severity and meaning where nothing else is said."""
    kind = CODES[code]
    return Finding(code, severity or kind.severity, str(where), count, message or kind.meaning, tuple(examples))


@dataclass
class Tally:
    """How often each fault was met, and the first places of each, while a file is read."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """code -> (line or item number, what is wrong there)"""

    def add(self, code: str, number: int, what: str) -> None:
        self.counts[code] = self.counts.get(code, 0) + 1
        places = self.first.setdefault(code, [])
        if len(places) < FIRST_PLACES:
            places.append((number, what))


def check_code(code: str) -> None:
    """Raises ValueError for a code that does not exist."""
    if code not in CODES:
        raise ValueError(f"unknown finding {code!r}; {suggest(code, CODES)}")


def allowable(codes: Sequence[str]) -> tuple[str, ...]:
    """The codes, if a run can go on with each of them. Raises ValueError naming the first that it cannot."""
    for code in codes:
        check_code(code)
        if not CODES[code].allowable:
            raise ValueError(f"{code} cannot be allowed, as nothing can go on with it ({CODES[code].meaning})")
    return tuple(codes)
