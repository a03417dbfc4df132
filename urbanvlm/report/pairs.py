"""Which differences between runs are larger than chance: paired on the rows that both were asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.errors import UserError
from urbanvlm.evaluate.asked import asked_examples
from urbanvlm.evaluate.compare import Difference, paired
from urbanvlm.evaluate.profiles import Profile
from urbanvlm.records import dataset_fingerprint
from urbanvlm.report.columns import Column
from urbanvlm.report.document import (
    NOTHING,
    Block,
    Bullets,
    Cell,
    Fold,
    Inline,
    Line,
    Paragraph,
    Section,
    Strong,
    Table,
    Toned,
)
from urbanvlm.report.facts import Evaluation, judged, profile_of_run
from urbanvlm.report.grid import shown_images
from urbanvlm.report.scores import signed
from urbanvlm.report.tables import metric_label
from urbanvlm.stages import Stage, needs_of

MOST_IN_PAIRS = 6
"""columns of which every two are compared; of more, each with the first"""
LEVEL = 0.05


@dataclass(frozen=True)
class Judged:
    """The last answers of one column."""

    evaluation: Evaluation
    asked: str
    """fingerprint of what was asked"""
    profile: Profile
    resamples: int
    seed: int


@dataclass(frozen=True)
class Pair:
    """Two columns that were asked the same, and how the second differs from the first."""

    first: str
    second: str
    differences: tuple[Difference, ...]
    beyond_chance: frozenset[str]
    """metrics whose difference stays significant with as many metrics tried (Holm)"""


def beyond_chance(differences: Sequence[Difference]) -> frozenset[str]:
    """Names of those that Holm's procedure keeps at 5 %: Holm 1979, Scand. J. Statist. 6:65-70."""
    tested = sorted((one for one in differences if one.p is not None), key=lambda one: (one.p, one.name))
    kept = set()
    for number, one in enumerate(tested):
        if one.p is None or one.p > LEVEL / (len(tested) - number):
            break
        kept.add(one.name)
    return frozenset(kept)


def pairs_section(columns: Sequence[Column]) -> Section:
    title = "Differences"
    if len(columns) < 2:
        return Section(title, (Paragraph.of("There is nothing to compare with."),))
    found, refused = _pairs(columns)
    blocks: list[Block] = []
    if found:
        blocks.append(Paragraph.of(*_WORDS))
        if len(columns) > MOST_IN_PAIRS:
            blocks.append(Paragraph.of(f"Of so many, each is compared with the first, {columns[0].name}."))
        blocks.append(Bullets(tuple(_statement(pair) for pair in found)))
        blocks += [Fold(f"{pair.second} against {pair.first}, metric by metric", (_table(pair),)) for pair in found]
    if refused:
        blocks.append(Paragraph.of("These stand side by side, but cannot be compared pairwise:"))
        blocks.append(Bullets.of(*refused))
    return Section(title, tuple(blocks))


_WORDS: Line = (
    "The answers after the last phase, compared row by row on the questions that both were asked; intervals and p come "
    "from one bootstrap over places, and there are none where fewer than two places bear on the scores. A difference "
    "is called ",
    Strong("larger than chance"),
    " if its p stays below 5 % with as many metrics tried (Holm's procedure, within each pair of runs).",
)


