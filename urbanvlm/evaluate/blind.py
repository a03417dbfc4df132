"""What a guesser scores that knows how often each answer is right but sees neither picture nor question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np

from urbanvlm.dataset.taxonomy import NUMERIC_KINDS, SUBTYPES, AnswerKind
from urbanvlm.evaluate.metrics import Measure
from urbanvlm.evaluate.parse import Value

Golds = Mapping[str, Counter[Value]]
"""subtype -> how often each gold value occurs"""
MeasureOf = Callable[[Counter[Value]], Measure]
"""guesses -> the measure of rows that are answered so"""


def blind_baseline(measure_of: MeasureOf, golds: Golds, references: Golds) -> float:
    """The best score that one constant answer per subtype reaches on the rows, of the answers the reference favours.

    That is the most frequent answer of the training split, the references; for numbers its median, the constant with
    the least absolute error. Among equals (tied labels, the two middle values) the one that scores higher counts. A
    subtype without training rows takes its answer from the rows themselves.
    """
    kinds = {name: SUBTYPES[name].answer_kind for name in golds}
    candidates = [favourites(references.get(name) or golds[name], kind) for name, kind in kinds.items()]
    scores, best = [], max
    for guesses in product(*candidates):
        measure = measure_of(_tally(guesses, golds))
        best = min if measure.lower_is_better else max
        totals = [_totals(measure, golds[name], guess, kinds[name]) for name, guess in zip(golds, guesses, strict=True)]
        scores.append(float(measure.value(np.sum(totals, axis=0))))
    return best(scores)


def favourites(counts: Counter[Value], kind: AnswerKind) -> list[Value]:
    """The equally good constant answers: the most frequent labels, or the lower and the upper median."""
    if kind in NUMERIC_KINDS:
        values = sorted(value for value in counts if not isinstance(value, str))
        ends = np.cumsum([counts[value] for value in values])
        low, high = np.searchsorted(ends, [(ends[-1] + 1) // 2, ends[-1] // 2 + 1])
        return sorted({values[low], values[high]})
    most = max(counts.values())
    return sorted((value for value, count in counts.items() if count == most), key=str)


def _tally(guesses: tuple[Value, ...], golds: Golds) -> Counter[Value]:
    tally: Counter[Value] = Counter()
    for guess, counts in zip(guesses, golds.values(), strict=True):
        tally[guess] += counts.total()
    return tally


def _totals(measure: Measure, golds: Counter[Value], guess: Value, kind: AnswerKind) -> np.ndarray:
    values = list(golds)
    one_group_each = np.arange(len(values))
    statistics = measure.statistics(values, [guess] * len(values), [kind] * len(values), one_group_each, len(values))
    return np.array(list(golds.values()), dtype=np.float64) @ statistics
