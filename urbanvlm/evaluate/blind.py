"""What a guesser scores that knows how often each answer is right but sees neither picture nor question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from urbanvlm.evaluate.metrics import NUMERIC_KINDS, Measure, Row
from urbanvlm.evaluate.parse import Value

References = Mapping[str, Counter[Value]]
"""subtype -> how often each gold value occurs in the training split"""


def blind_baseline(measure: Measure, rows: Sequence[Row], references: References) -> float:
    """The best score that one constant answer per subtype reaches on the rows, of the answers the reference favours.

    That is the most frequent answer of the training split; for numbers its median, the constant with the least absolute
    error. Among equals (tied labels, the two middle values) the one that scores higher counts. A subtype without
    training rows takes its answer from the rows themselves.
    """
    counts: dict[str, Counter[Value]] = {}
    kinds: dict[str, str] = {}
    for row in rows:
        counts.setdefault(row.subtype.name, Counter())[row.gold] += 1
        kinds[row.subtype.name] = row.subtype.answer_kind
    candidates = [favourites(references.get(name) or counts[name], kind) for name, kind in kinds.items()]
    totals = [
        [_totals(measure, counts[name], guess, kinds[name]) for guess in guesses]
        for name, guesses in zip(kinds, candidates, strict=True)
    ]
    scores = [float(measure.value(np.sum(choice, axis=0))) for choice in product(*totals)]
    return min(scores) if measure.lower_is_better else max(scores)


def favourites(counts: Counter[Value], kind: str) -> list[Value]:
    """The equally good constant answers: the most frequent labels, or the lower and the upper median."""
    if kind in NUMERIC_KINDS:
        ordered = sorted(value for value in counts.elements() if not isinstance(value, str))
        return sorted({ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]})
    most = max(counts.values())
    return sorted((value for value, count in counts.items() if count == most), key=str)


def _totals(measure: Measure, golds: Counter[Value], guess: Value, kind: str) -> np.ndarray:
    values = list(golds)
    one_group_each = np.arange(len(values))
    statistics = measure.statistics(values, [guess] * len(values), [kind] * len(values), one_group_each)
    return np.array(list(golds.values()), dtype=np.float64) @ statistics
