"""Wrong answers beside their pictures, as many as a page can hold, chosen by a rule that is stated."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from urbanvlm.dataset.images import open_image
from urbanvlm.errors import UserError
from urbanvlm.records import Example
from urbanvlm.report.document import Gallery, Link, OnlyMarkdown, OnlyPage, Paragraph, Section
from urbanvlm.report.facts import RunFacts
from urbanvlm.report.gallery import Reply, error_of
from urbanvlm.report.html import visible
from urbanvlm.report.markdown import shorten

MOST_EACH = 6
"""wrong answers of one subtype, model and phase that are sure to be shown"""
MOST_PICTURES = 320
LONGEST_SIDE = 224
"""of a picture in the page, in pixels"""
LONGEST_TEXT = 600

Column = tuple[str, str]
"""(model, phase)"""


@dataclass(frozen=True)
class Wrong:
    """The wrong answers of a run, and of which examples all answers are shown."""

    each: int
    """of every subtype, model and phase so many are shown, if there are as many"""
    chosen: tuple[Example, ...]
    replies: Mapping[str, Mapping[Column, Reply]]
    """example id -> what everybody said to it, of the chosen"""
    totals: Mapping[tuple[str, str, str, str], int]
    """(subtype, model, phase, verdict) -> number of wrong answers, shown or not"""

    @property
    def count(self) -> int:
        return sum(self.totals.values())

    @property
    def shown(self) -> int:
        return sum(reply.verdict != "right" for replies in self.replies.values() for reply in replies.values())


def find_wrong(facts: RunFacts, most_each: int = MOST_EACH, most_pictures: int = MOST_PICTURES) -> Wrong:
    """Of every subtype, model and phase the first few wrong answers; fewer where that were too many pictures.

    The first are the numbers that are farthest off, all else in the order of a hash of the examples' ids: neither the
    order of the file nor a model has a say. To a chosen example everybody's answers are shown.
    """
    totals: Counter[tuple[str, str, str, str]] = Counter()
    ranked: dict[tuple[str, Column], list[tuple[float, bytes, str]]] = {}
    for one in facts.seeing:
        for row in one.rows:
            if not row.correct:
                verdict = Reply.of(row, "").verdict
                totals[row.subtype.name, one.model, one.phase, verdict] += 1
                rank = (-(error_of(row) or 0.0), hashlib.sha256(row.example_id.encode()).digest(), row.example_id)
                ranked.setdefault((row.subtype.name, (one.model, one.phase)), []).append(rank)
    for ranks in ranked.values():
        ranks.sort()
    examples = {example.id: example for example in facts.examples}
    each, chosen = most_each, _first(ranked.values(), most_each)
    while each > 1 and len({examples[id_].image_id for id_ in chosen}) > most_pictures:
        each -= 1
        chosen = _first(ranked.values(), each)
    replies: dict[str, dict[Column, Reply]] = {id_: {} for id_ in chosen}
    for one in facts.seeing:
        for row in one.rows:
            if row.example_id in replies:
                replies[row.example_id][one.model, one.phase] = Reply.of(row, one.texts[row.example_id])
    ordered = tuple(example for example in facts.examples if example.id in chosen)
    return Wrong(each, ordered, replies, dict(totals))


def _first(ranked: Iterable[Sequence[tuple[float, bytes, str]]], count: int) -> set[str]:
    return {id_ for ranks in ranked for _, _, id_ in ranks[:count]}


def errors_section(facts: RunFacts) -> Section:
    wrong = find_wrong(facts)
    if not wrong.count:
        return Section("Wrong answers", (Paragraph.of("None."),))
    rule = (
        f"{wrong.shown} of {wrong.count} wrong answers are here: of every subtype, model and phase the first "
        f"{wrong.each}, in an order that no model has a say in (a hash of the examples' ids; of numbers those that are "
        "farthest off come first), and what all models said to the same questions. "
        "✗ wrong, ≈ a number that is off, ? not readable as an answer, ✓ right."
    )
    link = Paragraph.of(
        f"There are {wrong.count}. ", Link("report.html", "report.html"), " shows them beside their pictures."
    )
    pictures = thumbnails(wrong.chosen, lambda image_id: open_image(facts.run.images, image_id))
    gallery = Gallery(gallery_json(facts.grid.models, facts.grid.phases, wrong, pictures))
    return Section("Wrong answers", (OnlyMarkdown((link,)), OnlyPage((Paragraph.of(rule), gallery))))


def thumbnails(examples: Iterable[Example], opened: Callable[[str], Image.Image]) -> dict[str, str]:
    """image id -> small picture as a data URI; a picture that cannot be read is left out, and the card says so."""
    pictures = {}
    for image_id in dict.fromkeys(example.image_id for example in examples):
        try:
            picture = opened(image_id)
        except UserError:
            continue
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        picture.save(out, format="JPEG", quality=78)
        pictures[image_id] = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
    return pictures


def gallery_json(models: Sequence[str], phases: Sequence[str], wrong: Wrong, pictures: Mapping[str, str]) -> str:
    cards: list[dict[str, Any]] = [
        {
            "id": visible(example.id),
            "image": example.image_id,
            "subtype": example.scored_subtype,
            "question": visible(example.question),
            "gold": visible(example.answer),
            "replies": [
                {
                    "model": model,
                    "phase": phase,
                    "verdict": reply.verdict,
                    "text": visible(shorten(reply.text, LONGEST_TEXT)),
                    "note": reply.note,
                }
                for (model, phase), reply in wrong.replies[example.id].items()
            ],
        }
        for example in wrong.chosen
    ]
    totals = [
        {"subtype": subtype, "model": model, "phase": phase, "verdict": verdict, "count": count}
        for (subtype, model, phase, verdict), count in wrong.totals.items()
    ]
    tree = {"models": models, "phases": phases, "pictures": pictures, "cards": cards, "totals": totals}
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
