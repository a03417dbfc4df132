"""What of an image may be asked about: things for the rules' `about`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations, permutations

from urbanvlm.dataset.rules.rule import About
from urbanvlm.dataset.taxonomy import FACTORS, OBJECTS
from urbanvlm.records import Metadata

PLACED = (*OBJECTS, "building")
"""classes whose place and distance may be asked about even if nobody counts them"""


@cache
def named(**about: str) -> About:
    """One mapping for each thing, however many images it is asked about."""
    return about


def the_image(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
    """The image as a whole."""
    yield named()


def people_and(*others: str) -> Callable[[Metadata, Sequence[str]], Iterator[About]]:
    """The image as a whole, if these classes and people are known: to who knows no cars, none is no number of cars."""

    def about(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
        if {"person", *others} <= set(known):
            yield named()

    return about


def each_factor(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
    return (named(factor=factor) for factor in FACTORS if factor in metadata.view_factors)


def each_object(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
    """Every class that is known, there or not."""
    return (named(object=name) for name in known)


def objects_of(field: str) -> Callable[[Metadata, Sequence[str]], Iterator[About]]:
    """Classes that the field tells something about."""

    def about(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
        values = getattr(metadata, field)
        return (named(object=name) for name in _placed(known) if name in values)

    return about


def both_of_two(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
    return (named(object1=a, object2=b) for a, b in combinations(known, 2))


def one_before_another(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
    names = [name for name in _placed(known) if name in metadata.depth_order]
    return (named(object1=a, object2=b) for a, b in permutations(names, 2))


def one_behind_another(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
    pairs = permutations(_placed(known), 2) if metadata.occlusion_pairs else ()
    return (named(object1=a, object2=b) for a, b in pairs if f"{a}|{b}" in metadata.occlusion_pairs)


def three_less_one(metadata: Metadata, known: Sequence[str]) -> Iterator[About]:
    """Three classes of which all but one are there."""
    there = {name for name in known if metadata.objects.get(name, 0)}
    for names in combinations(known, 3):
        if len(there.intersection(names)) == 2:
            yield named(object1=names[0], object2=names[1], object3=names[2])


def _placed(known: Sequence[str]) -> Sequence[str]:
    return tuple(dict.fromkeys((*known, *PLACED)))
