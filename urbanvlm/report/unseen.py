"""What the models know without seeing: their scores with the real pictures against those with none, or another's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.evaluate.compare import Difference
from urbanvlm.records import Score
from urbanvlm.report.document import (
    NOTHING,
    Block,
    Bullets,
    Cell,
    Inline,
    Line,
    Panels,
    Paragraph,
    Section,
    Strong,
    Table,
    Toned,
)
from urbanvlm.report.facts import Evaluation, RunFacts
from urbanvlm.report.pairs import beyond_chance, difference_cells
from urbanvlm.report.scores import score_cell
from urbanvlm.report.tables import fixed, metric_label

_SHOWN = {"blank": "an even grey picture", "shuffled": "a picture of another place"}


@dataclass(frozen=True)
class Drop:
    """One model in one phase, with the real pictures and without."""

    seeing: Evaluation
    images: str
    differences: tuple[Difference, ...]
    """of each metric, real less unseen, + where seeing helps"""

    @property
    def helped(self) -> frozenset[str]:
        """Metrics of the table on which seeing helps by more than chance."""
        table = [one for one in self.differences if METRICS[one.name].in_table]
        return frozenset(one.name for one in table if one.name in beyond_chance(table) and one.difference > 0)


def drops(facts: RunFacts) -> list[Drop]:
    found = []
    for one in facts.evaluations:
        seeing = facts.seeing_of(one.model, one.phase)
        if one.images == "real" or seeing is None or seeing.images != "real":
            continue
        differences = facts.paired(one, seeing)
        found.append(Drop(seeing, one.images, tuple(pair for pair in differences if pair.level == "metric")))
    return found


def unseen_section(facts: RunFacts) -> Section | None:
    found = drops(facts)
    if not found:
        return None
    kinds = list(dict.fromkeys(drop.images for drop in found))
    shown = " and ".join(f"{kind} ({_SHOWN.get(kind, kind)})" for kind in kinds)
    words = Paragraph.of(
        f"The same questions, shown {shown} instead of the picture that they are about. What a model still answers, it "
        "knows from the questions alone; the ",
        Strong("drop"),
        " is what seeing adds. Its interval and p come from a bootstrap over places on the same rows; ✓ marks a drop "
        "larger than chance with as many metrics tried (Holm's procedure).",
    )
    blocks: list[Block] = [words, Bullets(tuple(_statement(drop) for drop in found))]
    last = max(number for number, drop in enumerate(found) if drop.seeing.phase == found[-1].seeing.phase)
    panels = tuple((f"{drop.seeing.name}, {drop.images}", (_table(facts, drop),)) for drop in found)
    blocks.append(Panels("Model", panels, last))
    return Section("Without seeing", tuple(blocks))


def _statement(drop: Drop) -> Line:
    count = sum(METRICS[one.name].in_table for one in drop.differences)
    words = f" {drop.seeing.phase}: seeing ({drop.images} → real) helps by more than chance on "
    return (Strong(drop.seeing.model), words, Strong(f"{len(drop.helped)} of {count}"), " metrics.")


def _table(facts: RunFacts, drop: Drop) -> Table:
    unseen = {s.name: s for s in _metrics(facts.scores, drop)}
    rows: list[list[Inline | Cell]] = []
    for one in drop.differences:
        real = facts.grid.get(drop.seeing.model, drop.seeing.phase, one.name)
        metric = METRICS[one.name]
        blind = facts.grid.blind.get(one.name)
        value, *rest = difference_cells(one)
        marked = Cell.of((str(value), Toned(" ✓", "good"))) if one.name in drop.helped else value
        rows.append(
            [
                f"{metric.group}: {metric_label(one.name)}",
                NOTHING if blind is None else fixed(blind, 5),
                score_cell(real),
                score_cell(unseen.get(one.name)),
                marked,
                *rest,
            ]
        )
    header = ["metric", "blind", "real", drop.images, "drop", "95 % interval", "p"]
    return Table.of(header, rows, range(1, len(header)))


def _metrics(scores: Sequence[Score], drop: Drop) -> Iterator[Score]:
    stamp = (drop.seeing.model, drop.seeing.phase, drop.images)
    for score in scores:
        found = (score.model, score.phase, score.images) == stamp
        if found and score.level == "metric" and score.average != "weighted":
            yield score