def _pairs(columns: Sequence[Column]) -> tuple[list[Pair], list[Line]]:
    """(what could be compared, a line for each pair that could not)."""
    if len(columns) <= MOST_IN_PAIRS:
        chosen = list(combinations(columns, 2))
    else:
        chosen = [(columns[0], other) for other in columns[1:]]
    judged_columns: dict[str, Judged | str] = {}
    pairs: list[Pair] = []
    refused: list[Line] = []
    broken: set[str] = set()
    for first, second in chosen:
        for column in (first, second):
            if column.name not in judged_columns:
                judged_columns[column.name] = _judge(column)
        a, b = judged_columns[first.name], judged_columns[second.name]
        if len(columns) > MOST_IN_PAIRS:
            # Each but the first is needed once: thousands of answers need not stay in memory.
            del judged_columns[second.name]
        for column, one in ((first, a), (second, b)):
            if isinstance(one, str) and column.name not in broken:
                broken.add(column.name)
                refused.append((Strong(column.name), f": {one}"))
        if isinstance(a, str) or isinstance(b, str):
            continue
        if a.asked != b.asked:
            words = " were not asked the same questions with the same answers"
            refused.append((Strong(first.name), " and ", Strong(second.name), words))
            continue
        if a.profile != b.profile:
            words = f" were scored by two profiles, {a.profile.name} and {b.profile.name}"
            refused.append((Strong(first.name), " and ", Strong(second.name), words))
            continue
        differences = paired(
            a.evaluation.rows, b.evaluation.rows, profile=a.profile, resamples=a.resamples, seed=a.seed
        )
        metrics = tuple(one for one in differences if one.level == "metric")
        table = [one for one in metrics if METRICS[one.name].in_table]
        pairs.append(Pair(first.name, second.name, metrics, beyond_chance(table)))
    return pairs, refused


def _judge(column: Column) -> Judged | str:
    """The answers of the last phase, or why there are none."""
    (result, model), *_ = column.members
    try:
        asked = asked_examples(result.run)
        settings = result.run.experiment.evaluate
        profile = profile_of_run(result.run)
        stages = [one for one in needs_of(result.run.experiment, Stage("report")) if one.model == model]
        if not stages:
            return "no answers"
        shown = shown_images((one.model, one.images) for one in stages)[model]
        last = [one for one in stages if one.images == shown][-1]
        evaluation = judged(result.run, asked, profile, last)
    except UserError as error:
        return str(error).replace(f"{result.run.path}/", "")
    fingerprint, seed = dataset_fingerprint(asked.examples), result.run.experiment.seed
    return Judged(evaluation, fingerprint, profile, settings.bootstrap_resamples, seed)


def _statement(pair: Pair) -> Line:
    """`cot against plain: better on 2 of 9 metrics (count, presence), worse on none; 7 within chance.`"""
    table = [one for one in pair.differences if METRICS[one.name].in_table]
    better = [one for one in table if one.name in pair.beyond_chance and one.difference > 0]
    worse = [one for one in table if one.name in pair.beyond_chance and one.difference < 0]
    rest = len(table) - len(better) - len(worse)
    if not better and not worse:
        return (
            Strong(pair.second),
            " against ",
            Strong(pair.first),
            f": no difference larger than chance, on {rest} metrics.",
        )
    words = f"; on {rest} of {len(table)} the difference is no larger than chance."
    return (
        Strong(pair.second),
        " against ",
        Strong(pair.first),
        ": ",
        Toned(f"better on {_names(better)}", "good" if better else "muted"),
        ", ",
        Toned(f"worse on {_names(worse)}", "bad" if worse else "muted"),
        words,
    )


def _names(differences: Sequence[Difference]) -> str:
    if not differences:
        return "none"
    names = ", ".join(f"{METRICS[one.name].group} {METRICS[one.name].name}" for one in differences)
    return f"{len(differences)} ({names})"


def _table(pair: Pair) -> Table:
    rows: list[list[Inline | Cell]] = []
    for one in pair.differences:
        metric = METRICS[one.name]
        rows.append([f"{metric.group}: {metric_label(one.name)}", *difference_cells(one), _verdict(pair, one)])
    header = ["metric", "difference, + is better", "95 % interval", "p", ""]
    return Table.of(header, rows, (1, 2, 3))


def difference_cells(one: Difference) -> Iterator[Inline | Cell]:
    """Value, interval and p."""
    yield signed(one.difference)
    yield NOTHING if one.low is None or one.high is None else f"{signed(one.low)} to {signed(one.high)}"
    yield NOTHING if one.p is None else p_words(one.p)


def p_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _verdict(pair: Pair, one: Difference) -> Cell:
    if not METRICS[one.name].in_table:
        return Cell.of("beside the 13", tone="muted")
    if one.name not in pair.beyond_chance:
        return Cell.of("within chance", tone="muted")
    return Cell.of(Toned(f"{pair.second if one.difference > 0 else pair.first} is better", "good"))
