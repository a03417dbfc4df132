"""Several runs side by side, a sweep's or any: what differs, by more than chance or not, which are missing, and why."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.errors import UserError
from urbanvlm.evaluate.compare import gain
from urbanvlm.evaluate.scores_file import read_scores
from urbanvlm.percent import percent
from urbanvlm.records import Score, write_atomic
from urbanvlm.report.columns import Column, Result, cells_of, grid_of, seed_columns, single_columns
from urbanvlm.report.document import (
    NOTHING,
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Emphasis,
    Figure,
    Fold,
    Inline,
    Line,
    Link,
    Notice,
    OnlyMarkdown,
    Paragraph,
    Section,
    Strong,
    Subsection,
    Table,
    Toned,
)
from urbanvlm.report.gains import gain_words
from urbanvlm.report.grid import ScoreGrid, beats_blind, of_the_tables
from urbanvlm.report.html import render_page
from urbanvlm.report.labels import RUN, labels_of
from urbanvlm.report.making import commits, versions
from urbanvlm.report.markdown import figures_of, render_markdown, shorten
from urbanvlm.report.pairs import pairs_section
from urbanvlm.report.scores import BLIND_FROM_TEST, NO_INTERVAL, flaws, score_cell
from urbanvlm.report.spreadsheet import FIELDS, csv_rows, csv_text, latex_table
from urbanvlm.report.tables import PARTIAL_REASON, PARTIAL_STAMP, fixed, is_partial, metric_label
from urbanvlm.run_folder import RunFolder, is_complete, mark_complete, marker_of
from urbanvlm.stages import is_done, stages_of
from urbanvlm.sweep import RecordedPoint, SweepFolder, SweepRecord

LONGEST_REASON = 300


def write_comparison(folder: SweepFolder, reasons: Mapping[str, str] | None = None) -> dict[str, str]:
    """Write a sweep's `comparison.*` from the run folders as they are now.

    `reasons` are known to the caller: run id -> why it failed; of any other missing run it is said how far it is. The
    comparison is marked complete if no run is missing. Returns run id -> why it is missing. Raises UserError if this is
    no sweep's folder.
    """
    record = folder.read()
    runs = [RunFolder(folder.run(point.run_id)) for point in record.points]
    return _write(
        folder, record, runs, reasons or {}, ("What the names stand for: ", Link("sweep.yaml", "sweep.yaml"), ".")
    )


def compare_runs(runs: Sequence[RunFolder], out: Path | None = None) -> tuple[SweepFolder, dict[str, str]]:
    """Write the comparison of any runs into a folder; returns the folder, and run id -> why it is missing.

    The folder is `compare-<hash8 of the runs>` beside the first run if none is named. Raises UserError if it cannot be
    written, or a run is named twice.
    """
    names = [str(run.path) for run in runs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"run {Path(twice).name}", "is named twice", "name each run once")
    digest = hashlib.sha256(json.dumps(sorted(run.id for run in runs)).encode()).hexdigest()[:8]
    folder = SweepFolder((out or runs[0].path.parent / f"compare-{digest}").absolute())
    pairs = zip(runs, labels_of(runs), strict=True)
    points = tuple(RecordedPoint(run.id, labels, {}) for run, labels in pairs)
    record = SweepRecord(f"{len(runs)} runs", "", points)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            folder.path, f"cannot be written ({error.strerror})", "name another folder: --out DIR"
        ) from None
    return folder, _write(folder, record, runs, {}, ())


def _write(
    folder: SweepFolder, record: SweepRecord, runs: Sequence[RunFolder], reasons: Mapping[str, str], note: Line
) -> dict[str, str]:
    from urbanvlm.report.plots import save_png

    pairs = zip(record.points, runs, strict=True)
    results = [_result(run, point, reasons.get(point.run_id, "")) for point, run in pairs]
    missing = {result.point.run_id: result.missing for result in results if result.missing}
    marker_of(folder.comparison).unlink(missing_ok=True)
    columns, averaged = single_columns(results), seed_columns(results)
    document = _document(folder, record, results, columns, averaged, note)
    for figure in (figure for section in document.sections for figure in figures_of(section.blocks)):
        save_png(figure.draw(), folder.path / f"{figure.name}.png")
    grid = grid_of(averaged or columns)
    if grid is not None:
        partial = any(result.partial for result in results)
        write_atomic(folder.latex, latex_table(grid, partial=partial))
    write_atomic(folder.table, comparison_csv(results))
    write_atomic(folder.page, render_page(document))
    write_atomic(folder.comparison, render_markdown(document, ""))
    if not missing:
        mark_complete(folder.comparison)
    return missing


# ---- what the run folders say ---------------------------------------------------------------------------------------


def _result(run: RunFolder, point: RecordedPoint, reason: str) -> Result:
    try:
        if is_complete(run.scores):
            limited = run.experiment.evaluate.max_examples is not None
            return Result(point, run, tuple(read_scores(run.scores)), limited and is_partial(run), "")
        return Result(point, run, (), False, reason or _how_far(run))
    except UserError as error:
        return Result(point, run, (), False, str(error))


def _how_far(run: RunFolder) -> str:
    """Raises UserError if its experiment is unreadable."""
    if not run.experiment_file.is_file():
        return "not started"
    experiment = run.experiment
    stages = stages_of(experiment)
    unfinished = [stage.name for stage in stages if not is_done(run, experiment, stage)]
    return f"{len(stages) - len(unfinished)} of {len(stages)} stages are done, next is {unfinished[0]}"


# ---- the page -------------------------------------------------------------------------------------------------------


def _document(
    folder: SweepFolder,
    record: SweepRecord,
    results: Sequence[Result],
    columns: Sequence[Column],
    averaged: Sequence[Column],
    note: Line,
) -> Document:
    sections = [_runs_section(folder, record, results, note)]
    if columns:
        sections += _scores_sections(columns, averaged)
        sections.append(pairs_section(columns))
        sections += _levels_sections(columns)
    else:
        sections.append(Section("Scores", (Paragraph.of("No run has any yet."),)))
    sections.append(_making_section(results))
    return Document(f"{record.name}: comparison", _opening(record, results), tuple(sections))


def _opening(record: SweepRecord, results: Sequence[Result]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if record.question.strip():
        blocks.append(Paragraph.of(Emphasis(record.question)))
    if missing := [result for result in results if result.missing]:
        words = f"{len(missing)} of {len(results)} runs are missing"
        blocks.append(Notice.of(Strong(words), ", the table of runs says why."))
    if partial := [result for result in results if result.partial]:
        words = f" — {PARTIAL_REASON} in {len(partial)} of {len(results)} runs."
        blocks.append(Notice.of(Strong(PARTIAL_STAMP), words))
    profiles = sorted({score.profile for result in results for score in result.scores})
    if len(profiles) > 1:
        words = f"{' and '.join(profiles)}: their scores mean different things."
        blocks.append(Notice.of(Strong("The runs were scored by several profiles"), f", {words}"))
    page = Paragraph.of("The same for a browser: ", Link("comparison.html", "comparison.html"))
    return (*blocks, OnlyMarkdown((page,)))


def _runs_section(folder: SweepFolder, record: SweepRecord, results: Sequence[Result], note: Line) -> Section:
    axes = [axis for axis in record.points[0].labels if axis != RUN]
    rows: list[list[Inline | Cell]] = []
    for result in results:
        row: list[Inline | Cell] = [result.point.labels[axis] for axis in axes]
        if result.missing:
            reason = shorten(result.missing, LONGEST_REASON)
            row += [result.point.run_id, "", "", Cell.of((Strong("missing"), f": {reason}"))]
        else:
            target = Path(os.path.relpath(result.run.path, folder.path)).as_posix()
            asked = sum(s.asked for s in result.scores if s.level == "metric" and s.average != "weighted") // max(
                1, len({(s.model, s.phase, s.images) for s in result.scores})
            )
            models, partial = ", ".join(result.models), "partial" if result.partial else ""
            row += [Link(result.point.run_id, f"{target}/report.md"), models, str(asked), partial]
        rows.append(row)
    blocks: list[Block] = [Table.of([*axes, "run", "models", "questions", ""], rows, (len(axes) + 2,))]
    if note:
        blocks.append(Paragraph(note))
    return Section("Runs", tuple(blocks))


_INTERVALS = Paragraph.of(
    f"Under a score stands its 95 % interval, from a bootstrap over places. {NO_INTERVAL} A score in ",
    Strong("bold"),
    " with ✓ beats the blind baseline: the whole interval lies on its better side.",
)
_MEANS = Paragraph.of(
    "These are means over seeds. ± is the standard deviation over the seeds, under it stand the least and the most: "
    "they say how much a result depends on the seed, and are no confidence interval. In ",
    Strong("bold"),
    " with ✓ stands a mean of at least two seeds of which even the worst is better than the blind baseline. Gains are "
    "those of the means.",
)
_READING = Paragraph.of(
    "Metrics are F1, higher is better; ",
    Strong("MAE ↓"),
    " marks a mean absolute error, lower is better. ",
    Emphasis("blind"),
    " gives every question its subtype's most frequent answer without looking.",
)


def _scores_sections(columns: Sequence[Column], averaged: Sequence[Column]) -> list[Section]:
    from urbanvlm.report.plots import draw_comparison

    shown = averaged or columns
    grid = grid_of(shown)
    if grid is None:
        return [Section("Scores", (Paragraph.of("No question was asked."),))]
    interval = "least to most over the seeds" if averaged else "95 % interval"
    blocks: list[Block] = [
        overview_table(shown),
        _READING,
        *_blind_words(shown),
        _MEANS if averaged else _INTERVALS,
        Figure(
            "comparison",
            "Every metric, before and after, of every run",
            cache(lambda: draw_comparison(grid, interval)),
            lambda: draw_comparison(grid, interval, columns=1),
        ),
        Paragraph.of(
            "Every score of every run: ",
            Link("comparison.csv", "comparison.csv"),
            ". The table for a paper: ",
            Link("comparison.tex", "comparison.tex"),
            ".",
        ),
        Subsection("Metric by metric", (details_table(shown),)),
    ]
    if averaged:
        blocks.append(Fold("Single runs", (_INTERVALS, details_table(columns))))
    return [Section("Scores", tuple(blocks))]


def _blind_words(columns: Sequence[Column]) -> list[Block]:
    runs = {result.run.id: result.run for column in columns for result, _ in column.members}
    without = [id_ for id_, run in runs.items() if not run.has_split("train")]
    if not without:
        return []
    of_some = [f"Of {', '.join(without)}: "] if len(without) < len(runs) else []
    return [Paragraph.of(Emphasis("blind"), ": ", *of_some, BLIND_FROM_TEST)]


def overview_table(columns: Sequence[Column]) -> Table:
    """Metrics × columns: the last score and the gain that led to it."""
    grid = grid_of(columns)
    assert grid is not None
    header: list[Inline | Cell] = ["metric", "blind", *map(_head, grid.models)]
    groups: list[tuple[str, list[list[Inline | Cell]]]] = []
    for heading, keys in grid.sections():
        rows: list[list[Inline | Cell]] = []
        for key in keys:
            blind = fixed(grid.blind[key], 5) if key in grid.blind else Cell.of("differs", tone="muted")
            rows.append([metric_label(key), blind, *(_overview_cell(grid, name, key) for name in grid.models)])
        groups.append((heading, rows))
    last = [_last_phase(grid, name) for name in grid.models]
    wins = [Strong(f"{grid.wins(name, phase)} of {len(grid.asked)}") for name, phase in last]
    shares = [percent(grid.unparsed_share(*place)) for place in last]
    lines: list[list[Inline | Cell]] = [["beats blind on", "", *wins], ["unparsed answers", "", *shares]]
    if grid.has_out_of_range:
        lines.append(["out of range", "", *(percent(grid.out_of_range_share(*place)) for place in last)])
    groups.append(("in all", lines))
    return Table.grouped(header, groups, range(1, len(header)))


def _overview_cell(grid: ScoreGrid, name: str, key: str) -> Cell:
    scores = [grid.get(name, phase, key) for phase in grid.phases]
    last = next((score for score in reversed(scores) if score is not None), None)
    if last is None:
        return NOTHING
    change = gain(scores[0], last) if len(scores) > 1 and scores[-1] is last else None
    return Cell((_value(last), *([(gain_words(change),)] if change is not None else [])))


def _last_phase(grid: ScoreGrid, name: str) -> tuple[str, str]:
    scored = (phase for phase in reversed(grid.phases) if any(grid.get(name, phase, key) for key in METRICS))
    return name, next(scored, grid.phases[0])


def details_table(columns: Sequence[Column]) -> Table:
    """Every metric with a line a column: both phases with their intervals or spreads, blind baseline and gain."""
    grid, cells = grid_of(columns), cells_of(columns)
    assert grid is not None
    averaged = any(column.seeds for column in columns)
    gains = ["gain"] if len(grid.phases) > 1 else []
    header = ["run", "seeds" if averaged else "rows", "blind", *grid.phases, *gains]
    groups: list[tuple[str, list[list[Inline | Cell]]]] = []
    for heading, keys in grid.sections():
        for key in keys:
            rows: list[list[Inline | Cell]] = []
            for column in columns:
                scores = {phase: grid.get(column.name, phase, key) for phase in grid.phases}
                members = {phase: cells.get((column.name, phase, key), ()) for phase in grid.phases}
                most = max(members.values(), key=len)
                count = str(most[0].asked) if most else "–"
                blind = grid.blind_of(column.name, key)
                row: list[Inline | Cell] = [
                    column.name,
                    count if column.seeds is None else _of(len(most), column.seeds),
                    NOTHING if blind is None else fixed(blind, 5),
                    *(_detail(scores[phase], members[phase] if column.seeds else ()) for phase in grid.phases),
                ]
                if gains:
                    change = gain(scores.get("before"), scores.get("after"))
                    row.append(NOTHING if change is None else gain_words(change))
                rows.append(row)
            groups.append((f"{heading}: {metric_label(key)}", rows))
    return Table.grouped(header, groups, range(1, len(header)))


def _head(column: str) -> Cell:
    """The run, and under it the model where the run has several."""
    return Cell.of(*column.split(" ", 1))


def _value(score: Score) -> Line:
    assert score.value is not None
    value = fixed(score.value, 5)
    return (Strong(value), Toned(" ✓", "good")) if beats_blind(score) else (value,)


def _detail(score: Score | None, members: Sequence[Score]) -> Cell:
    """Value, interval and unparsed share; the mean of several members says their standard deviation as well."""
    if score is None or score.value is None:
        return NOTHING
    values = [one.value for one in members if one.value is not None]
    lines: list[Line] = [_value(score)]
    if len(values) > 1:
        lines.append((f"± {fixed(statistics.stdev(values), 5)}",))
    if score.low is not None and score.high is not None:
        lines.append((f"{fixed(score.low, 5)}–{fixed(score.high, 5)}",))
    return Cell((*lines, *flaws(score)))


def _of(count: int, expected: int) -> str:
    return str(count) if count == expected else f"{count} of {expected}"


# ---- groups and subtypes --------------------------------------------------------------------------------------------


def _levels_sections(columns: Sequence[Column]) -> list[Section]:
    """Of single runs, in their last phase."""
    blocks = [
        Fold(title, (table,))
        for level, title in (("group", "Per group"), ("subtype", "Per subtype"))
        if (table := _level_table(columns, level)) is not None
    ]
    return [Section("Groups and subtypes", tuple(blocks))] if blocks else []


def _level_table(columns: Sequence[Column], level: str) -> Table | None:
    found: dict[tuple[str, str], Score] = {}
    for column in columns:
        for result, model in column.members:
            for score in of_the_tables(result.scores):
                if (score.level, score.model) == (level, model) and score.value is not None:
                    # The phases come in their order, so the last one stays.
                    found[score.name, column.name] = score
    names = list(dict.fromkeys(name for name, _ in found))
    if not names:
        return None
    rows: list[list[Inline | Cell]] = []
    for name in names:
        scores = [found.get((name, column.name)) for column in columns]
        error = any(score is not None and score.lower_is_better for score in scores)
        rows.append([f"{name} (MAE ↓)" if error else name, *map(score_cell, scores)])
    return Table.of([level, *(_head(column.name) for column in columns)], rows, range(1, len(columns) + 1))


# ---- how it was made ------------------------------------------------------------------------------------------------


def _making_section(results: Sequence[Result]) -> Section:
    items: list[Line] = []
    for result in results:
        if result.missing:
            continue
        experiment = result.run.experiment
        settings = experiment.evaluate
        words = f": seed {experiment.seed}, profile {settings.profile}, {settings.bootstrap_resamples} resamples"
        line: Line = (Code(result.point.run_id), words)
        for commit in commits(result.run):
            line = (*line, "; ", *commit)
        items.append(line)
    items.append((", ".join(versions()),))
    return Section("How the numbers were made", (Bullets(tuple(items)),))


# ---- the table for programs -----------------------------------------------------------------------------------------


def comparison_csv(results: Sequence[Result]) -> str:
    """A line a score, with the settings of its run; a missing run has one line, which says why."""
    settings = list(dict.fromkeys(key for result in results for key in result.point.settings))
    rows: list[list[Any]] = [["run", *settings, *FIELDS, "partial", "missing"]]
    for result in results:
        first = [result.point.run_id, *(_plain(result.point.settings.get(key)) for key in settings)]
        if result.missing:
            rows.append([*first, *("" for _ in FIELDS), "", result.missing])
        rows += [[*first, *row, result.partial, ""] for row in csv_rows(result.scores)]
    return csv_text(rows)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
