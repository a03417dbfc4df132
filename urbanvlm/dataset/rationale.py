"""What a rationale says at its end, and whether it quotes the rule instead of what is seen."""

from __future__ import annotations

import re

_DIGIT = re.compile("[0-9]")
_NUMBER = re.compile(r"(?<![\w.])(\d*\.?\d+)\s*(%|percent\b|m\b|met(?:er|re)s?\b)?")
_COMPARES = re.compile(
    r"(?:[<>≤≥]=?|\b(?:(?:more|less|greater|fewer|higher|lower|larger|smaller|bigger) than|above|below|over|under|"
    r"exceed(?:s|ed|ing)?|at (?:least|most)|up to)(?: or equal to)?(?: the| a)?)\s*$",
    re.IGNORECASE,
)
_LONGEST_COMPARISON = 40


def contradicts(rationale: str, answer: str) -> bool:
    """Does it end in another answer, or in none? Case, spaces and a full stop do not count."""
    if rationale.endswith(f"Answer: {answer}"):
        return False
    return last_answer(rationale) != plain(answer)


def last_answer(rationale: str) -> str | None:
    """What stands after the last `Answer:`, as `plain` gives it; None if nothing does."""
    _, marker, answer = plain(rationale).rpartition("answer:")
    return answer.strip() if marker else None


def plain(text: str) -> str:
    """Without regard to case, spaces and a full stop at the end."""
    return " ".join(text.split()).rstrip(".!").casefold()


def quotes_threshold(rationale: str) -> bool:
    """Does it name a threshold, or compare with a share, a percentage or a number of metres?

    Small counts may be compared: "more than 2 cars" can be seen.
    """
    if "hreshold" in rationale:
        return True
    end = rationale.rfind("Answer:")
    end = len(rationale) if end < 0 else end
    if _DIGIT.search(rationale, 0, end) is None:  # nearly always, and quickly told
        return False
    for number in _NUMBER.finditer(rationale, 0, end):
        digits, unit = number.groups()
        start = number.start()
        before = _COMPARES.search(rationale[max(0, start - _LONGEST_COMPARISON) : start])
        if before is not None and (unit or float(digits) >= 10 or "." in digits or not before[0][0].isalpha()):
            return True
    return False
