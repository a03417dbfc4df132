"""The comparison of a sweep's runs, from their scores: what differs, which runs are missing, and why."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.errors import UserError
from urbanvlm.evaluate.score import read_scores
from urbanvlm.records import Score, write_atomic
from urbanvlm.report.grid import PHASES, ScoreGrid, beats_blind, lower_is_better
from urbanvlm.report.markdown import escape, pipe_table, shorten
from urbanvlm.report.tables import PARTIAL_REASON, PARTIAL_STAMP, fixed, is_partial, metric_label, percent
from urbanvlm.run_folder import RunFolder, is_complete, mark_complete, marker_of
from urbanvlm.stages import is_done, stages_of
from urbanvlm.sweep import SEED, RecordedPoint, SweepFolder, SweepRecord

LONGEST_REASON = 300

Cells = Mapping[tuple[str, str, str], tuple[Score, ...]]
"""(column, phase, metric) -> the scores of its runs: one, or one a seed"""


@dataclass(frozen=True)
class Result:
    """One run of a sweep: its scores, or why it has none."""

    point: RecordedPoint
    scores: tuple[Score, ...]
    partial: bool
    missing: str
    """why there are no scores; empty where there are"""

    @property
    def name(self) -> str:
        return "-".join(self.point.labels.values())

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


def write_comparison(folder: SweepFolder, reasons: Mapping[str, str] | None = None) -> dict[str, str]:
    """Write `comparison.md`, `.csv` and `.png` from the run folders as they are now.

    `reasons` are known to the caller: run id -> why it failed; of any other missing run it is said how far it is. The
    comparison is marked complete if no run is missing. Returns run id -> why it is missing. Raises UserError if this is
    no sweep's folder.
    """
    record = folder.read()
    results = [_result(folder, point, (reasons or {}).get(point.run_id, "")) for point in record.points]
    missing = {result.point.run_id: result.missing for result in results if result.missing}
    marker_of(folder.comparison).unlink(missing_ok=True)
    columns, averaged = single_columns(results), seed_columns(results)
    grid = grid_of(averaged or columns)
    if grid is not None:
        _plot(grid, folder.plot, averaged=bool(averaged))
    write_atomic(folder.table, csv_table(results))
    write_atomic(folder.comparison, _page(record, results, columns, averaged))
    if not missing:
        mark_complete(folder.comparison)
    return missing


def _plot(grid: ScoreGrid, path: Path, *, averaged: bool) -> None:
    from urbanvlm.report.plots import plot_comparison

    plot_comparison(grid, path, "least to most over the seeds" if averaged else "95 % interval")


# ---- what the run folders say ---------------------------------------------------------------------------------------


def _result(folder: SweepFolder, point: RecordedPoint, reason: str) -> Result:
    run = RunFolder(folder.run(point.run_id))
    try:
        if is_complete(run.scores):
            limited = run.experiment.evaluate.max_examples is not None
            return Result(point, tuple(read_scores(run.scores)), limited and is_partial(run), "")
        return Result(point, (), False, reason or _how_far(run))
    except UserError as error:
        return Result(point, (), False, str(error))


def _how_far(run: RunFolder) -> str:
    """Raises UserError if its experiment is unreadable."""
    if not run.experiment_file.is_file():
        return "not started"
    experiment = run.experiment
    stages = stages_of(experiment)
    unfinished = [stage.name for stage in stages if not is_done(run, experiment, stage)]
    return f"{len(stages) - len(unfinished)} of {len(stages)} stages are done, next is {unfinished[0]}"


# ---- columns --------------------------------------------------------------------------------------------------------


def single_columns(results: Sequence[Result]) -> list[Column]:
    """One for each model of each run that has scores, in the sweep's order."""
    several = any(len(result.models) > 1 for result in results)
    return [
        Column(_column_name(result.name, model, several), ((result, model),))
        for result in results
        for model in result.models
    ]


def seed_columns(results: Sequence[Result]) -> list[Column]:
    """One for each model and each setting but the seed; none where the sweep has a single seed."""
    groups: dict[str, list[Result]] = {}
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
            for score in result.scores:
                if score.model == model and score.value is not None:
                    key = (column.name, score.phase, score.metric)
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
        found = {score.blind_baseline for score in scores.values() if score.metric == metric}
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
        blind_baseline=statistics.fmean(blind) if len(blind) == len(scores) else None,
    )


