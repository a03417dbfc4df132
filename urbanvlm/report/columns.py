"""What a comparison shows side by side: models of runs, and means over runs that differ by seed alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.records import Score
from urbanvlm.report.grid import PHASES, ScoreGrid, is_cell, of_the_tables
from urbanvlm.report.labels import RUN
from urbanvlm.run_folder import RunFolder
from urbanvlm.sweep import SEED, RecordedPoint

Cells = Mapping[tuple[str, str, str], tuple[Score, ...]]
"""(column, phase, metric) -> the scores of its runs: one, or one a seed"""


@dataclass(frozen=True)
class Result:
    """One run that is compared: its scores, or why it has none."""

    point: RecordedPoint
    run: RunFolder
    scores: tuple[Score, ...]
    partial: bool
    missing: str
    """why there are no scores; empty where there are"""

    @property
    def name(self) -> str:
        return self.point.labels.get(RUN) or "-".join(self.point.labels.values())

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(score.model for score in self.scores))


@dataclass(frozen=True)
class Column:
    """What a comparison shows side by side: a model of one run, or of several that differ by seed alone."""

    name: str
    members: tuple[tuple[Result, str], ...]
    """(run, model)"""
    seeds: int | None = None
    """how many members a mean over seeds has when no run is missing; None where the column is one run's"""


def single_columns(results: Sequence[Result]) -> list[Column]:
    """One for each model of each run that has scores, in the sweep's order."""
    several = any(len(result.models) > 1 for result in results)
    return [
        Column(_column_name(result.name, model, several), ((result, model),))
        for result in results
        for model in result.models
    ]


def seed_columns(results: Sequence[Result]) -> list[Column]:
    """One for each model and each setting but the seed; none where no seed was swept, or a single one."""
    groups: dict[str, list[Result]] = {}
    if any(SEED not in result.point.settings for result in results):
        return []
    for result in results:
        rest = {key: value for key, value in result.point.settings.items() if key != SEED}
        groups.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(result)
    if all(len(group) == 1 for group in groups.values()):
        return []
    several = any(len(result.models) > 1 for result in results)
    columns = []
    for group in groups.values():
        name = "-".join(label for axis, label in group[0].point.labels.items() if axis != SEED)
        for model in dict.fromkeys(model for result in group for model in result.models):
            members = tuple((result, model) for result in group if model in result.models)
            columns.append(Column(_column_name(name, model, several), members, len(group)))
    return columns


def _column_name(name: str, model: str, several: bool) -> str:
    return f"{name} {model}" if name and several else name or model


def cells_of(columns: Sequence[Column]) -> Cells:
    """The scores behind every cell that has a value."""
    cells: dict[tuple[str, str, str], tuple[Score, ...]] = {}
    for column in columns:
        for result, model in column.members:
            for score in of_the_tables(result.scores):
                if score.model == model and score.value is not None and is_cell(score):
                    key = (column.name, score.phase, score.name)
                    cells[key] = (*cells.get(key, ()), score)
    return cells


def grid_of(columns: Sequence[Column]) -> ScoreGrid | None:
    """The columns as the models of one grid, which tables and plots draw; None where nothing has a score."""
    averaged = any(column.seeds for column in columns)
    scores = {
        key: mean_score(members, key[0]) if averaged else replace(members[0], model=key[0])
        for key, members in cells_of(columns).items()
    }
    if not scores:
        return None
    blind: dict[str, float] = {}
    for metric in METRICS:
        found = {score.blind_baseline for score in scores.values() if score.name == metric}
        if len(found) == 1 and (value := found.pop()) is not None:
            blind[metric] = value
    return ScoreGrid(
        models=tuple(column.name for column in columns),
        phases=tuple(phase for phase in PHASES if any(score.phase == phase for score in scores.values())),
        profile=", ".join(sorted({score.profile for score in scores.values()})),
        scores=scores,
        blind=blind,
    )


def mean_score(scores: Sequence[Score], name: str) -> Score:
    """The means of the scores of several seeds, with the least and the most value as ends; one alone has no ends."""
    values = [score.value for score in scores if score.value is not None]
    blind = [score.blind_baseline for score in scores if score.blind_baseline is not None]
    asked, scored = (sum(getattr(score, count) for score in scores) for count in ("asked", "scored"))
    return replace(
        scores[0],
        model=name,
        value=statistics.fmean(values),
        low=min(values) if len(values) > 1 else None,
        high=max(values) if len(values) > 1 else None,
        scored=scored,
        asked=asked,
        unparsed_share=(asked - scored) / asked,
        out_of_range_share=sum(score.out_of_range_share * score.asked for score in scores) / asked,
        blind_baseline=statistics.fmean(blind) if len(blind) == len(scores) else None,
    )
