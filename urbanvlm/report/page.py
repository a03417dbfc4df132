"""The report of a run: its sections in order, and the files that they become."""

from __future__ import annotations

from collections.abc import Mapping

from urbanvlm.dataset.images import open_image
from urbanvlm.evaluate.scores_file import write_scores
from urbanvlm.records import write_atomic
from urbanvlm.report.audit import audit_section
from urbanvlm.report.confusion import confusion_section
from urbanvlm.report.document import (
    Block,
    Bullets,
    Document,
    Emphasis,
    Facts,
    Figure,
    Line,
    Link,
    Notice,
    OnlyMarkdown,
    OnlyPage,
    Paragraph,
    Section,
    Strong,
    Table,
)
from urbanvlm.report.errors import errors_section
from urbanvlm.report.facts import RunFacts, gather
from urbanvlm.report.gains import gains_section
from urbanvlm.report.gallery import Reply, Scene, choose_examples, draw_gallery
from urbanvlm.report.html import render_page
from urbanvlm.report.making import making_section
from urbanvlm.report.markdown import figures_of, render_markdown, shorten
from urbanvlm.report.reliability import reliability_section
from urbanvlm.report.scores import scores_section
from urbanvlm.report.spreadsheet import csv_table, latex_table
from urbanvlm.report.tables import PARTIAL_REASON, PARTIAL_STAMP
from urbanvlm.report.training import training_section
from urbanvlm.report.unseen import unseen_section
from urbanvlm.run_folder import RunFolder, mark_complete, marker_of
from urbanvlm.same_inputs import refusal

SCENES = 9
LONGEST_REPLY = 160


def make_report(run: RunFolder) -> RunFacts:
    """Score a run anew from its predictions and write all that comes of it; `report.md` is marked finished last.

    Raises UserError where a file is missing or broken; what was there before then stays.
    """
    facts = gather(run)
    for path in (run.scores, run.report):
        marker_of(path).unlink(missing_ok=True)
    write_scores(run.scores, facts.scores)
    mark_complete(run.scores)
    write_report(facts)
    mark_complete(run.report)
    return facts


def write_report(facts: RunFacts) -> None:
    """Write `report/`, `report.html` and, last, `report.md`; each file atomically, the same input the same bytes.

    Raises ValueError where the scores contradict each other.
    """
    from urbanvlm.report.plots import save_png

    run = facts.run
    document = report_of(facts)
    pictures = run.path / "report"
    pictures.mkdir(exist_ok=True)
    figures = [f for part in (document.opening, *(s.blocks for s in document.sections)) for f in figures_of(part)]
    for figure in figures:
        save_png(figure.draw(), pictures / f"{figure.name}.png")
    # A plot of before, of what is no longer there, would be taken for one of now.
    for path in set(pictures.glob("*.png")) - {pictures / f"{figure.name}.png" for figure in figures}:
        path.unlink()
    write_atomic(pictures / "scores.csv", csv_table(facts.scores))
    write_atomic(pictures / "scores.tex", latex_table(facts.grid, partial=facts.asked.partial))
    write_atomic(run.page, render_page(document))
    write_atomic(run.report, render_markdown(document, f"{pictures.name}/"))


def report_of(facts: RunFacts) -> Document:
    sections = [
        scores_section(facts),
        gains_section(facts),
        unseen_section(facts),
        reliability_section(facts),
        confusion_section(facts),
        training_section(facts),
        _scenes_section(facts),
        errors_section(facts),
        audit_section(facts),
        making_section(facts),
    ]
    experiment = facts.run.experiment
    return Document(experiment.name, _opening(facts), tuple(section for section in sections if section is not None))


