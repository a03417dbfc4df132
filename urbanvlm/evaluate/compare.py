"""How two scorings of the same rows differ: paired differences with intervals, and the study's gain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from urbanvlm.errors import UserError
from urbanvlm.evaluate.intervals import difference_of
from urbanvlm.evaluate.judge import Judged
from urbanvlm.evaluate.metrics import Array, Row
from urbanvlm.evaluate.parts import Group, Key, Part, Sampled
from urbanvlm.evaluate.profiles import Profile
from urbanvlm.records import Score


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much the second scoring is better than the first, on a metric, group or subtype: + is better."""

    level: str
    name: str
    difference: float
    low: float | None
    high: float | None
    """95 % interval; None where fewer than two places bear on the scores"""
    p: float | None
    """how often chance alone would make a difference as large, either way; None where there is no interval"""


def paired(
    first: Iterable[Row], second: Iterable[Row], *, profile: Profile, resamples: int, seed: int
) -> list[Difference]:
    """Every metric by its macro average, then the groups, then the subtypes; rows as `profile` judged them.

    Both are scored in the same resamples of the places, so what is hard about a place counts for both (paired cluster
    bootstrap). Raises UserError where the two are not about the same examples with the same gold answers.
    """
    one, other = (rows if isinstance(rows, Judged) else Judged.of(rows) for rows in (first, second))
    other = _in_order_of(one, other)
    samples = [Sampled.of(judged, profile, resamples, seed) for judged in (one, other)]
    befores, afters = (_by_key(sampled) for sampled in samples)
    return [
        _difference(before, afters[key], samples[0], samples[1].values)
        for key, before in befores.items()
        if key[2] != "weighted"
    ]


def _by_key(sampled: Sampled) -> dict[Key, Part | Group]:
    parts = sampled.parts
    metrics, subtypes = ([part for part in parts if part.key[0] == level] for level in ("metric", "subtype"))
    everything: list[Part | Group] = [*metrics, *sampled.groups, *subtypes]
    return {one.key: one for one in everything}


def _difference(first: Part | Group, second: Part | Group, sampled: Sampled, values: Mapping[Key, Array]) -> Difference:
    sign = -1 if first.lower_is_better else 1
    drawn = sign * (second.draws(values) - first.draws(sampled.values))
    influences = [one.influences(sampled.places) for one in (first, second)]
    bearing = ~np.isnan(influences).all(axis=0)
    change = sign * (np.nan_to_num(influences[1]) - np.nan_to_num(influences[0]))[bearing]
    value = sign * (second.value - first.value)
    found = difference_of(value, drawn, change, first.worst if first.lower_is_better else 1.0)
    if found is None:
        return Difference(first.key[0], first.key[1], value, None, None, None)
    low, high, p = found
    if not first.lower_is_better:
        low, high = max(-1.0, low), min(1.0, high)
    return Difference(first.key[0], first.key[1], value, low, high, p)


def _in_order_of(first: Judged, second: Judged) -> Judged:
    """The second's rows in the first's order."""
    if only := set(first.ids).symmetric_difference(second.ids):
        raise UserError(
            "rows to compare",
            f"{len(only)} of {len(set(first.ids).union(second.ids))} examples are in one of the two only, such as "
            f"{min(only)!r}",
            "compare answers to the same questions",
        )
    numbers = {id_: number for number, id_ in enumerate(second.ids)}
    order = np.array([numbers[id_] for id_ in first.ids], dtype=np.intp)
    other = second.take(order)
    for number, id_ in enumerate(first.ids):
        if first.values[first.golds[number]] != other.values[other.golds[number]]:
            raise UserError(
                f"example {id_}", "has two gold answers in the two", "compare answers to the same questions"
            )
    return other


def gain(before: Score | None, after: Score | None) -> float | None:
    """Of fine-tuning: (after - before) / before of an F1, (before - after) / before of an MAE, so + where it helped.

    None where one of the two is missing, or there is nothing to divide by.
    """
    if before is None or after is None or not before.value or after.value is None:
        return None
    change = (after.value - before.value) / before.value
    return -change if after.lower_is_better else change
