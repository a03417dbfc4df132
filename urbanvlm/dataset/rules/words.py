"""How the questions and rationales name things, numbers and amounts."""

from __future__ import annotations

from collections.abc import Sequence

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PLURALS = {"person": "people", "skis": "skis", "scissors": "scissors", "sheep": "sheep", "knife": "knives"}


def plural(name: str) -> str:
    if name in _PLURALS:
        return _PLURALS[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"


def a_or_an(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def number(count: int) -> str:
    return NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else str(count)


def counted(name: str, count: int) -> str:
    """`no cars`, `one car`, `three cars`, `12 cars`"""
    return f"{number(count)} {name if count == 1 else plural(name)}"


def listed(names: Sequence[str]) -> str:
    """`a car, a bus or a tree`"""
    return " or ".join([*([", ".join(names[:-1])] if names[:-1] else []), *names[-1:]])


def yes_no(truth: bool) -> str:
    return "Yes" if truth else "No"


def amount(share: float, limit: float, up_to: Sequence[str], beyond: Sequence[str]) -> str:
    """Words for a share, finer than the two sides of the limit, none of them standing for both sides of it.

    `up_to`: words from nothing to the limit, which they include; `beyond`: from there to everything.
    """
    if share <= limit:
        return _part(share, limit, up_to)
    return _part(share - limit, 1 - limit, beyond)


def _part(value: float, whole: float, words: Sequence[str]) -> str:
    return words[min(int(len(words) * value / whole), len(words) - 1)] if whole > 0 else words[-1]
