"""Which of the possible questions are asked, so that guessing without looking does not pay. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from urbanvlm.dataset.rules.rule import Draft
from urbanvlm.dataset.taxonomy import NUMERIC_KINDS, SUBTYPES, Subtype

Key = TypeVar("Key", bound=Hashable)
Thing = tuple[str, ...]
"""what is asked about: objects, a factor, or nothing but the picture"""
Label = str | int
Available = Mapping[tuple[Thing, Label], int]

SHARE_BINS = 20
"""bins of 0.05 over which the shares of viewfactor.scalar are spread"""
METRES_PER_BIN = 2.0
"""width of the bins over which mean depths are spread"""


class Pool:
    """The possible questions of one subtype in one split, of which at most `limit` are chosen so that labels are even.

    Labels of a thing (an object, a pair, a factor): equally many of each for every thing, so that its name gives
    nothing away; Yes and No are then even in all. Labels of the picture: the scarcest first, and none is more than
    half. Numbers: for every thing as many below as above one and the same middle, spread over the values. Where only
    one label can be had, nothing is asked. The i-th question about a thing has the same words whatever its answer.
    """

    def __init__(self, subtype: str, limit: int, seed: str) -> None:
        self._subtype = SUBTYPES[subtype]
        self._limit = limit
        self._chance = Random(seed)  # noqa: S311
        self._groups: defaultdict[tuple[Thing, Label], list[Draft]] = defaultdict(list)
        self._offered: Counter[tuple[Thing, Label]] = Counter()

    def add(self, draft: Draft) -> None:
        """Of each label of each thing no more are kept than could be chosen, each with the same chance (algorithm R).

        Vitter 1985, ACM Trans. Math. Softw. 11:37-57. Memory then does not grow with the number of images.
        """
        key = (thing_of(draft), _label(draft, self._subtype))
        group = self._groups[key]
        self._offered[key] += 1
        if len(group) < self._limit:
            group.append(draft)
        elif (place := self._chance.randrange(self._offered[key])) < self._limit:
            group[place] = draft

    def choose(self) -> list[Draft]:
        if not self._groups:
            return []
        quotas = _quotas({key: len(group) for key, group in self._groups.items()}, self._limit, self._subtype)
        return [
            replace(draft, variant=str(number))
            for key, group in self._groups.items()
            for number, draft in enumerate(self._chance.sample(group, quotas.get(key, 0)))
        ]

    @property
    def labels(self) -> dict[Thing, set[Label]]:
        """What can be asked about -> the labels that are to be had for it."""
        found: defaultdict[Thing, set[Label]] = defaultdict(set)
        for thing, label in self._groups:
            found[thing].add(label)
        return found


def thing_of(draft: Draft) -> Thing:
    return tuple(draft.about.values())


def _label(draft: Draft, subtype: Subtype) -> Label:
    if subtype.answer_kind == "share":
        return int(float(draft.answer) * SHARE_BINS)
    if subtype.answer_kind == "number":
        return int(float(draft.answer) / METRES_PER_BIN)
    return int(draft.answer) if subtype.answer_kind == "integer" else draft.answer


def _quotas(available: Available, limit: int, subtype: Subtype) -> Mapping[tuple[Thing, Label], int]:
    if subtype.answer_kind in NUMERIC_KINDS:
        return _around_one_middle(available, limit)
    if any(thing for thing, _ in available):
        return _each_label_of_each_thing(available, limit)
    return _none_more_than_half(available, limit)


def _each_label_of_each_thing(available: Available, limit: int) -> dict[tuple[Thing, Label], int]:
    """Things that do not show every label are left out, or else their names would give those away."""
    labels: defaultdict[Thing, dict[Label, int]] = defaultdict(dict)
    for (thing, label), count in available.items():
        labels[thing][label] = count
    most = max(len(of_thing) for of_thing in labels.values())
    if most < 2:
        return {}
    rounds = {thing: min(of_thing.values()) for thing, of_thing in labels.items() if len(of_thing) == most}
    chosen = spread(rounds, limit // most)
    return {(thing, label): chosen[thing] for thing, label in available if thing in chosen}


def _none_more_than_half(available: Available, limit: int) -> dict[tuple[Thing, Label], int]:
    quotas = spread(available, limit)
    largest = max(quotas, key=lambda key: quotas[key])
    return quotas | {largest: min(quotas[largest], sum(quotas.values()) - quotas[largest])}


def _around_one_middle(available: Available, limit: int) -> dict[tuple[Thing, Label], int]:
    """The middle is the median of what is asked about each thing: no constant beats it, nor does one for every thing.

    It is the value that lets most be asked, or lies between two values if there are no three.
    """
    values = sorted({float(label) for _, label in available})
    middle, halves = _best_middle(available, values)
    if not halves.pairs:
        middle, halves = _best_middle(available, [value + 0.5 for value in values])
    at_middle = {thing: count for (thing, label), count in available.items() if label == middle}
    chosen: dict[Thing, int] = {}
    between: dict[Thing, int] = {}
    for pairs in range(min(limit // 2, sum(halves.pairs.values())), 0, -1):
        chosen = spread(halves.pairs, pairs)
        between = {thing: min(at_middle.get(thing, 0), count) for thing, count in chosen.items()}
        if 2 * sum(chosen.values()) + sum(between.values()) <= limit:
            break
    between = spread(between, limit - 2 * sum(chosen.values()))
    quotas: dict[tuple[Thing, Label], int] = {(thing, int(middle)): count for thing, count in between.items() if count}
    for thing, count in chosen.items():
        for half in (halves.below, halves.above):
            quotas |= spread({(thing, label): have for label, have in half[thing].items()}, count)
    return quotas


def _best_middle(available: Available, values: Sequence[float]) -> tuple[float, _Halves]:
    found = [(value, _halves(available, value)) for value in values]
    return max(found, key=lambda item: sum(item[1].pairs.values()))


class _Halves:
    """What there is below and above a middle, for each thing."""

    def __init__(self) -> None:
        self.below: defaultdict[Thing, dict[Label, int]] = defaultdict(dict)
        self.above: defaultdict[Thing, dict[Label, int]] = defaultdict(dict)

    @property
    def pairs(self) -> dict[Thing, int]:
        things = self.below.keys() & self.above.keys()
        return {thing: min(sum(self.below[thing].values()), sum(self.above[thing].values())) for thing in things}


def _halves(available: Available, middle: float) -> _Halves:
    halves = _Halves()
    for (thing, label), count in available.items():
        if label != middle:
            (halves.below if float(label) < middle else halves.above)[thing][label] = count
    return halves


def spread(available: Mapping[Key, int], total: int) -> dict[Key, int]:
    """Share out `total` as evenly as what is available allows: the scarcest give all they have."""
    quotas: dict[Key, int] = {}
    left = total
    # str: keys of one call are of one shape, and need an order that does not depend on how they came.
    for position, key in enumerate(sorted(available, key=lambda key: (available[key], str(key)))):
        quotas[key] = min(available[key], left // (len(available) - position))
        left -= quotas[key]
    return quotas


def label_counts(answers: Sequence[str], subtype: Subtype) -> Counter[str]:
    """How often each label occurs; shares in tenths and metres in tens, so that a table of them can be read."""
    if subtype.answer_kind == "share":
        return Counter(f"{min(int(float(answer) * 10), 9) / 10:.1f}–" for answer in answers)
    if subtype.answer_kind == "number":
        return Counter(f"{int(float(answer) / 10) * 10}–" for answer in answers)
    return Counter(answers)