def gain(before: Score | None, after: Score | None) -> float | None:
    """Of fine-tuning: (after - before) / before of an F1, (before - after) / before of an MAE, so + where it helped.

    None where one of the two is missing, or there is nothing to divide by.
    """
    if before is None or after is None or not before.value or after.value is None:
        return None
    change = (after.value - before.value) / before.value
    return -change if lower_is_better(METRICS[after.metric]) else change


# ---- the page -------------------------------------------------------------------------------------------------------


def _page(record: SweepRecord, results: Sequence[Result], columns: Sequence[Column], averaged: Sequence[Column]) -> str:
    sections = [_opening(record, results), _runs_section(record, results)]
    if averaged:
        sections.append(_scores_section(averaged, _MEANS))
        sections.append(f"## Single runs\n\n{_INTERVALS}\n{details_table(columns)}")
    else:
        sections.append(_scores_section(columns, _INTERVALS))
    return "\n".join(section for section in sections if section)


def _opening(record: SweepRecord, results: Sequence[Result]) -> str:
    lines = [f"# {escape(record.name)}: comparison", ""]
    if record.question.strip():
        lines += [f"*{escape(record.question)}*", ""]
    missing = [result for result in results if result.missing]
    if missing:
        lines += [f"> **{len(missing)} of {len(results)} runs are missing**, the table of runs says why.", ""]
    partial = [result for result in results if result.partial]
    if partial:
        lines += [f"> **{PARTIAL_STAMP}** — {PARTIAL_REASON} in {len(partial)} of {len(results)} runs.", ""]
    return "\n".join(lines)


def _runs_section(record: SweepRecord, results: Sequence[Result]) -> str:
    axes = list(record.points[0].labels)
    lines = []
    for result in results:
        labels = [escape(result.point.labels[axis]) for axis in axes]
        run_id = result.point.run_id
        if result.missing:
            lines.append([*labels, escape(run_id), f"**missing**: {escape(shorten(result.missing, LONGEST_REASON))}"])
        else:
            lines.append([*labels, f"[{escape(run_id)}](../{run_id}/report.md)", "partial" if result.partial else ""])
    table = pipe_table([*(escape(axis) for axis in axes), "run", ""], lines)
    return f"## Runs\n\n{table}\nWhat the names stand for: [sweep.yaml](sweep.yaml).\n"


_INTERVALS = """\
In brackets stands the 95 % interval, from a bootstrap over places. A score in **bold** with ✓ beats the blind baseline:
the whole interval lies on its better side.
"""
_MEANS = """\
These are means over seeds. ± is the standard deviation over the seeds, in brackets stand the least and the most: they
say how much a result depends on the seed, and are no confidence interval. In **bold** with ✓ stands a mean of at least
two seeds of which even the worst is better than the blind baseline. Gains are those of the means.
"""
_READING = """\
Metrics are F1, higher is better; **MAE ↓** marks a mean absolute error, lower is better. *blind* gives every question
its subtype's most frequent answer without looking. The gain is (after − before) / before of an F1, (before − after) /
before of an MAE: positive where fine-tuning helped.
"""


def _scores_section(columns: Sequence[Column], words: str) -> str:
    if not columns:
        return "## Scores\n\nNo run has any yet.\n"
    return (
        f"## Scores\n\n{overview_table(columns)}\n{_READING}\n{words}\n"
        "![Every metric, before and after, of every run](comparison.png)\n\n"
        "Every score of every run: [comparison.csv](comparison.csv).\n\n"
        f"### Metric by metric\n\n{details_table(columns)}"
    )


def overview_table(columns: Sequence[Column]) -> str:
    """Metrics × columns: the last score and the gain that led to it."""
    grid = grid_of(columns)
    assert grid is not None
    header = ["", "metric", "blind", *(escape(name) for name in grid.models)]
    lines = []
    for first, key in _lines(grid):
        cells = []
        for name in grid.models:
            scores = [grid.get(name, phase, key) for phase in grid.phases]
            last = next((score for score in reversed(scores) if score is not None), None)
            change = gain(scores[0], last) if len(scores) > 1 and scores[-1] is last else None
            cells.append(_value(last) + (f"<br>{_gain_words(change)}" if change is not None else ""))
        lines.append([first, metric_label(key), fixed(grid.blind[key], 5) if key in grid.blind else "differs", *cells])
    last_phases = [_last_phase(grid, name) for name in grid.models]
    wins = [f"{grid.wins(name, phase)} of {len(grid.asked)}" for name, phase in last_phases]
    lines.append(["", "**beats the blind baseline on**", "", *(f"**{words}**" for words in wins)])
    lines.append(["", "unparsed answers", "", *(percent(grid.unparsed_share(*place)) for place in last_phases)])
    return pipe_table(header, lines, right=range(2, len(header)))


