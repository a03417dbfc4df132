"""F1 and mean absolute error as functions of additive statistics per place, so that resampling places needs no rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from urbanvlm.dataset.taxonomy import Metric, Subtype
from urbanvlm.evaluate.parse import Parsed, Value

Array = NDArray[np.float64]
NUMERIC_KINDS = frozenset({"integer", "share", "number"})


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
            return abs(value - self.gold) < 1e-9
        return value is not None and value == self.gold


class Measure(Protocol):
    """How a metric scores. Statistics of sets of rows add up; the score is a function of their sum."""

    def statistics(
        self, golds: Sequence[Value], guesses: Sequence[Value | None], kinds: Sequence[str], groups: NDArray[np.intp]
    ) -> Array:
        """(number of groups, K): the sums over the rows of each group. A guess of None is unparsed or missing."""
        ...

    def value(self, totals: Array) -> Array:
        """(..., K) -> (...): the score of each sum of statistics."""
        ...

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        """(groups, K) -> (groups,): which groups have rows that the score depends on."""
        ...

    @property
    def lower_is_better(self) -> bool: ...

    @property
    def worst(self) -> float:
        """The score when everything is wrong; of an error, the widest that an unparsed answer can make."""
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

    def statistics(
        self, golds: Sequence[Value], guesses: Sequence[Value | None], kinds: Sequence[str], groups: NDArray[np.intp]
    ) -> Array:
        right = np.fromiter((a == b for a, b in zip(golds, guesses, strict=True)), bool, len(golds))
        is_choice = np.fromiter((kind != "yes_no" for kind in kinds), bool, len(golds))
        gold_yes = np.fromiter((gold == "yes" for gold in golds), bool, len(golds))
        gold = is_choice | gold_yes
        guessed = is_choice | (right == gold_yes)
        return _sums([gold & right, gold, guessed], groups)

    def value(self, totals: Array) -> Array:
        hits, gold, guessed = np.moveaxis(totals, -1, 0)
        f1: Array = np.divide(2 * hits, gold + guessed, out=np.ones_like(hits), where=gold + guessed > 0)
        return f1

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        bearing: NDArray[np.bool_] = statistics[:, 1] + statistics[:, 2] > 0
        return bearing


@dataclass(frozen=True)
class F1OfClasses:
    """Mean over the gold classes of each one's F1, plain (`macro`) or weighted by its gold rows (`weighted`).

    The classes are those that occur as gold in the rows scored (in a resample: in that resample). A predicted class
    that is never gold, and an unparsed answer, miss the gold class but are no class of their own in the mean.
    """

    labels: tuple[Value, ...]
    average: Literal["macro", "weighted"] = "macro"
    lower_is_better: bool = False
    worst: float = 0.0

    def statistics(
        self, golds: Sequence[Value], guesses: Sequence[Value | None], kinds: Sequence[str], groups: NDArray[np.intp]
    ) -> Array:
        code = {label: index for index, label in enumerate(self.labels)}
        size = len(self.labels)
        gold = np.fromiter((code[value] for value in golds), np.intp, len(golds))
        guess = np.fromiter((-1 if v is None else code.get(v, -1) for v in guesses), np.intp, len(golds))
        count = int(groups.max(initial=-1)) + 1

        def table(rows: NDArray[np.bool_], labels: NDArray[np.intp]) -> Array:
            cells = groups[rows] * size + labels[rows]
            return np.bincount(cells, minlength=count * size).reshape(count, size).astype(np.float64)

        everything = np.ones(len(golds), dtype=bool)
        return np.hstack([table(gold == guess, gold), table(everything, gold), table(guess >= 0, guess)])

    def value(self, totals: Array) -> Array:
        hits, gold, guessed = np.split(totals, 3, axis=-1)
        f1 = np.divide(2 * hits, gold + guessed, out=np.zeros_like(hits), where=gold > 0)
        weights = gold if self.average == "weighted" else (gold > 0).astype(np.float64)
        mean: Array = (f1 * weights).sum(axis=-1) / weights.sum(axis=-1)
        return mean

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        return np.ones(len(statistics), dtype=bool)


@dataclass(frozen=True)
class MeanAbsoluteError:
    """Mean of |guess - gold|. An unparsed answer errs as the value in `low`..`high` that is farthest from the gold."""

    low: float
    high: float
    lower_is_better: bool = True

    @property
    def worst(self) -> float:
        return self.high - self.low

    def statistics(
        self, golds: Sequence[Value], guesses: Sequence[Value | None], kinds: Sequence[str], groups: NDArray[np.intp]
    ) -> Array:
        gold = np.asarray(golds, dtype=np.float64)
        guess = np.array([np.nan if value is None else value for value in guesses], dtype=np.float64)
        farthest = np.maximum(gold - self.low, self.high - gold)
        error = np.where(np.isnan(guess), farthest, np.abs(guess - gold))
        return _sums([error, np.ones_like(error)], groups)

    def value(self, totals: Array) -> Array:
        mean: Array = totals[..., 0] / totals[..., 1]
        return mean

    def bears(self, statistics: Array) -> NDArray[np.bool_]:
        return np.ones(len(statistics), dtype=bool)

    @classmethod
    def over(cls, golds: Sequence[float], kind: str) -> MeanAbsoluteError:
        """With the range of the gold values; where they are all one value, widened so that no unparsed answer is right.

        A share's range then is 0..1, another's reaches from 0 to the value, or to 1 where it is 0.
        """
        low, high = float(min(golds)), float(max(golds))
        if low == high:
            low, high = (0.0, 1.0) if kind == "share" else (min(0.0, low), max(0.0, high) or float(low == 0))
        return cls(low, high)


def measure_for(metric: Metric, rows: Sequence[Row], average: Literal["macro", "weighted"] = "macro") -> Measure:
    """How the metric scores these rows (at least one, all of them of the metric)."""
    if metric.score == "f1_yes":
        return F1OfYes()
    if metric.score == "f1_macro":
        return F1OfClasses(tuple(sorted({row.gold for row in rows}, key=str)), average)
    golds = [row.gold for row in rows if not isinstance(row.gold, str)]
    return MeanAbsoluteError.over(golds, rows[0].subtype.answer_kind)


def _sums(columns: Sequence[NDArray[np.bool_] | Array], groups: NDArray[np.intp]) -> Array:
    """(groups, columns): the sum of each column over the rows of each group."""
    count = int(groups.max(initial=-1)) + 1
    return np.stack([np.bincount(groups, weights=column, minlength=count) for column in columns], axis=1)
