"""The scores of a run as tables: the study's 13 metrics, their weighted means, groups and subtypes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.percent import percent
from urbanvlm.records import Score
from urbanvlm.report.document import (
    NOTHING,
    Block,
    Bullets,
    Cell,
    Figure,
    Fold,
    Inline,
    Line,
    Paragraph,
    Section,
    Strong,
    Subsection,
    Table,
    Toned,
)
from urbanvlm.report.facts import RunFacts
from urbanvlm.report.grid import ScoreGrid, beats_blind, lower_is_better, of_the_tables
from urbanvlm.report.tables import fixed, metric_label

NO_INTERVAL = "None stands where fewer than two places have rows that the score depends on."
READING = Bullets.of(
    "Metrics are F1, from 0 to 1, higher is better: of the answer yes for yes/no questions, the mean over the classes "
    "(macro) where the answer is a class.",
    (Strong("MAE ↓"), " marks a mean absolute error: lower is better."),
    "Under each value stands its 95 % interval, from a bootstrap over places: pictures of one place are not "
    f"independent. {NO_INTERVAL}",
    (
        Strong("blind"),
        " is the blind baseline: it gives every question its subtype's most frequent answer without looking. In ",
        Strong("bold"),
        " with ✓ stands a score that beats it: the whole interval lies on the better side. The ",
        Strong("lift"),
        " is how far the value lies from it, + on the better side.",
    ),
)


BLIND_FROM_TEST = (
    "there is no training split to learn that answer from, so it is the most frequent one of the very rows that are "
    "scored, which makes the baseline as strong as it can be."
)
UNREAD_WORDS = {
    "strict": "An answer that could not be read, or is missing, counts as wrong, and in an MAE as the largest error "
    "that an answer from 0 to the largest gold answer can make. No answer counts more than that: a number that is "
    "further off is out of range.",
    "paper": "Answers are read as the published scorer reads them, its faults included: what it cannot read it drops, "
    "or takes for no. Compare these scores with its table, not with strict ones.",
}
"""profile -> what becomes of an answer that cannot be read"""


def scores_section(facts: RunFacts) -> Section:
    grid = facts.grid
    blocks: list[Block] = [scores_table(grid)]
    if grid.never_asked:
        names = ", ".join(f"{METRICS[key].group} {METRICS[key].name}" for key in grid.never_asked)
        blocks.append(Paragraph.of(f"Not asked in this experiment: {names}."))
    blind: tuple[Line, ...] = () if facts.run.has_split("train") else ((Strong("blind"), ": ", BLIND_FROM_TEST),)
    blocks.append(Bullets((*READING.items, *blind, (UNREAD_WORDS[facts.profile.name],))))
    blocks += _figures(grid)
    if any(score.average == "weighted" for score in facts.scores):
        weighted = ScoreGrid.of(facts.scores, weighted=True)
        words = "The same answers with every class weighted by its number of rows, beside the macro F1 above."
        blocks.append(Fold("Weighted F1", (Paragraph.of(words), scores_table(weighted, summary=False))))
    blocks += _levels(facts)
    return Section("Scores", tuple(blocks))


def _figures(grid: ScoreGrid) -> list[Block]:
    from urbanvlm.report.plots import draw_f1, draw_mae

    keys = grid.asked + grid.beside
    phases = ", before and after" if len(grid.phases) > 1 else ""
    figures: list[Block] = []
    if any(not lower_is_better(METRICS[key]) for key in keys):
        alt = f"F1 per metric{phases}"
        figures.append(Figure("scores-f1", alt, cache(lambda: draw_f1(grid)), lambda: draw_f1(grid, columns=1)))
    if any(lower_is_better(METRICS[key]) for key in keys):
        alt = f"Mean absolute error per metric{phases}"
        figures.append(Figure("scores-mae", alt, cache(lambda: draw_mae(grid)), lambda: draw_mae(grid, columns=1)))
    return figures


def scores_table(grid: ScoreGrid, *, summary: bool = True) -> Table:
    """Metrics × models and phases, with intervals, lifts, unparsed shares and numbers of rows.

    `summary` adds the lines that count unparsed answers and metrics on which the blind baseline is beaten.
    """
    columns = [(model, phase) for model in grid.models for phase in grid.phases]
    header: list[Inline | Cell] = ["metric", "rows", "blind"]
    header += [Cell.of(model, phase) for model, phase in columns]
    groups: list[tuple[str, list[list[Inline | Cell]]]] = []
    for heading, metrics in grid.sections():
        rows: list[list[Inline | Cell]] = [
            [
                metric_label(key),
                "–".join(str(count) for count in grid.rows_asked(key)),
                fixed(grid.blind[key], 5) if key in grid.blind else NOTHING,
                *(score_cell(grid.get(model, phase, key)) for model, phase in columns),
            ]
            for key in metrics
        ]
        groups.append((heading, rows))
    if summary:
        wins = [Strong(f"{grid.wins(model, phase)} of {len(grid.asked)}") for model, phase in columns]
        shares = [percent(grid.unparsed_share(model, phase)) for model, phase in columns]
        lines: list[list[Inline | Cell]] = [["beats blind on", "", "", *wins], ["unparsed answers", "", "", *shares]]
        if grid.has_out_of_range:
            far = [percent(grid.out_of_range_share(model, phase)) for model, phase in columns]
            lines.append(["out of range", "", "", *far])
        groups.append(("in all", lines))
    return Table.grouped(header, groups, range(1, len(header)), ends_in_sight=len(grid.phases) > 1)


def score_cell(score: Score | None) -> Cell:
    if score is None or score.value is None:
        return NOTHING
    value = fixed(score.value, 5)
    lines: list[Line] = [(Strong(value), Toned(" ✓", "good")) if beats_blind(score) else (value,)]
    if score.low is not None and score.high is not None:
        lines.append((f"{fixed(score.low, 5)}–{fixed(score.high, 5)}",))
    if score.lift is not None:
        lines.append((f"lift {signed(score.lift)}",))
    return Cell((*lines, *flaws(score)))


def flaws(score: Score) -> Iterator[Line]:
    """What of its rows says little about the pictures: how many answers were unread, or out of range."""
    for share, what in ((score.unparsed_share, "unparsed"), (score.out_of_range_share, "out of range")):
        if share:
            yield (Toned(f"{percent(share)} {what}", "warn"),)


def signed(value: float, width: int = 5) -> str:
    """With its sign, a true minus, and none of what rounds to nothing."""
    text = fixed(abs(value), width)
    return text if not float(text) else f"{'+' if value > 0 else '−'}{text}"


def _levels(facts: RunFacts) -> list[Block]:
    words = {
        "group": "A group's score is the mean of its F1 metrics in the table of 13; errors have another unit and are "
        "left out.",
        "subtype": "Each subtype by itself: F1 of yes, macro F1 of classes, or a mean absolute error (MAE ↓).",
    }
    blocks: list[Block] = []
    for level, title in (("group", "Per group"), ("subtype", "Per subtype")):
        table = level_table(facts.scores, level, facts.grid)
        if table is not None:
            inner = (Paragraph.of(words[level]), table)
            blocks.append(Subsection(title, inner) if level == "group" else Fold(title, inner))
    return blocks


def level_table(scores: Sequence[Score], level: str, grid: ScoreGrid) -> Table | None:
    """Groups or subtypes × models and phases; None where nothing was asked."""
    found = {(s.name, s.model, s.phase): s for s in of_the_tables(scores) if s.level == level and s.value is not None}
    names = list(dict.fromkeys(name for name, _, _ in found))
    if not names:
        return None
    columns = [(model, phase) for model in grid.models for phase in grid.phases]
    rows: list[list[Inline | Cell]] = []
    for name in names:
        scores_here = [found.get((name, model, phase)) for model, phase in columns]
        one = next(score for score in scores_here if score is not None)
        blind = NOTHING if one.blind_baseline is None else fixed(one.blind_baseline, 5)
        label = f"{name} (MAE ↓)" if one.lower_is_better else name
        rows.append([label, str(one.asked), blind, *map(score_cell, scores_here)])
    header: list[Inline | Cell] = [level, "rows", "blind", *(Cell.of(model, phase) for model, phase in columns)]
    return Table.of(header, rows, range(1, len(header)), ends_in_sight=len(grid.phases) > 1)
