"""A few scenes with what was asked, what is right and what every model said, as a picture and as values."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from urbanvlm.dataset.taxonomy import NUMERIC_KINDS
from urbanvlm.evaluate.metrics import Row as JudgedRow
from urbanvlm.records import Example
from urbanvlm.report.markdown import shorten
from urbanvlm.report.plots import FAINT, INK, MUTED, colour_of, styled

RIGHT = "#009E73"
WRONG = "#D55E00"
_MARKS = {"right": "✓", "wrong": "✗", "near": "≈", "unread": "?"}
_COLOURS = {"right": RIGHT, "wrong": WRONG, "near": MUTED, "unread": WRONG}


@dataclass(frozen=True)
class Reply:
    """What one model said in one phase, and what became of it."""

    text: str
    verdict: str
    """right | wrong | near (a number that is off) | unread (unparsed or missing)"""
    note: str = ""
    """by how much a number is off, or why nothing was read"""

    @property
    def mark(self) -> str:
        return _MARKS[self.verdict]

    @property
    def final(self) -> str:
        """What follows a chain of thought, or all of the text where there is none."""
        return self.text.rpartition("Answer:")[2].strip()

    @classmethod
    def of(cls, row: JudgedRow, text: str) -> Reply:
        if row.parsed.status != "answer":
            return cls(text, "unread", row.parsed.status)
        if row.correct:
            return cls(text, "right")
        error = error_of(row)
        return cls(text, "wrong") if error is None else cls(text, "near", f"off by {error:.3g}")


def error_of(row: JudgedRow) -> float | None:
    """How far a number that was read is off; None of anything else."""
    value, gold = row.parsed.value, row.gold
    if row.subtype.answer_kind not in NUMERIC_KINDS or isinstance(value, str) or isinstance(gold, str) or value is None:
        return None
    return abs(float(value) - float(gold))


@dataclass(frozen=True)
class Scene:
    """One example of the gallery with the replies by (model, phase)."""

    example: Example
    replies: Mapping[tuple[str, str], Reply]


def choose_examples(examples: Sequence[Example], count: int) -> list[Example]:
    """At most `count` examples over different subtypes and, as far as they go, different places.

    Chosen by a hash of their ids, so neither the order of the file nor what any model answered has a say.
    The subtypes are spread evenly over those asked, in their order; each is taken again only when all have been.
    """
    by_subtype: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda e: hashlib.sha256(e.id.encode()).digest()):
        by_subtype.setdefault(example.scored_subtype, []).append(example)
    asked = list(dict.fromkeys(example.scored_subtype for example in examples))
    if len(asked) > count:
        asked = [asked[index * len(asked) // count] for index in range(count)]
    chosen: list[Example] = []
    while len(chosen) < min(count, len(examples)):
        before = len(chosen)
        for subtype in asked[: count - len(chosen)]:
            if left := [example for example in by_subtype[subtype] if example not in chosen]:
                chosen.append(min(left, key=lambda e: _times_seen(e, chosen)))
        if len(chosen) == before:
            break
    return chosen


def _times_seen(example: Example, chosen: Sequence[Example]) -> tuple[int, int]:
    """How often the example's place, and its image, are in the gallery already."""
    return (
        sum(example.place == other.place for other in chosen),
        sum(example.image_id == other.image_id for other in chosen),
    )


# ---- drawing; all lengths in inches ----------------------------------------------------------------------------------

_COLUMNS = 3
_CARD = 2.8
_GAP = 0.28
_LINE = 0.19
_TOP = 0.1


def draw_gallery(
    scenes: Sequence[Scene],
    models: Sequence[str],
    phases: Sequence[str],
    open_image: Callable[[str], Image.Image],
) -> Figure:
    """A grid of cards: the picture, smoothly enlarged, above the question, the gold answer and the replies.

    `open_image` takes an image id and gives an RGB picture.
    """
    columns = min(_COLUMNS, len(scenes))
    rows = -(-len(scenes) // columns)
    pictures = [open_image(scene.example.image_id) for scene in scenes]
    # One height for all pictures, and for all texts, keeps the cards level.
    tallest = max(picture.height / picture.width for picture in pictures)
    picture_height = _CARD * min(1.0, tallest)
    question_lines = max(len(_question_lines(scene.example)) for scene in scenes)
    text_height = _LINE * (question_lines + 3.1 + len(models)) + _TOP
    width = columns * _CARD + (columns + 1) * _GAP
    height = rows * (picture_height + text_height + _GAP) + _GAP
    with styled():
        figure = Figure(figsize=(width, height))
        for index, (scene, picture) in enumerate(zip(scenes, pictures, strict=True)):
            left = _GAP + (index % columns) * (_CARD + _GAP)
            top = height - _GAP - (index // columns) * (picture_height + text_height + _GAP)
            above = figure.add_axes(
                (left / width, (top - picture_height) / height, _CARD / width, picture_height / height)
            )
            below = figure.add_axes(
                (left / width, (top - picture_height - text_height) / height, _CARD / width, text_height / height)
            )
            _draw_picture(above, picture)
            below.set_xlim(0, _CARD)
            below.set_ylim(text_height, 0)
            below.axis("off")
            _write_card(below, scene, models, phases)
    return figure


def _draw_picture(panel: Axes, picture: Image.Image) -> None:
    panel.imshow(np.asarray(picture), interpolation="bicubic", interpolation_stage="data")
    panel.set_anchor("N")
    panel.axis("off")


def _write_card(panel: Axes, scene: Scene, models: Sequence[str], phases: Sequence[str]) -> None:
    example = scene.example
    line = _TOP + _LINE / 2
    _write(panel, 0, line, f"{example.scored_subtype} · {shorten(example.place, 24)}", colour=MUTED, size=7.5)
    for words in _question_lines(example):
        line += _LINE
        _write(panel, 0, line, words, weight="bold")
    line += _LINE
    _write(panel, 0, line, f"gold: {shorten(_visible(example.answer), 40)}")
    line += 1.15 * _LINE
    first, width = (0.33, 0.345) if len(phases) > 1 else (0.42, 0)
    starts = [_CARD * (first + width * index) for index in range(len(phases))]
    for phase, start in zip(phases, starts, strict=True):
        _write(panel, start, line, phase, colour=MUTED, size=7.5)
    panel.plot([0, _CARD], [line + 0.5 * _LINE] * 2, color=FAINT, linewidth=0.6)
    colours = colour_of(models)
    longest_name, longest = (12, (9, 13)) if len(phases) > 1 else (16, (24,))
    for model in models:
        line += _LINE
        _write(panel, 0, line, shorten(model, longest_name), colour=colours[model], weight="bold", size=8)
        for phase, start, limit in zip(phases, starts, longest, strict=True):
            if reply := scene.replies.get((model, phase)):
                said = shorten(_visible(reply.final), limit) or "(nothing)"
                colour = INK if reply.final else MUTED
                _write(panel, start, line, reply.mark, colour=_COLOURS[reply.verdict], weight="bold")
                _write(panel, start + 0.16, line, said, colour=colour, size=8)


def _write(
    panel: Axes, x: float, y: float, words: str, *, colour: str = INK, size: float = 8.5, weight: str = "normal"
) -> None:
    # A model may well answer "$"; it is no formula.
    panel.text(x, y, words, color=colour, fontsize=size, fontweight=weight, va="center", parse_math=False)


def _visible(text: str) -> str:
    """On one line, without characters that no font draws."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _question_lines(example: Example) -> list[str]:
    """The question in at most three lines; the cut shown."""
    return textwrap.wrap(_visible(example.question), 38, max_lines=3, placeholder=" …")
