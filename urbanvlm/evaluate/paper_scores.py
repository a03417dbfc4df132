"""The paper profile's scores as measures: F1 of yes, F1 over all classes that occur, mean absolute error.

They equal scikit-learn's `f1_score` and `mean_absolute_error` with their defaults. That the published
scorer calls them so is an assumption: the labels averaged are all that occur, gold or predicted, and F1 without a yes
on either side is 0 (`zero_division`). The yes of `pos_label=1` is `paper.YES`.

A guess of None is a row that the profile leaves out: it counts in no measure, and the score of no rows is NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from urbanvlm.dataset.taxonomy import ScoreKind
from urbanvlm.evaluate.metrics import Array, Average, label_counts, ratio, sums
from urbanvlm.evaluate.paper import YES, paper_group
from urbanvlm.evaluate.parse import Value

_STRAYS = 32
"""Classes that are never gold and yet get a column of their own: enough for all that recur, few enough for memory."""


def paper_score_kind(subtype: str) -> ScoreKind | None:
    """How the published scorer scores a subtype; all subtypes of one metric agree. None where it does not."""
    group = paper_group(subtype)
    if group is None:
        return None
    if group in ("scalar", "number"):
        return "mae"
    by_class = ("negation", "multi_hop", "counterfactual", "spatial.relation")
    is_yes_no = group == "yes_no" and not any(name in subtype for name in by_class)
    return "f1_yes" if is_yes_no else "f1_macro"


@dataclass(frozen=True)
class PaperF1OfYes:
    """F1 of YES, pooled over the rows: 2 TP / (2 TP + FP + FN); 0 where neither a gold value nor a guess is YES."""

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
        kept = _kept(guesses)
        gold = _where(golds, YES) & kept
        guessed = _where(guesses, YES)
        return sums([gold & guessed, gold, guessed, kept], groups, count)

    def value(self, totals: Array) -> Array:
        hits, gold, guessed, rows = np.moveaxis(totals, -1, 0)
        f1 = np.divide(2 * hits, gold + guessed, out=np.zeros_like(hits), where=gold + guessed > 0)
        score: Array = np.where(rows > 0, f1, np.nan)
        return score

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        bearing: NDArray[np.bool_] = statistics[:, 1] + statistics[:, 2] > 0
        return bearing


@dataclass(frozen=True)
class PaperMeanAbsoluteError:
    """Mean of |guess - gold|. `worst`, the width of the gold values, bounds an error of which none was seen."""

    worst: float
    lower_is_better: bool = True
    largest: float = math.inf

    def statistics(
        self,
        golds: Sequence[Value],
        guesses: Sequence[Value | None],
        kinds: Sequence[str],
        groups: NDArray[np.intp],
        count: int,
    ) -> Array:
        kept = _kept(guesses)
        guess = np.array([np.nan if value is None else value for value in guesses], dtype=np.float64)
        error = np.where(kept, np.abs(guess - np.asarray(golds, dtype=np.float64)), 0.0)
        return sums([error, kept], groups, count)

    def value(self, totals: Array) -> Array:
        return ratio(totals[..., 0], totals[..., 1])

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        return _has_rows(statistics)


@dataclass(frozen=True)
class PaperF1OfClasses:
    """Mean F1 of the classes that occur as gold or as guess, plain (`macro`) or weighted by gold rows (`weighted`).

    A class that is only ever guessed scores 0 and so only adds to the number of classes. Those guessed most have a
    column each and count where they occur. A model that rambles makes thousands of the rest; each of them is spread
    over its rows, 1 / (their number) each: they sum to 1 over all rows, to about 1 in a resample.
    """

    labels: tuple[Value, ...]
    """gold values"""
    strays: tuple[Value, ...]
    """never gold, with a column each"""
    rare: Mapping[Value, float]
    """never gold, without one -> what a row adds to the number of classes"""
    average: Average = "macro"
    lower_is_better: bool = False
    worst: float = 0.0
    largest: float = 1.0

    @classmethod
    def over(
        cls, golds: Iterable[Value], guesses: Iterable[Value | None], average: Average = "macro"
    ) -> PaperF1OfClasses:
        """For rows of these gold values and guesses; `guesses` has every row's, or is a Counter of them."""
        known, guessed = set(golds), Counter(guesses)
        strays = [value for value in guessed if value is not None and value not in known]
        strays.sort(key=lambda value: (-guessed[value], _order(value)))
        rare = {value: 1 / guessed[value] for value in strays[_STRAYS:]}
        return cls(tuple(sorted(known, key=_order)), tuple(strays[:_STRAYS]), rare, average)

    def statistics(
        self,
        golds: Sequence[Value],
        guesses: Sequence[Value | None],
        kinds: Sequence[str],
        groups: NDArray[np.intp],
        count: int,
    ) -> Array:
        kept = _kept(guesses)
        columns = {value: column for column, value in enumerate(self.labels + self.strays)}
        gold = np.fromiter((columns[g] if k else -1 for g, k in zip(golds, kept, strict=True)), np.intp, len(golds))
        guess = np.fromiter((-1 if v is None else columns.get(v, -1) for v in guesses), np.intp, len(guesses))
        rare = np.fromiter((0.0 if v is None else self.rare.get(v, 0.0) for v in guesses), np.float64, len(guesses))
        return np.hstack(
            [
                label_counts(gold[gold == guess], groups[gold == guess], count, len(self.labels)),
                label_counts(gold, groups, count, len(self.labels)),
                label_counts(guess, groups, count, len(columns)),
                sums([rare], groups, count),
            ]
        )

    def value(self, totals: Array) -> Array:
        known = len(self.labels)
        hits, gold, guess, strays, rare = np.split(totals, np.cumsum([known, known, known, len(self.strays)]), axis=-1)
        f1 = np.divide(2 * hits, gold + guess, out=np.zeros_like(hits), where=gold + guess > 0)
        if self.average == "weighted":
            return ratio((f1 * gold).sum(axis=-1), gold.sum(axis=-1))
        classes = (gold + guess > 0).sum(axis=-1) + (strays > 0).sum(axis=-1) + rare[..., 0]
        return ratio(f1.sum(axis=-1), classes)

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        return _has_rows(statistics)


def _kept(guesses: Sequence[Value | None]) -> NDArray[np.bool_]:
    return np.fromiter((guess is not None for guess in guesses), bool, len(guesses))


def _where(values: Sequence[Value | None], value: Value) -> NDArray[np.bool_]:
    return np.fromiter((other == value for other in values), bool, len(values))


def _order(value: Value) -> tuple[bool, str]:
    return isinstance(value, str), str(value)


def _has_rows(statistics: Array) -> NDArray[np.bool_]:
    bearing: NDArray[np.bool_] = np.any(statistics > 0, axis=1)
    return bearing
