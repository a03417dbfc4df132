"""The gains of fine-tuning with their intervals, beside those that the study published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.evaluate.compare import Difference, gain
from urbanvlm.experiment import Experiment
from urbanvlm.percent import half_up
from urbanvlm.report.document import (
    Block,
    Cell,
    Figure,
    Inline,
    Line,
    Paragraph,
    Section,
    Strong,
    Table,
    Toned,
)
from urbanvlm.report.facts import RunFacts
from urbanvlm.report.grid import ScoreGrid
from urbanvlm.report.study import published_gains, study_models
from urbanvlm.report.tables import fixed, metric_label


@dataclass(frozen=True)
class Gain:
    """Of one model on one metric: (after - before) / before, + where fine-tuning helped."""

    model: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    """95 % interval of the difference on the same rows, divided by the score before"""

    @property
    def beyond_chance(self) -> bool:
        """Does the whole interval lie on one side of nothing?"""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def gains_of(facts: RunFacts) -> list[Gain]:
    """Every metric that was asked, of every model that was fine-tuned; none where the score before is 0."""
    grid, found = facts.grid, []
    for model in grid.models:
        before, after = facts.seeing_of(model, "before"), facts.seeing_of(model, "after")
        if before is None or after is None:
            continue
        found_here = facts.paired(before, after)
        differences = {one.name: one for one in found_here if one.level == "metric"}
        found += _gains_of_model(grid, model, differences)
    return found


def _gains_of_model(grid: ScoreGrid, model: str, differences: Mapping[str, Difference]) -> list[Gain]:
    gains = []
    for metric in METRICS:
        before = grid.get(model, "before", metric)
        change = gain(before, grid.get(model, "after", metric))
        if change is None or before is None or before.value is None:
            continue
        one = differences.get(metric)
        if one is None or one.low is None or one.high is None:
            gains.append(Gain(model, metric, change))
        else:
            # The score before is taken as it is, so the ends could be beyond what a score after can be.
            best = 1.0 if before.lower_is_better else 1 / before.value - 1
            least = -math.inf if before.lower_is_better else -1.0
            low, high = max(least, one.low / before.value), min(best, one.high / before.value)
            gains.append(Gain(model, metric, change, low, high))
    return gains


def gains_section(facts: RunFacts) -> Section | None:
    gains = gains_of(facts)
    if not gains:
        return None
    from urbanvlm.report.plots import draw_gains

    experiment, grid = facts.run.experiment, facts.grid
    published = {
        (model.label, metric): value for model in experiment.models for metric, value in published_gains(model).items()
    }
    words = Paragraph.of(
        "The gain is (after − before) / before of an F1, (before − after) / before of an MAE: positive where "
        "fine-tuning helped. Under it stands its 95 % interval: that of the difference on the same rows, divided by "
        "the score before. In ",
        Strong("bold"),
        " stands a gain or a loss that is larger than chance: its interval leaves out 0. There is no gain where the "
        "score before is 0, and no interval where fewer than two places bear on the scores. +0.0 % is no change, or "
        "one of less than a twentieth of a percent.",
    )
    keys = grid.asked + grid.beside
    figure = Figure(
        "gains",
        "Gain of fine-tuning per metric and model",
        cache(lambda: draw_gains(gains, keys, grid.models, published)),
        lambda: draw_gains(gains, keys, grid.models, published, narrow=True),
    )
    blocks: list[Block] = [gains_table(gains, grid, published), words, *_reference_words(experiment), figure]
    return Section("Gains of fine-tuning", tuple(blocks))


def _reference_words(experiment: Experiment) -> list[Block]:
    known = study_models(experiment)
    if not known:
        words = (
            "None of these checkpoints is one that the study fine-tuned, so its published gains do not stand beside."
        )
        return [Paragraph.of(words, tone="muted")]
    names = ", ".join(f"{label} with {name}" for label, name in known.items())
    words = (
        f"“study” is what Ro, Kim and Yoon published (arXiv 2508.21565), for {names}: other pictures and other "
        "questions, so a reference and no target."
    )
    return [Paragraph.of(words)]


def gains_table(gains: Sequence[Gain], grid: ScoreGrid, published: Mapping[tuple[str, str], float]) -> Table:
    found = {(one.model, one.metric): one for one in gains}
    header: list[Inline | Cell] = ["metric", *grid.models]
    groups: list[tuple[str, list[list[Inline | Cell]]]] = []
    for heading, keys in grid.sections():
        rows: list[list[Inline | Cell]] = [
            [
                metric_label(key),
                *(_cell(grid, found.get((m, key)), m, key, published.get((m, key))) for m in grid.models),
            ]
            for key in keys
        ]
        groups.append((heading, rows))
    return Table.grouped(header, groups, range(1, len(header)))


def _cell(grid: ScoreGrid, one: Gain | None, model: str, metric: str, published: float | None) -> Cell:
    lines: list[Line] = [("–",)]
    if one is not None:
        words = gain_words(one.value)
        sign = Toned(" ▲" if one.value > 0 else " ▼", "good" if one.value > 0 else "bad")
        lines = [(Strong(words), sign) if one.beyond_chance else (words,)]
        if one.low is not None and one.high is not None:
            lines.append((f"{gain_words(one.low)} to {gain_words(one.high)}",))
    elif after := grid.get(model, "after", metric):
        lines.append((f"0 → {fixed(after.value or 0.0, 5)}",))
    if published is not None:
        lines.append((Toned(f"study {gain_words(published)}", "muted"),))
    return Cell(tuple(lines))


def gain_words(change: float) -> str:
    """`+12.5 %`, with a true minus."""
    # Adding zero takes the sign from what rounds to none.
    return f"{half_up(100 * change, 1) + 0.0:+.1f} %".replace("-", "−")
