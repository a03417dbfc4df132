"""The questions themselves: what is wrong with them, and what their labels give away to a guesser."""

from __future__ import annotations

from urbanvlm.dataset.audit import Audit, Labels
from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.percent import percent
from urbanvlm.report.document import (
    NOTHING,
    Block,
    Bullets,
    Cell,
    Code,
    Fold,
    Inline,
    Link,
    Paragraph,
    Section,
    Subsection,
    Table,
    Tone,
    Toned,
)
from urbanvlm.report.facts import RunFacts
from urbanvlm.report.tables import fixed
from urbanvlm.run_folder import RunFolder

_TONES: dict[str, Tone] = {"error": "bad", "warning": "warn", "note": "muted"}
SHOWN_LABELS = 5


def audit_section(facts: RunFacts) -> Section:
    audit = facts.audit
    what = f"The test split has {audit.rows} rows about {audit.images} pictures of {audit.places} places."
    if audit.majority_share is not None:
        share = percent(audit.majority_share)
        what += f" Its subtypes' most frequent answers, given blindly, are right on {share} of the rows."
    blocks: list[Block] = [Paragraph.of(what), *_findings(audit, facts.run), *_labels(audit), *_blind(audit)]
    card = facts.run.dataset / "card.md"
    if card.is_file():
        target = card.relative_to(facts.run.path).as_posix()
        blocks.append(Paragraph.of("More in the ", Link("dataset card", target), "."))
    return Section("Label audit", tuple(blocks))


def _findings(audit: Audit, run: RunFolder) -> list[Block]:
    if not audit.findings:
        return [Paragraph.of("Nothing was found that is wrong with it.")]
    rows: list[list[Inline | Cell]] = [
        [
            Cell.of(Toned(found.severity, _TONES[found.severity])),
            Cell.of(Code(found.code)),
            str(found.count),
            _inside(run, found.message),
        ]
        for found in audit.findings
    ]
    table = Table.of(["finding", "code", "count", "what"], rows, (2,))
    items = [(Code(f.code), f" {_inside(run, words)}") for f in audit.findings for words in f.examples]
    return [table, Fold("Where", (Bullets(tuple(items)),))] if items else [table]


def _inside(run: RunFolder, words: str) -> str:
    """With paths as they are inside the run folder: where that lies is of no use to a reader elsewhere."""
    return words.replace(f"{run.path}/", "")


def _labels(audit: Audit) -> list[Block]:
    if not audit.labels:
        return []
    rows: list[list[Inline | Cell]] = [
        [
            labels.subtype,
            str(labels.rows),
            f"{labels.most} ({percent(labels.majority_share)})",
            NOTHING if labels.entropy is None else Cell.of(f"{labels.entropy:.2f}", share=1 - min(1.0, labels.entropy)),
            _answers(labels),
        ]
        for labels in audit.labels
    ]
    words = (
        "How the gold answers are spread: a high share of one answer is what a blind guesser lives on. Entropy is 1 "
        "where all answers are equally frequent, 0 where there is only one."
    )
    header = ["subtype", "rows", "most frequent answer", "entropy", "answers"]
    return [Subsection("Labels", (Paragraph.of(words), Table.of(header, rows, (1, 3))))]


def _answers(labels: Labels) -> str:
    """`yes 41, no 38`, the most frequent first."""
    shown = [f"{label} {count}" for label, count in list(labels.labels.items())[:SHOWN_LABELS]]
    left = len(labels.labels) - len(shown)
    return ", ".join(shown) + (f", {left} more" if left else "")


def _blind(audit: Audit) -> list[Block]:
    if not audit.blind:
        return []
    rows: list[list[Inline | Cell]] = []
    for blind in audit.blind:
        metric = METRICS[blind.metric]
        label = f"{metric.group}: {metric.name}{' (MAE ↓)' if blind.is_error else ''}"
        rows.append([label, str(blind.rows), fixed(blind.score, 5), percent(blind.majority_share)])
    header = ["metric", "rows", "blind baseline", "rows with the most frequent answer"]
    return [Fold("What a blind guesser scores on each metric", (Table.of(header, rows, (1, 2, 3)),))]
