"""The scores of a run as one checked grid of metrics, models and phases, which tables and plots draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from urbanvlm.dataset.taxonomy import METRICS, Metric
from urbanvlm.records import Score

PHASES = ("before", "after")


@dataclass(frozen=True)
class ScoreGrid:
    """Every score of a run, found by (model, phase, metric), with the one blind baseline per metric."""

    models: tuple[str, ...]
    """in the order of the rows, which is the experiment's"""
    phases: tuple[str, ...]
    profile: str
    scores: Mapping[tuple[str, str, str], Score]
    blind: Mapping[str, float]
    """metric -> score of a guesser that sees no image; no key where there is none"""

    @classmethod
    def of(cls, rows: Sequence[Score], *, weighted: bool = False) -> ScoreGrid:
        """Of the metrics among the rows, with each model's shown images; of those that average classes, one average.

        Raises ValueError where the rows contradict each other: they are no one run's then.
        """
        rows = [row for row in of_the_tables(rows) if is_cell(row, weighted=weighted)]
        scores: dict[tuple[str, str, str], Score] = {}
        for row in rows:
            if row.name not in METRICS:
                raise ValueError(f"metric {row.name!r} of model {row.model!r} is none that this report knows")
            if row.phase not in PHASES:
                raise ValueError(f"phase {row.phase!r} of model {row.model!r} is neither before nor after")
            key = (row.model, row.phase, row.name)
            if key in scores:
                raise ValueError(f"two scores for {' '.join(key)}: a report shows one run")
            scores[key] = row
        profiles = sorted({row.profile for row in rows})
        if len(profiles) != 1:
            raise ValueError(f"scores of {len(profiles)} profiles ({', '.join(profiles)}): a report shows exactly one")
        return cls(
            models=tuple(dict.fromkeys(row.model for row in rows)),
            phases=tuple(phase for phase in PHASES if any(row.phase == phase for row in rows)),
            profile=profiles[0],
            scores=scores,
            blind=_common_blind_baseline(rows),
        )

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """The metrics of the table of 13 that had rows, in its order."""
        return tuple(key for key in METRICS if METRICS[key].in_table and self._was_asked(key))

    @cached_property
    def never_asked(self) -> tuple[str, ...]:
        """The metrics of the table of 13 without a single row."""
        return tuple(key for key in METRICS if METRICS[key].in_table and not self._was_asked(key))

    @cached_property
    def beside(self) -> tuple[str, ...]:
        """The metrics that had rows but are not among the 13."""
        return tuple(key for key in METRICS if not METRICS[key].in_table and self._was_asked(key))

    def _was_asked(self, metric: str) -> bool:
        return any(score.name == metric and score.asked for score in self.scores.values())

    def get(self, model: str, phase: str, metric: str) -> Score | None:
        """The score, or None where this model has none in this phase, or no row of the metric was asked."""
        score = self.scores.get((model, phase, metric))
        return score if score is not None and score.value is not None else None

    def blind_of(self, model: str, metric: str) -> float | None:
        """The blind baseline of what this model was asked, which is the common one within a run."""
        scores = (self.get(model, phase, metric) for phase in self.phases)
        return next((score.blind_baseline for score in scores if score is not None), None)

    def sections(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(heading, metrics) from top to bottom: the groups of the 13, then those beside them."""
        for group in dict.fromkeys(METRICS[key].group for key in self.asked):
            yield group, tuple(key for key in self.asked if METRICS[key].group == group)
        if self.beside:
            yield "beside the 13", self.beside

    def rows_asked(self, metric: str) -> tuple[int, ...]:
        """The number of rows asked; the least and the most where models were not asked alike."""
        counts = {score.asked for score in self.scores.values() if score.name == metric and score.asked}
        return tuple(sorted({min(counts), max(counts)}))

    @cached_property
    def unseen(self) -> Mapping[str, str]:
        """model -> what it was shown, of those that were never shown the real pictures."""
        return {score.model: score.images for score in self.scores.values() if score.images != "real"}

    def wins(self, model: str, phase: str) -> int:
        """On how many of the asked metrics the model beats the blind baseline."""
        return sum(
            score is not None and beats_blind(score) for score in (self.get(model, phase, key) for key in self.asked)
        )

    def unparsed_share(self, model: str, phase: str) -> float:
        """Share of unparsed or missing answers over all asked rows of the model, 0..1."""
        return self._share(model, phase, lambda score: score.unparsed_share)

    def out_of_range_share(self, model: str, phase: str) -> float:
        """Share of numbers that are as far off as can be counted over all asked rows of the model, 0..1."""
        return self._share(model, phase, lambda score: score.out_of_range_share)

    @property
    def has_unparsed(self) -> bool:
        return any(score.unparsed_share for score in self.scores.values())

    @property
    def has_out_of_range(self) -> bool:
        return any(score.out_of_range_share for score in self.scores.values())

    def _share(self, model: str, phase: str, of: Callable[[Score], float]) -> float:
        scores = [s for s in (self.get(model, phase, key) for key in self.asked + self.beside) if s is not None]
        asked = sum(score.asked for score in scores)
        return sum(of(score) * score.asked for score in scores) / asked if asked else 0.0


def shown_images(evaluations: Iterable[tuple[str, str]]) -> dict[str, str]:
    """(model, images) of each evaluation -> model -> the images of its scores in tables: real, else its first kind."""
    kinds: dict[str, str] = {}
    for model, images in evaluations:
        if images == "real" or model not in kinds:
            kinds[model] = images
    return kinds


def of_the_tables(scores: Sequence[Score]) -> list[Score]:
    """Those of each model's shown images."""
    kinds = shown_images((score.model, score.images) for score in scores)
    return [score for score in scores if score.images == kinds[score.model]]


def is_cell(score: Score, *, weighted: bool = False) -> bool:
    """Whether it is a metric's, by the average that is asked for where classes are averaged."""
    return score.level == "metric" and (score.average == "weighted") == weighted


def lower_is_better(metric: Metric) -> bool:
    return metric.score == "mae"


def beats_blind(score: Score) -> bool:
    """Whether the whole interval lies on the better side of the blind baseline."""
    if score.blind_baseline is None or score.low is None or score.high is None:
        return False
    if score.lower_is_better:
        return score.high < score.blind_baseline
    return score.low > score.blind_baseline


def _common_blind_baseline(rows: Sequence[Score]) -> dict[str, float]:
    """A blind guesser does not know the model, so two values mean two sets of questions."""
    baselines: dict[str, float] = {}
    for row in rows:
        if row.blind_baseline is None:
            continue
        known = baselines.setdefault(row.name, row.blind_baseline)
        if abs(known - row.blind_baseline) > 1e-9:
            raise ValueError(
                f"two blind baselines for {row.name}, {known!r} and {row.blind_baseline!r} "
                f"({row.model} {row.phase}): the models were not asked the same questions"
            )
    return baselines