def _last_phase(grid: ScoreGrid, name: str) -> tuple[str, str]:
    scored = (phase for phase in reversed(grid.phases) if any(grid.get(name, phase, key) for key in METRICS))
    return name, next(scored, grid.phases[0])


def details_table(columns: Sequence[Column]) -> str:
    """Every metric with a line a column: both phases with their intervals or spreads, blind baseline and gain."""
    grid, cells = grid_of(columns), cells_of(columns)
    assert grid is not None
    averaged = any(column.seeds for column in columns)
    gains = ["gain"] if len(grid.phases) > 1 else []
    header = ["", "metric", "run", "seeds" if averaged else "rows", "blind", *grid.phases, *gains]
    lines = []
    for first, key in _lines(grid):
        for column in columns:
            scores = {phase: grid.get(column.name, phase, key) for phase in grid.phases}
            line = [first, metric_label(key) if column is columns[0] else "", escape(column.name)]
            first = ""
            members = {phase: cells.get((column.name, phase, key), ()) for phase in grid.phases}
            most = max(members.values(), key=len)
            rows = str(most[0].asked) if most else "–"
            line.append(rows if column.seeds is None else _of(len(most), column.seeds))
            blind = grid.blind_of(column.name, key)
            line.append("–" if blind is None else fixed(blind, 5))
            line += [_detail(scores[phase], members[phase] if column.seeds else ()) for phase in grid.phases]
            if gains:
                change = gain(scores.get("before"), scores.get("after"))
                line.append("–" if change is None else _gain_words(change))
            lines.append(line)
    return pipe_table(header, lines, right=range(3, len(header)))


def _lines(grid: ScoreGrid) -> Iterator[tuple[str, str]]:
    """(heading of the group where it begins, metric), downwards."""
    for heading, metrics in grid.sections():
        for key in metrics:
            yield f"**{heading}**" if key == metrics[0] else "", key


def _value(score: Score | None) -> str:
    if score is None or score.value is None:
        return "–"
    value = fixed(score.value, 5)
    return f"**{value}** ✓" if beats_blind(score) else value


def _detail(score: Score | None, members: Sequence[Score]) -> str:
    """`0.873 (0.830–0.910, 2.5 % unparsed)`; the mean of several members says their standard deviation as well."""
    if score is None:
        return "–"
    values = [one.value for one in members if one.value is not None]
    deviation = f" ± {fixed(statistics.stdev(values), 5)}" if len(values) > 1 else ""
    ends = [f"{fixed(score.low, 5)}–{fixed(score.high, 5)}"] if score.low is not None and score.high is not None else []
    ends += [f"{percent(score.unparsed_share)} unparsed"] if score.unparsed_share else []
    return f"{_value(score)}{deviation}" + (f" ({', '.join(ends)})" if ends else "")


def _gain_words(change: float) -> str:
    # Adding zero takes the sign from what rounds to none.
    return f"{round(100 * change, 1) + 0.0:+.1f} %".replace("-", "−")


def _of(count: int, expected: int) -> str:
    return str(count) if count == expected else f"{count} of {expected}"


# ---- the table for programs -----------------------------------------------------------------------------------------


def csv_table(results: Sequence[Result]) -> str:
    """A line a score, with the settings of its run; a missing run has one line, which says why."""
    settings = list(dict.fromkeys(key for result in results for key in result.point.settings))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["run", *settings, *Score.__slots__, "gain", "partial", "missing"])
    for result in results:
        first = [result.point.run_id, *(_plain(result.point.settings.get(key)) for key in settings)]
        if result.missing:
            table.writerow([*first, *("" for _ in Score.__slots__), "", "", result.missing])
        befores = {(s.model, s.metric): s for s in result.scores if s.phase == "before"}
        for score in result.scores:
            change = gain(befores.get((score.model, score.metric)), score) if score.phase == "after" else None
            rounded = "" if change is None else round(change, 6)
            table.writerow([*first, *score.to_json().values(), rounded, result.partial, ""])
    return out.getvalue()


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
