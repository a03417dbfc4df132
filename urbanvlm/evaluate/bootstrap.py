"""Scores of resampled places: what else a score could have been, had other places been seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from urbanvlm.evaluate.intervals import Ends, Scale, exact_ends, studentised_ends
from urbanvlm.evaluate.metrics import Array, Measure

_CHUNK_CELLS = 2_000_000
_CHUNK_PLACES = 50_000


@dataclass(frozen=True)
class Clustered:
    """A measure with the sums of its statistics over the rows of each place that has any."""

    measure: Measure
    places: NDArray[np.integer[Any]]
    """(n,) ascending; numbers of the dataset's places"""
    statistics: Array
    """(n, K)"""

    @property
    def value(self) -> float:
        return float(self.measure.value(self.statistics.sum(axis=0)))

    @property
    def bearing(self) -> NDArray[np.bool_]:
        """(n,): which of the places have rows that the score depends on."""
        return self.measure.bears(self.statistics)

    @property
    def is_at_an_end(self) -> bool:
        """Is everything right, or all as wrong as can be: does every resample agree, and none say how sure that is?"""
        best = 0.0 if self.measure.lower_is_better else 1.0
        return any(math.isclose(self.value, end, rel_tol=1e-12, abs_tol=1e-12) for end in (best, self.measure.worst))

    def influences(self) -> Array:
        """(n,): by how much the score is higher for each place, from leaving it out (jackknife); 0 if not bearing."""
        totals, bearing = self.statistics.sum(axis=0), self.bearing
        without = np.zeros(len(self.places))
        for start in range(0, len(without), _CHUNK_PLACES):
            part = slice(start, start + _CHUNK_PLACES)
            without[part] = self.measure.value(totals - self.statistics[part])
        without[~bearing] = 0.0
        influences: Array = np.where(bearing, without[bearing].mean() - without, 0.0)
        return influences


def resampled(parts: Sequence[Clustered], places: int, resamples: int, seed: int) -> list[Array]:
    """(resamples,) for each part: its score in every resample, NaN where a resample has no row that it depends on.

    Rows of one place see the same street, so places are drawn with replacement, as many as there are, and each brings
    all its rows (cluster bootstrap: Field and Welsh 2007, J. R. Stat. Soc. B 69:369-390). All parts share the draws, so
    that they can be combined draw by draw; places in a fixed order and one seed give the same draws again.
    """
    if not parts:
        return []
    values = [np.empty(resamples) for _ in parts]
    done = 0
    for counts in _draws(places, resamples, seed):
        for part, out in zip(parts, values, strict=True):
            chosen = counts if len(part.places) == places else counts[:, part.places]
            totals = chosen @ part.statistics
            out[done : done + len(counts)] = np.where(part.measure.bears(totals), part.measure.value(totals), np.nan)
        done += len(counts)
    return values


def ends_of(part: Clustered, values: Array) -> Ends | None:
    """95 % interval of a score from its values in the resamples; None where fewer than two places bear on it."""
    bearing = part.bearing
    if len(part.places) < 2:
        return None
    if part.is_at_an_end:
        return exact_ends(part.value, int(bearing.sum()), part.measure.worst, part.measure.lower_is_better)
    scale: Scale = "log" if part.measure.lower_is_better else "logit"
    ends = studentised_ends(part.value, values, part.influences()[bearing], scale)
    return None if ends is None else (ends[0], max(part.value, min(ends[1], part.measure.largest)))


def interval(measure: Measure, statistics: Array, resamples: int, seed: int) -> Ends | None:
    """95 % interval of a single score from the (places, K) statistics; see `ends_of`."""
    part = Clustered(measure, np.arange(len(statistics)), statistics)
    return ends_of(part, resampled([part], len(statistics), resamples, seed)[0])


def _draws(places: int, resamples: int, seed: int) -> Iterator[Array]:
    """(some resamples, places): how often each place was drawn; one resample after the other, whatever the chunks."""
    rng = np.random.default_rng(seed)
    size = max(1, min(resamples, _CHUNK_CELLS // places))
    for start in range(0, resamples, size):
        counts = np.empty((min(size, resamples - start), places))
        for row in counts:
            row[:] = np.bincount(rng.integers(0, places, size=places), minlength=places)
        yield counts
