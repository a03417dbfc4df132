"""F1 and mean absolute error as functions of additive statistics per place, so that resampling places needs no rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from urbanvlm.dataset.taxonomy import NUMERIC_KINDS, AnswerKind, ScoreKind, Subtype
from urbanvlm.evaluate.parse import Parsed, Value

Array = NDArray[np.float64]
Average = Literal["macro", "weighted"]
SAME = 1e-9
"""numbers that differ by less are one: texts are read to nine decimals"""


@dataclass(frozen=True, slots=True)
class Row:
    """One asked example, its gold value, and what was read from the prediction."""

    example_id: str
    place: str
    subtype: Subtype
    gold: Value
    parsed: Parsed

    @property
    def correct(self) -> bool:
        """Whether the value read is the gold one; numbers agree to nine decimals."""
        value = self.parsed.value
        if isinstance(value, (int, float)) and isinstance(self.gold, (int, float)):
            return abs(value - self.gold) < SAME
        return value is not None and value == self.gold


class Measure(Protocol):
    """How a metric scores. Statistics of sets of rows add up; the score is a function of their sum."""

    def statistics(
        self,
        golds: Sequence[Value],
        guesses: Sequence[Value | None],
        kinds: Sequence[str],
        groups: NDArray[np.intp],
        count: int,
    ) -> Array:
        """(count, K): the sums over the rows of each group. A guess of None is unparsed or missing."""
        ...

    def value(self, totals: Array) -> Array:
        """(..., K) -> (...): the score of each sum of statistics."""
        ...

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        """(groups, K) -> (groups,): which groups have rows that the score depends on; of the others it says nothing."""
        ...

    @property
    def lower_is_better(self) -> bool: ...

    @property
    def worst(self) -> float:
        """The score when everything is wrong; of an error, the widest that an answer can make."""
        ...

    @property
    def largest(self) -> float:
        """No score is larger; infinity for an error that has no end, as the paper profile's."""
        ...


@dataclass(frozen=True)
class F1OfYes:
    """F1 of the answer yes, pooled over the rows: 2 TP / (2 TP + FP + FN).

    An unparsed answer counts as the wrong one: a false negative where the gold is yes, a false positive where it is no.
    Rows of a metric that ask for a class (`negation.exclusion_choice`, `multi_hop.which_is_more`) are choices to be
    found: the right class is a true positive, any other, or none, a false positive and a false negative.
    Without a gold or predicted yes nothing was answered wrong, and the score is 1.
    """

    lower_is_better: bool = False
    worst: float = 0.0
    largest: float = 1.0

    def statistics(
        self,
        golds: Sequence[Value],
        guesses: Sequence[Value | None],
        kinds: Sequence[str],
        groups: NDArray[np.intp],
        count: int,
    ) -> Array:
        right = np.fromiter((a == b for a, b in zip(golds, guesses, strict=True)), bool, len(golds))
        is_choice = np.fromiter((kind != "yes_no" for kind in kinds), bool, len(golds))
        gold_yes = np.fromiter((gold == "yes" for gold in golds), bool, len(golds))
        gold = is_choice | gold_yes
        guessed = is_choice | (right == gold_yes)
        return sums([gold & right, gold, guessed], groups, count)

    def value(self, totals: Array) -> Array:
        hits, gold, guessed = np.moveaxis(totals, -1, 0)
        f1: Array = np.divide(2 * hits, gold + guessed, out=np.ones_like(hits), where=gold + guessed > 0)
        return f1

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        bearing: NDArray[np.bool_] = np.any(statistics[:, 1:] > 0, axis=1)
        return bearing


@dataclass(frozen=True)
class F1OfClasses:
    """Mean over the gold classes of each one's F1, plain (`macro`) or weighted by its gold rows (`weighted`).

    The classes are those that occur as gold in the rows scored (in a resample: in that resample). A predicted class
    that is never gold, and an unparsed answer, miss the gold class but are no class of their own in the mean.
    """

    labels: tuple[Value, ...]
    average: Average = "macro"
    lower_is_better: bool = False
    worst: float = 0.0
    largest: float = 1.0

    def statistics(
        self,
        golds: Sequence[Value],
        guesses: Sequence[Value | None],
        kinds: Sequence[str],
        groups: NDArray[np.intp],
        count: int,
    ) -> Array:
        code = {label: index for index, label in enumerate(self.labels)}
        size = len(self.labels)
        gold = np.fromiter((code[value] for value in golds), np.intp, len(golds))
        guess = np.fromiter((-1 if v is None else code.get(v, -1) for v in guesses), np.intp, len(golds))

        hits = gold == guess
        return np.hstack(
            [
                label_counts(gold[hits], groups[hits], count, size),
                label_counts(gold, groups, count, size),
                label_counts(guess, groups, count, size),
            ]
        )

    def value(self, totals: Array) -> Array:
        hits, gold, guessed = np.split(totals, 3, axis=-1)
        f1 = np.divide(2 * hits, gold + guessed, out=np.zeros_like(hits), where=gold > 0)
        weights = gold if self.average == "weighted" else (gold > 0).astype(np.float64)
        return ratio((f1 * weights).sum(axis=-1), weights.sum(axis=-1))

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        bearing: NDArray[np.bool_] = statistics[:, len(self.labels) : 2 * len(self.labels)].sum(axis=1) > 0
        return bearing


