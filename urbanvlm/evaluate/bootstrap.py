"""95 % intervals of a score by resampling places."""

from __future__ import annotations

import numpy as np

from urbanvlm.evaluate.metrics import Array, Measure

_TAIL = 0.025
_CHUNK_CELLS = 2_000_000


def interval(measure: Measure, statistics: Array, resamples: int, seed: int) -> tuple[float, float] | None:
    """95 % percentile interval over resampled places, from the (places, K) statistics; it always holds the score.

    Rows of one place see the same street, so places are drawn with replacement, as many as there are, and each brings
    all its rows (cluster bootstrap: Field and Welsh 2007, J. R. Stat. Soc. B 69:369-390). Places in a fixed order and
    one seed give the same draws for every model, so that two models can be compared draw by draw.

    None for fewer than two places: they say nothing about how places differ. Where every answer is right, or F1 is 0,
    all resamples agree and the percentiles would claim certainty; the open end is then the exact (Clopper-Pearson)
    bound for a share of which n of n were seen, 0.025^(1/n), with n the places that have rows the score depends on:
    [0.025^(1/n), 1] for F1 = 1, [0, 1 - 0.025^(1/n)] for F1 = 0, and for an error of 0 that share of the largest error.
    """
    places = len(statistics)
    if places < 2:
        return None
    value = float(measure.value(statistics.sum(axis=0)))
    best = 0.0 if measure.lower_is_better else 1.0
    if value == best or (value == measure.worst and not measure.lower_is_better):
        return _at_the_end(measure, statistics, value, best)
    low, high = np.quantile(resampled_values(measure, statistics, resamples, seed), [_TAIL, 1 - _TAIL])
    return min(float(low), value), max(float(high), value)


def resampled_values(measure: Measure, statistics: Array, resamples: int, seed: int) -> Array:
    """(resamples,): the score of each resample of the places."""
    places = len(statistics)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // places)
    values = [
        measure.value(_draw_counts(rng, min(chunk, resamples - done), places) @ statistics)
        for done in range(0, resamples, chunk)
    ]
    return np.concatenate(values)


def _draw_counts(rng: np.random.Generator, resamples: int, places: int) -> Array:
    """(resamples, places): how often each place was drawn; one resample after the other, so chunks do not matter."""
    counts = np.empty((resamples, places))
    for row in counts:
        row[:] = np.bincount(rng.integers(0, places, size=places), minlength=places)
    return counts


def _at_the_end(measure: Measure, statistics: Array, value: float, best: float) -> tuple[float, float]:
    bearing = max(1, int(measure.bears(statistics).sum()))
    unseen = 1 - _TAIL ** (1 / bearing)
    other = value + unseen * ((measure.worst if value == best else 1.0) - value)
    return min(value, other), max(value, other)
