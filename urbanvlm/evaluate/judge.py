"""What every prediction says beside what is right, in columns: a million rows are judged in the memory of a few."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.metrics import Row
from urbanvlm.evaluate.parse import Parsed, Status, Value, subtype_of
from urbanvlm.evaluate.profiles import Profile, Strict
from urbanvlm.records import Example, Prediction

SUBTYPE_NAMES = tuple(SUBTYPES)
_STATUSES: tuple[Status, ...] = ("answer", "unparsed", "missing")
_UNPARSED, _MISSING = -1, -2


@dataclass(frozen=True, slots=True)
class Judged:
    """Every row, in the order of the examples."""

    ids: Sequence[str]
    place_names: Sequence[str]
    """ascending"""
    places: NDArray[np.int32]
    """number in place_names"""
    subtypes: NDArray[np.int16]
    """number in SUBTYPE_NAMES"""
    values: Sequence[Value]
    golds: NDArray[np.int32]
    """number in values"""
    guesses: NDArray[np.int32]
    """number in values, or -1 where none was read"""
    statuses: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self) -> Iterator[Row]:
        for id_, place, subtype, gold, guess, status in zip(
            self.ids, self.places, self.subtypes, self.golds, self.guesses, self.statuses, strict=True
        ):
            parsed = Parsed(_STATUSES[status], None if guess < 0 else self.values[guess])
            name = SUBTYPE_NAMES[subtype]
            yield Row(id_, self.place_names[place], SUBTYPES[name], self.values[gold], parsed)

    def take(self, order: NDArray[np.intp]) -> Judged:
        """The rows of these numbers."""
        return replace(
            self,
            ids=[self.ids[number] for number in order],
            places=self.places[order],
            subtypes=self.subtypes[order],
            golds=self.golds[order],
            guesses=self.guesses[order],
            statuses=self.statuses[order],
        )

    @property
    def answered(self) -> NDArray[np.bool_]:
        answered: NDArray[np.bool_] = self.statuses == _STATUSES.index("answer")
        return answered

    @property
    def missing(self) -> int:
        return int((self.statuses == _STATUSES.index("missing")).sum())

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Judged:
        """Raises UserError where two rows have one id."""
        return Judging(Strict()).judged_rows(rows)


@dataclass(slots=True)
class Judging:
    """Takes examples, then texts, one at a time, and keeps no more of them than the scores need."""

    profile: Profile
    numbers: dict[str, int] = field(default_factory=dict)
    """example id -> number of its row"""
    _places: dict[str, int] = field(default_factory=dict)
    _place: array[int] = field(default_factory=lambda: array("i"))
    _subtype: array[int] = field(default_factory=lambda: array("h"))
    _gold: array[int] = field(default_factory=lambda: array("i"))
    _guess: array[int] = field(default_factory=lambda: array("i"))
    """number of a value, or why there is none"""
    _question: list[str] = field(default_factory=list)
    _values: dict[tuple[type, Value], int] = field(default_factory=dict)
    _golds: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """(subtype as written, gold text) -> number of the subtype, number of the gold value"""
    _questions: dict[str, str] = field(default_factory=dict)

    def add(self, example: Example) -> None:
        """Raises UserError naming the example if its id is taken or its gold answer is none of its subtype."""
        key = (example.subtype, self.profile.gold_text(example))
        found = self._golds.get(key)
        if found is None:
            subtype = _SUBTYPE_NUMBERS[subtype_of(example).name]
            found = self._golds[key] = (subtype, self._number(self.profile.gold(example)))
        self._add(example.id, example.place, *found)
        self._question.append(self._questions.setdefault(example.question, example.question))

    def _add(self, id_: str, place: str, subtype: int, gold: int) -> None:
        index = len(self._gold)
        if self.numbers.setdefault(id_, index) != index:
            raise UserError(f"example {id_}", "two examples have this id", "give every row its own id")
        self._place.append(self._places.setdefault(place, len(self._places)))
        self._subtype.append(subtype)
        self._gold.append(gold)
        self._guess.append(_MISSING)

    def answer(self, index: int, text: str) -> bool:
        """False, and nothing done, where the row has an answer."""
        if self._guess[index] != _MISSING:
            return False
        value = self.profile.read(text, _SUBTYPES[self._subtype[index]], self._question[index]).value
        self._guess[index] = _UNPARSED if value is None else self._number(value)
        return True

    def question(self, index: int) -> str:
        return self._question[index]

    def _number(self, value: Value) -> int:
        # 2 and 2.0 are equal, and each is written as it was read.
        return self._values.setdefault((value.__class__, value), len(self._values))

    def finish(self) -> Judged:
        """Rows without a text are missing."""
        guesses = np.array(self._guess, dtype=np.int32)
        statuses = np.clip(-guesses, 0, 2).astype(np.int8)
        subtypes = np.array(self._subtype, dtype=np.int16)
        for number in np.unique(subtypes[guesses == _MISSING]):
            value = self.profile.read(None, _SUBTYPES[number], "").value
            filled = _UNPARSED if value is None else self._number(value)
            guesses[(guesses == _MISSING) & (subtypes == number)] = filled
        return self._judged(guesses, statuses)

    def _judged(self, guesses: NDArray[np.int32], statuses: NDArray[np.int8]) -> Judged:
        names = sorted(self._places)
        order = np.empty(len(names), dtype=np.int32)
        order[[self._places[name] for name in names]] = np.arange(len(names))
        return Judged(
            ids=tuple(self.numbers),
            place_names=names,
            places=order[np.array(self._place, dtype=np.int32)],
            subtypes=np.array(self._subtype, dtype=np.int16),
            values=[value for _, value in self._values],
            golds=np.array(self._gold, dtype=np.int32),
            guesses=guesses,
            statuses=statuses,
        )

    def judged_rows(self, rows: Iterable[Row]) -> Judged:
        """Rows that were judged before. Raises UserError where two have one id."""
        statuses = array("b")
        for index, row in enumerate(rows):
            self._add(row.example_id, row.place, _SUBTYPE_NUMBERS[row.subtype.name], self._number(row.gold))
            self._guess[index] = _UNPARSED if row.parsed.value is None else self._number(row.parsed.value)
            statuses.append(_STATUSES.index(row.parsed.status))
        return self._judged(np.array(self._guess, dtype=np.int32), np.array(statuses, dtype=np.int8))


_SUBTYPES = tuple(SUBTYPES.values())
_SUBTYPE_NUMBERS = {name: number for number, name in enumerate(SUBTYPE_NAMES)}


def judge(examples: Sequence[Example], predictions: Mapping[str, Prediction], profile: Profile) -> list[Row]:
    """Every example with its gold value and what its prediction says, in the examples' order.

    An example without a prediction is missing. Raises UserError for an answer to an example that does not exist, two
    examples of one id, an unknown subtype, and a gold answer that is none of its subtype.
    """
    judging = Judging(profile)
    for example in examples:
        judging.add(example)
    if unknown := predictions.keys() - judging.numbers.keys():
        raise UserError(
            f"prediction for {min(unknown)}",
            f"no such example ({len(unknown)} of {len(predictions)} predictions)",
            "score predictions with the examples they were made for",
        )
    for id_, prediction in predictions.items():
        judging.answer(judging.numbers[id_], prediction.text)
    return list(judging.finish().rows())


def gold_counts(examples: Iterable[Example], profile: Profile) -> dict[str, Counter[Value]]:
    """subtype -> how often each gold value occurs; a row without a usable one says nothing about its subtype."""
    counts: dict[str, Counter[Value]] = {}
    found: dict[tuple[str, str], Value | None] = {}
    for example in examples:
        key = (profile.gold_text(example), example.subtype)
        if key not in found:
            found[key] = _gold_or_none(example, profile)
        value = found[key]
        if value is not None:
            counts.setdefault(example.scored_subtype, Counter())[value] += 1
    return counts


def _gold_or_none(example: Example, profile: Profile) -> Value | None:
    try:
        subtype_of(example)
        return profile.gold(example)
    except UserError:
        return None