@dataclass(frozen=True)
class MeanAbsoluteError:
    """Mean of |guess - gold|, no error larger than that of the value in `low`..`high` that is farthest from the gold.

    So far off counts an unparsed answer, which no constant answer is worse than, and a number that lies out of range: a
    slip such as 888888 would else outweigh all other rows.
    """

    low: float
    high: float
    lower_is_better: bool = True

    @property
    def worst(self) -> float:
        return self.high - self.low

    @property
    def largest(self) -> float:
        return self.worst

    def statistics(
        self,
        golds: Sequence[Value],
        guesses: Sequence[Value | None],
        kinds: Sequence[str],
        groups: NDArray[np.intp],
        count: int,
    ) -> Array:
        error = np.fmin(self._errors(golds, guesses), self._farthest(golds))  # NaN, of an unparsed one, loses
        error[error < SAME] = 0.0
        return sums([error, np.ones_like(error)], groups, count)

    def out_of_range(self, golds: Sequence[Value], guesses: Sequence[Value | None]) -> NDArray[np.bool_]:
        """Of each row: is a number so far off that it counts less than its error?"""
        # Sums of decimals that are equal on paper differ in their last digits.
        far: NDArray[np.bool_] = self._errors(golds, guesses) > self._farthest(golds) + SAME
        return far

    def _errors(self, golds: Sequence[Value], guesses: Sequence[Value | None]) -> Array:
        guess = np.array([math.nan if value is None else float(value) for value in guesses], dtype=np.float64)
        errors: Array = np.abs(guess - np.asarray(golds, dtype=np.float64))
        return errors

    def _farthest(self, golds: Sequence[Value]) -> Array:
        gold = np.asarray(golds, dtype=np.float64)
        farthest: Array = np.maximum(gold - self.low, self.high - gold)
        return farthest

    def value(self, totals: Array) -> Array:
        return ratio(totals[..., 0], totals[..., 1])

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        bearing: NDArray[np.bool_] = statistics[:, 1] > 0
        return bearing

    @classmethod
    def over(cls, golds: Sequence[float], kind: str) -> MeanAbsoluteError:
        """A share can be 0..1; another number 0 to the largest gold value, or to 1 where that is 0."""
        if kind == "share":
            return cls(0.0, 1.0)
        low, high = min(0.0, *golds), max(0.0, *golds)
        return cls(low, high if high > low else 1.0)


def strict_measure(
    score: ScoreKind, golds: Collection[Value], answer_kind: AnswerKind, average: Average = "macro"
) -> Measure:
    """How the strict profile scores rows of these gold values (at least one; numbers all of one answer kind)."""
    if score == "f1_yes":
        return F1OfYes()
    if score == "f1_macro":
        return F1OfClasses(tuple(sorted(set(golds), key=str)), average)
    return MeanAbsoluteError.over([gold for gold in golds if not isinstance(gold, str)], answer_kind)


def score_of_kind(kind: AnswerKind) -> ScoreKind:
    """How a single subtype scores, by its answers: yes or no, numbers, or classes."""
    if kind == "yes_no":
        return "f1_yes"
    return "mae" if kind in NUMERIC_KINDS else "f1_macro"


def ratio(parts: Array, whole: Array) -> Array:
    """NaN where the whole is 0."""
    ratio: Array = np.divide(parts, whole, out=np.full_like(parts, np.nan), where=whole > 0)
    return ratio


def sums(columns: Sequence[NDArray[np.bool_] | Array], groups: NDArray[np.intp], count: int) -> Array:
    """(count, columns): the sum of each column over the rows of each group."""
    return np.stack([np.bincount(groups, weights=column, minlength=count) for column in columns], axis=1)


def label_counts(labels: NDArray[np.intp], groups: NDArray[np.intp], count: int, size: int) -> Array:
    """(count, size): how many rows of each group have each label; rows of label -1 are in none."""
    cells = groups[labels >= 0] * size + labels[labels >= 0]
    return np.bincount(cells, minlength=count * size).reshape(count, size).astype(np.float64)
