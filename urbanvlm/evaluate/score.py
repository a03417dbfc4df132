"""Scores of judged predictions: metrics, groups and subtypes, each with interval, unparsed share and blind baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.evaluate.blind import Golds, blind_baseline
from urbanvlm.evaluate.judge import Judged, gold_counts, judge
from urbanvlm.evaluate.metrics import Row
from urbanvlm.evaluate.parse import Value
from urbanvlm.evaluate.parts import Group, Key, Part, Sampled
from urbanvlm.evaluate.profiles import Profile, profile_of
from urbanvlm.records import Example, Prediction, Score


def score_run(
    examples: Sequence[Example],
    predictions: Mapping[str, Prediction],
    train_examples: Iterable[Example] | None,
    *,
    model: str,
    phase: str,
    images: str = "real",
    profile: str,
    chain_of_thought: bool = False,
    resamples: int,
    seed: int,
) -> list[Score]:
    """Judge and score the predictions; see `judge` and `score_rows` for what comes out and what is raised."""
    judge_by = profile_of(profile, chain_of_thought=chain_of_thought)
    rows = judge(examples, predictions, judge_by)
    references = gold_counts(train_examples or (), judge_by)
    stamp = Stamp(model, phase, images)
    return score_rows(rows, references, judge_by, stamp, resamples=resamples, seed=seed)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Whose scores they are."""

    model: str
    phase: str
    images: str = "real"

    def of(self, profile: Profile, key: Key) -> tuple[str, str, str, str, str, str, str]:
        """The first fields of a Score."""
        return (self.model, self.phase, self.images, profile.name, *key)


def score_rows(
    rows: Judged | Iterable[Row], references: Golds, profile: Profile, stamp: Stamp, *, resamples: int, seed: int
) -> list[Score]:
    """All that is scored, from rows that the profile judged, and the gold counts of the training split.

    The 13 metrics in their order, asked or not, and those beside the table that were asked, with macro averages; the
    weighted average of those that average classes; the groups; the subtypes that were asked.
    """
    judged = rows if isinstance(rows, Judged) else Judged.of(rows)
    sampled = Sampled.of(judged, profile, resamples, seed)
    blind = {part.key: _blind(part, references, profile) for part in sampled.parts}
    scores = [_row(part, blind[part.key], sampled, profile, stamp) for part in sampled.parts]
    metrics = {score.name: score for score in scores if score.level == "metric" and score.average != "weighted"}
    table = [
        metrics.pop(key) if key in metrics else _never_asked(key, profile, stamp)
        for key in METRICS
        if METRICS[key].in_table
    ]
    groups = [
        _row(group, float(np.mean([blind[part.key] for part in group.members])), sampled, profile, stamp)
        for group in sampled.groups
    ]
    weighted = [score for score in scores if score.average == "weighted"]
    return [*table, *metrics.values(), *weighted, *groups, *(score for score in scores if score.level == "subtype")]


def _row(one: Part | Group, blind: float, sampled: Sampled, profile: Profile, stamp: Stamp) -> Score:
    low, high = one.ends(sampled.values, sampled.places) or (None, None)
    unparsed, far = (one.asked - one.scored) / one.asked, one.out_of_range / one.asked
    return Score(*stamp.of(profile, one.key), one.value, low, high, one.scored, one.asked, unparsed, blind, far)


def _blind(part: Part, references: Golds, profile: Profile) -> float:
    subtype = SUBTYPES[next(iter(part.golds))]
    golds: Counter[Value] = sum(part.golds.values(), Counter())
    return blind_baseline(
        lambda guesses: profile.measure(part.kind, subtype, golds, guesses, part.average), part.golds, references
    )


def _never_asked(metric: str, profile: Profile, stamp: Stamp) -> Score:
    average: Literal["", "macro"] = "macro" if profile.score_kind("metric", metric) == "f1_macro" else ""
    return Score(*stamp.of(profile, ("metric", metric, average)), None, None, None, 0, 0, 0.0, None)
