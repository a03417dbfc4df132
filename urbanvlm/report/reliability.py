"""How many answers could be read, by subtype and model, and what those said that could not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.percent import percent
from urbanvlm.report.document import Block, Bullets, Cell, Line, Panels, Paragraph, Section, Subsection, Table, Toned
from urbanvlm.report.facts import Evaluation, RunFacts
from urbanvlm.report.markdown import shorten

COMMONEST = 5
LONGEST_TEXT = 120


@dataclass(frozen=True)
class Read:
    """What became of the answers to the questions of one subtype."""

    answers: int
    unparsed: int
    missing: int

    @property
    def asked(self) -> int:
        return self.answers + self.unparsed + self.missing

    @property
    def lost(self) -> int:
        return self.unparsed + self.missing


def read_by_subtype(evaluation: Evaluation) -> dict[str, Read]:
    """In the order of the taxonomy, of what was asked."""
    counts: dict[str, Counter[str]] = {}
    for row in evaluation.rows:
        counts.setdefault(row.subtype.name, Counter())[row.parsed.status] += 1
    return {
        name: Read(counts[name]["answer"], counts[name]["unparsed"], counts[name]["missing"])
        for name in SUBTYPES
        if name in counts
    }


def commonest_unparsed(evaluation: Evaluation, most: int = COMMONEST) -> list[tuple[str, int]]:
    """(text on one line, how often it was said), the most frequent first, equals by the alphabet."""
    said = Counter(
        " ".join(evaluation.texts[row.example_id].split()) for row in evaluation.rows if row.parsed.status == "unparsed"
    )
    return sorted(said.items(), key=lambda item: (-item[1], item[0]))[:most]


def reliability_section(facts: RunFacts) -> Section:
    evaluations = facts.seeing
    found = [read_by_subtype(one) for one in evaluations]
    if not any(read.lost for reads in found for read in reads.values()):
        return Section("Reading the answers", (Paragraph.of("Every answer could be read."),))
    words = Paragraph.of(
        "Share of answers that could not be read (unparsed) or are missing, in percent of those asked. A score with "
        "many of them says more about the form of the answers than about what was seen."
    )
    blocks: list[Block] = [words, _table(evaluations, found)]
    if texts := tuple((one.name, (_texts(one),)) for one in evaluations if _lost(one)):
        blocks.append(Subsection("What was said instead, most often", (Panels("Model", texts),)))
    return Section("Reading the answers", tuple(blocks))


def _lost(evaluation: Evaluation) -> bool:
    return any(row.parsed.status == "unparsed" for row in evaluation.rows)


def _table(evaluations: Sequence[Evaluation], found: Sequence[dict[str, Read]]) -> Table:
    rows: list[list[str | Cell]] = []
    for name in SUBTYPES:
        reads = [reads.get(name) for reads in found]
        if any(reads):
            rows.append([name, *map(_cell, reads)])
    rows.append(["all", *(_cell(_sum(reads)) for reads in found)])
    header: list[str | Cell] = ["subtype", *(Cell.of(one.model, one.phase) for one in evaluations)]
    return Table.of(header, rows, range(1, len(header)))


def _sum(reads: dict[str, Read]) -> Read:
    return Read(*(sum(getattr(read, key) for read in reads.values()) for key in ("answers", "unparsed", "missing")))


def _cell(read: Read | None) -> Cell:
    if read is None:
        return Cell.of("–", tone="muted")
    if not read.lost:
        return Cell.of("0", tone="muted", share=0.0)
    share = read.lost / read.asked
    lines: list[str] = [percent(share)]
    if read.missing:
        lines.append(f"{read.missing} missing")
    return Cell.of(*lines, share=share)


def _texts(evaluation: Evaluation) -> Bullets:
    items: list[Line] = []
    for text, count in commonest_unparsed(evaluation):
        shown = shorten(text, LONGEST_TEXT) if text else "(nothing)"
        items.append((f"{count} × ", Toned(f"“{shown}”" if text else shown, "muted" if not text else "")))
    return Bullets(tuple(items))