def _opening(facts: RunFacts) -> tuple[Block, ...]:
    """What was asked, and the answer in a line a model."""
    experiment, asked, grid = facts.run.experiment, facts.asked, facts.grid
    blocks: list[Block] = []
    if experiment.question.strip():
        blocks.append(Paragraph.of(Emphasis(experiment.question)))
    if asked.partial:
        words = f" — {PARTIAL_REASON}: only the first {len(asked.examples)} were asked."
        blocks.append(Notice.of(Strong(PARTIAL_STAMP), words))
    places = len({example.place for example in asked.examples})
    blocks.append(Paragraph.of(f"{len(asked.examples)} questions about {places} places."))
    if asked.without_gold:
        count, first = len(asked.without_gold), asked.without_gold[0]
        words = f"Not asked, because the gold answer does not fit the question: {count} rows. First: {first}"
        blocks.append(Notice.of(words))
    if facts.changed:
        blocks.append(Notice.of(str(refusal(facts.run, experiment, facts.changed))))
    for model, images in grid.unseen.items():
        blocks.append(Notice.of(Strong(model), f" never saw the pictures: it was shown {images} ones."))
    cards: list[tuple[str, Line, Line]] = []
    items: list[Line] = []
    for model in grid.models:
        first_wins, *rest = (grid.wins(model, phase) for phase in grid.phases)
        story = f" beats the blind baseline on {first_wins} of {len(grid.asked)} metrics"
        story += f" before fine-tuning, on {rest[0]} after it." if rest else "."
        items.append((Strong(model), story))
        before = (f"metrics above the blind baseline; {first_wins} before fine-tuning",)
        value = rest[0] if rest else first_wins
        note = before if rest else ("metrics above the blind baseline",)
        cards.append((model, (f"{value} of {len(grid.asked)}",), note))
    page = Paragraph.of(
        "The same with filters, and with every wrong answer's picture: ", Link("report.html", "report.html")
    )
    blocks += [OnlyPage((Facts(tuple(cards)),)), OnlyMarkdown((Bullets(tuple(items)), page))]
    return tuple(blocks)


# ---- scenes ---------------------------------------------------------------------------------------------------------


def _scenes_section(facts: RunFacts) -> Section | None:
    """In Markdown alone: the page has the gallery."""
    scenes = _scenes(facts)
    if not scenes:
        return None
    grid = facts.grid
    words = (
        "Different subtypes and places, chosen by a hash of the examples' ids, not by how a model did. "
        "✓ right, ✗ wrong, ≈ a number that is off, ? not readable as an answer."
    )
    figure = Figure(
        "scenes",
        "Scenes with question, answer and predictions",
        lambda: draw_gallery(scenes, grid.models, grid.phases, lambda image_id: open_image(facts.run.images, image_id)),
    )
    blocks: list[Block] = [Paragraph.of(words), figure]
    for number, scene in enumerate(scenes, start=1):
        blocks += _scene_blocks(number, scene, facts)
    return Section("Scenes", (OnlyMarkdown(tuple(blocks)),))


def _scenes(facts: RunFacts) -> list[Scene]:
    chosen = {example.id: example for example in choose_examples(facts.examples, SCENES)}
    replies: dict[str, dict[tuple[str, str], Reply]] = {id_: {} for id_ in chosen}
    for one in facts.seeing:
        for row in one.rows:
            if row.example_id in chosen:
                replies[row.example_id][one.model, one.phase] = Reply.of(row, one.texts[row.example_id])
    return [Scene(example, replies[example.id]) for example in chosen.values()]


def _scene_blocks(number: int, scene: Scene, facts: RunFacts) -> list[Block]:
    example, grid = scene.example, facts.grid
    rows = [[model, *(_reply(scene.replies, model, phase) for phase in grid.phases)] for model in grid.models]
    return [
        Paragraph.of(Strong(f"{number}. {example.question}"), " Gold: ", Strong(example.answer)),
        Paragraph.of(f"{example.scored_subtype}, picture {example.image_id}"),
        Table.of(["model", *grid.phases], rows),
    ]


def _reply(replies: Mapping[tuple[str, str], Reply], model: str, phase: str) -> str:
    if (model, phase) not in replies:
        return "–"
    reply = replies[model, phase]
    text = " ".join(reply.text.split())
    shown = shorten(text, LONGEST_REPLY) or "(nothing)"
    if len(text) > LONGEST_REPLY and reply.final != reply.text:
        shown += f" Answer: {shorten(reply.final, LONGEST_REPLY)}"
    return f"{reply.mark} {shown}" + (f" ({reply.note})" if reply.note else "")
