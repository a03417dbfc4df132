"""What was answered instead: gold answers against read ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from urbanvlm.dataset.taxonomy import NUMERIC_KINDS, SUBTYPES
from urbanvlm.evaluate.metrics import Row
from urbanvlm.evaluate.profiles import Profile
from urbanvlm.report.document import Block, Cell, Inline, Panels, Paragraph, Section, Subsection, Table
from urbanvlm.report.facts import Evaluation, RunFacts

MOST_LABELS = 12
UNREAD = "not read"
OTHER = "other"
"""any answer that is no gold answer here, or one of the rarest"""


@dataclass(frozen=True)
class Confusion:
    """Counts of (gold, answer) of one subtype."""

    subtype: str
    golds: tuple[str, ...]
    answers: tuple[str, ...]
    """the gold ones, and all of a closed set, in the same order, then OTHER where it occurs, then UNREAD"""
    counts: dict[tuple[str, str], int]

    def share(self, gold: str, answer: str) -> float:
        total = sum(self.counts.get((gold, one), 0) for one in self.answers)
        return self.counts.get((gold, answer), 0) / total if total else 0.0


def confusions(rows: Sequence[Row], profile: Profile) -> list[Confusion]:
    """One for each subtype whose answers are classes, in the order of the taxonomy."""
    by_subtype: dict[str, list[Row]] = {}
    for row in rows:
        if row.subtype.answer_kind not in NUMERIC_KINDS:
            by_subtype.setdefault(row.subtype.name, []).append(row)
    return [_confusion(name, by_subtype[name], profile) for name in SUBTYPES if name in by_subtype]


def _confusion(subtype: str, rows: Sequence[Row], profile: Profile) -> Confusion:
    golds = Counter(str(profile.in_words(row.gold, row.subtype)) for row in rows)
    ordered = sorted(golds, key=lambda gold: (-golds[gold], gold))
    kept = sorted(ordered[:MOST_LABELS], key=_order)
    answers = sorted({*kept, *_closed(subtype, golds)}, key=_order)
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        gold, answer = (str(profile.in_words(value, row.subtype)) for value in (row.gold, row.parsed.value))
        if row.parsed.status != "answer":
            answer = UNREAD
        gold = gold if gold in kept else OTHER
        counts[gold, answer if answer in answers or answer == UNREAD else OTHER] += 1
    others = [OTHER] if any(OTHER in pair for pair in counts) else []
    rare = [OTHER] if len(ordered) > MOST_LABELS else []
    return Confusion(subtype, (*kept, *rare), (*answers, *others, UNREAD), dict(counts))


_SCALES = (("yes", "no"), ("low", "moderate", "high"), ("left side", "right side", "evenly spread"))


def _closed(subtype: str, golds: Collection[str]) -> Collection[str]:
    """All labels of a closed set, though some are never gold; of the paper profile, which has sets of its own, too."""
    sets = (SUBTYPES[subtype].answers or (), *_SCALES)
    return next((labels for labels in sets if set(labels).issuperset(golds)), ())


def _order(label: str) -> tuple[int, str]:
    for scale in _SCALES:
        if label in scale:
            return scale.index(label), ""
    return len(_SCALES), label


def confusion_section(facts: RunFacts) -> Section | None:
    """One panel a model and phase, the last phase of the first model in front."""
    evaluations = [one for one in facts.seeing if confusions(one.rows, facts.profile)]
    if not evaluations:
        return None
    chosen = next(
        number
        for number, one in enumerate(evaluations)
        if (one.model, one.phase) == (evaluations[0].model, _last(facts))
    )
    words = Paragraph.of(
        "A line is a gold answer, a column what was read from the model's text, the shade the share of its line. "
        f"“{UNREAD}” counts answers that are unparsed or missing."
    )
    panels = tuple((one.name, _panel(one, facts.profile)) for one in evaluations)
    return Section("Confusions", (words, Panels("Model", panels, chosen)))


def _last(facts: RunFacts) -> str:
    return facts.grid.phases[-1]


def _panel(evaluation: Evaluation, profile: Profile) -> tuple[Block, ...]:
    found = confusions(evaluation.rows, profile)
    yes_no = [one for one in found if set(one.golds) <= {"yes", "no"}]
    classes = [one for one in found if one not in yes_no]
    blocks: list[Block] = []
    if yes_no:
        blocks.append(Subsection("Yes or no", (_yes_no_table(yes_no),)))
    blocks += [Subsection(one.subtype, (_matrix(one),)) for one in classes]
    return tuple(blocks)


def _yes_no_table(found: Sequence[Confusion]) -> Table:
    """A line a subtype: of gold yes, then of gold no."""
    answers = ("yes", "no", *([OTHER] if any(OTHER in one.answers for one in found) else []), UNREAD)
    header: list[Inline | Cell] = ["subtype"]
    header += [Cell.of(answer, f"gold {gold}") for gold in ("yes", "no") for answer in answers]
    rows: list[list[Inline | Cell]] = [
        [one.subtype, *(_count(one, gold, answer) for gold in ("yes", "no") for answer in answers)] for one in found
    ]
    return Table.of(header, rows, range(1, len(header)), compact=True)


def _matrix(one: Confusion) -> Table:
    rows: list[list[Inline | Cell]] = [
        [gold, *(_count(one, gold, answer) for answer in one.answers)] for gold in one.golds
    ]
    return Table.of([Cell.of("gold ↓", "read →"), *one.answers], rows, range(1, len(one.answers) + 1), compact=True)


def _count(one: Confusion, gold: str, answer: str) -> Cell:
    count = one.counts.get((gold, answer), 0)
    return Cell.of(str(count), tone="" if count else "muted", share=one.share(gold, answer))
