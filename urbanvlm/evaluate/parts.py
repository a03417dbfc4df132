"""What is scored: the rows of each metric and subtype, and the groups of metrics, ready to be resampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES, ScoreKind
from urbanvlm.evaluate.blind import Golds
from urbanvlm.evaluate.bootstrap import Clustered, ends_of, resampled
from urbanvlm.evaluate.intervals import Ends, studentised_ends
from urbanvlm.evaluate.judge import SUBTYPE_NAMES, Judged
from urbanvlm.evaluate.metrics import Array, Average, MeanAbsoluteError
from urbanvlm.evaluate.parse import Value
from urbanvlm.evaluate.profiles import Level, Profile

Key = tuple[Literal["metric", "group", "subtype"], str, Literal["", "macro", "weighted"]]
"""(level, name, average) as in a Score"""


@dataclass(frozen=True)
class Part:
    """The rows of one metric or subtype, with how they are scored."""

    key: Key
    kind: ScoreKind
    clustered: Clustered
    scored: int
    asked: int
    out_of_range: int
    """rows whose number is so far off that it counts less than its error"""
    golds: Golds

    @property
    def value(self) -> float:
        return self.clustered.value

    @property
    def lower_is_better(self) -> bool:
        return self.clustered.measure.lower_is_better

    @property
    def worst(self) -> float:
        return self.clustered.measure.worst

    @property
    def average(self) -> Average:
        return "weighted" if self.key[2] == "weighted" else "macro"

    def draws(self, values: Mapping[Key, Array]) -> Array:
        """(resamples,), of the resampled values of all parts."""
        return values[self.key]

    def influences(self, places: int) -> Array:
        """(places,), of all places of the dataset; NaN where a place has no row that the score depends on."""
        found = np.full(places, np.nan)
        bearing = self.clustered.bearing
        found[self.clustered.places[bearing]] = self.clustered.influences()[bearing]
        return found

    def ends(self, values: Mapping[Key, Array], places: int) -> Ends | None:
        """95 % interval; None where fewer than two places bear on the score."""
        return ends_of(self.clustered, self.draws(values))


@dataclass(frozen=True)
class Group:
    """The F1 metrics of one group of the table, whose mean is its score; an error has another unit and is left out."""

    key: Key
    members: Sequence[Part]
    lower_is_better: bool = False
    worst: float = 0.0

    @property
    def value(self) -> float:
        return float(np.mean([member.value for member in self.members]))

    @property
    def scored(self) -> int:
        return sum(member.scored for member in self.members)

    @property
    def asked(self) -> int:
        return sum(member.asked for member in self.members)

    @property
    def out_of_range(self) -> int:
        return sum(member.out_of_range for member in self.members)

    def draws(self, values: Mapping[Key, Array]) -> Array:
        mean: Array = np.mean([member.draws(values) for member in self.members], axis=0)
        return mean

    def influences(self, places: int) -> Array:
        each = np.stack([member.influences(places) for member in self.members])
        return np.where(np.isnan(each).all(axis=0), np.nan, np.nansum(each, axis=0) / len(each))

    def ends(self, values: Mapping[Key, Array], places: int) -> Ends | None:
        """The members at an end of their range do not vary in the resamples: what is open about them is added.

        The two halves are combined as independent ones are, by the root of their squares.
        """
        value, low, high = self.value, 0.0, 0.0
        certain = [member for member in self.members if member.clustered.is_at_an_end]
        for member in certain:
            ends = member.ends(values, places)
            if ends is None:
                return None
            low, high = low + member.value - ends[0], high + ends[1] - member.value
        low, high = low / len(self.members), high / len(self.members)
        if len(certain) < len(self.members):
            influences = self.influences(places)
            ends = studentised_ends(value, self.draws(values), influences[~np.isnan(influences)], "logit")
            if ends is None:
                return None
            low, high = float(np.hypot(low, value - ends[0])), float(np.hypot(high, ends[1] - value))
        return max(0.0, value - low), min(1.0, value + high)


@dataclass(frozen=True)
class Sampled:
    """All that was asked, scored as it is and in every resample of the places."""

    parts: Sequence[Part]
    """metrics, those that average classes by either average, then subtypes, in the order of the taxonomy"""
    groups: Sequence[Group]
    values: Mapping[Key, Array]
    """of the parts in the resamples"""
    places: int

    @classmethod
    def of(cls, judged: Judged, profile: Profile, resamples: int, seed: int) -> Sampled:
        parts = _parts(judged, profile)
        places = len(judged.place_names)
        values = resampled([part.clustered for part in parts], places, resamples, seed)
        by_key = {part.key: drawn for part, drawn in zip(parts, values, strict=True)}
        return cls(parts, _groups(parts), by_key, places)


def _groups(parts: Sequence[Part]) -> list[Group]:
    members: dict[str, list[Part]] = {}
    for part in parts:
        level, name, average = part.key
        if level == "metric" and average != "weighted" and METRICS[name].in_table and not part.lower_is_better:
            members.setdefault(METRICS[name].group, []).append(part)
    return [Group(("group", name, ""), each) for name, each in members.items()]


def _parts(judged: Judged, profile: Profile) -> list[Part]:
    metric_numbers = {key: number for number, key in enumerate(METRICS)}
    metric_of = np.array([metric_numbers[SUBTYPES[name].metric] for name in SUBTYPE_NAMES])
    metrics = metric_of[judged.subtypes]
    parts: list[Part] = []
    for key, number in metric_numbers.items():
        parts += _parts_of("metric", key, judged, np.flatnonzero(metrics == number), profile)
    for number, name in enumerate(SUBTYPE_NAMES):
        parts += _parts_of("subtype", name, judged, np.flatnonzero(judged.subtypes == number), profile)
    return parts


def _parts_of(level: Level, name: str, judged: Judged, rows: NDArray[np.intp], profile: Profile) -> list[Part]:
    if not len(rows):
        return []
    kind = profile.score_kind(level, name)
    cells = _Cells.of(judged, rows)
    answer_kinds = [SUBTYPES[subtype].answer_kind for subtype in cells.subtypes]
    places, place_of_row = np.unique(judged.places[rows], return_inverse=True)
    averages: tuple[Average, ...] = ("macro", "weighted") if kind == "f1_macro" and level == "metric" else ("macro",)
    parts = []
    for average in averages:
        measure = profile.measure(kind, SUBTYPES[cells.subtypes[0]], cells.gold_tally, cells.guess_tally, average)
        one_each = np.arange(len(answer_kinds))
        each = measure.statistics(cells.golds, cells.guesses, answer_kinds, one_each, len(one_each))
        clustered = Clustered(measure, places, _summed(each, cells.of_row, place_of_row, len(places)))
        key: Key = (level, name, average if kind == "f1_macro" else "")
        scored, out_of_range = int(judged.answered[rows].sum()), 0
        if isinstance(measure, MeanAbsoluteError):
            far = measure.out_of_range(cells.golds, cells.guesses)
            out_of_range = int(far @ np.array(cells.rows))
        parts.append(Part(key, kind, clustered, scored, len(rows), out_of_range, cells.golds_by_subtype))
    return parts


@dataclass(frozen=True)
class _Cells:
    """Rows of one subtype, gold value and guess score alike: each such cell once, with its number of rows."""

    subtypes: Sequence[str]
    golds: Sequence[Value]
    guesses: Sequence[Value | None]
    rows: Sequence[int]
    of_row: NDArray[np.intp]

    @classmethod
    def of(cls, judged: Judged, rows: NDArray[np.intp]) -> _Cells:
        size = len(judged.values) + 1
        guesses = judged.guesses[rows].astype(np.int64) + 1
        codes = (judged.subtypes[rows].astype(np.int64) * size + judged.golds[rows]) * size + guesses
        cells, of_row, counts = np.unique(codes, return_inverse=True, return_counts=True)
        values = [*judged.values, None]
        return cls(
            subtypes=[SUBTYPE_NAMES[number] for number in (cells // size // size).tolist()],
            golds=[judged.values[number] for number in (cells // size % size).tolist()],
            guesses=[values[number - 1] for number in (cells % size).tolist()],
            rows=counts.tolist(),
            of_row=of_row,
        )

    @property
    def gold_tally(self) -> Counter[Value]:
        return _tally(zip(self.golds, self.rows, strict=True))

    @property
    def guess_tally(self) -> Counter[Value]:
        pairs = zip(self.guesses, self.rows, strict=True)
        return _tally((guess, count) for guess, count in pairs if guess is not None)

    @property
    def golds_by_subtype(self) -> dict[str, Counter[Value]]:
        counts: dict[str, Counter[Value]] = {}
        for subtype, gold, rows in zip(self.subtypes, self.golds, self.rows, strict=True):
            counts.setdefault(subtype, Counter())[gold] += rows
        return counts


def _tally(pairs: Iterable[tuple[Value, int]]) -> Counter[Value]:
    tally: Counter[Value] = Counter()
    for value, count in pairs:
        tally[value] += count
    return tally


def _summed(each: Array, cell_of_row: NDArray[np.intp], place_of_row: NDArray[np.intp], places: int) -> Array:
    """(places, K): the statistics of the rows' cells, summed over the rows of each place."""
    sums = np.empty((places, each.shape[1]))
    for column, values in enumerate(each.T):
        sums[:, column] = np.bincount(place_of_row, weights=values[cell_of_row], minlength=places)
    return sums
