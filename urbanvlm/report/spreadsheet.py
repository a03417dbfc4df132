"""Scores as CSV and LaTeX: for programs, and for a paper."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from urbanvlm.evaluate.compare import gain
from urbanvlm.records import Score
from urbanvlm.report.grid import ScoreGrid, beats_blind
from urbanvlm.report.tables import fixed, metric_label

FIELDS = (*Score.__slots__, "lift", "gain")


def csv_rows(scores: Sequence[Score]) -> list[list[Any]]:
    """The fields of every score with all their digits, and the gain where it is one after fine-tuning."""
    befores = {_apart_from_phase(score): score for score in scores if score.phase == "before"}
    rows = []
    for score in scores:
        change = gain(befores.get(_apart_from_phase(score)), score) if score.phase == "after" else None
        rows.append([*score.to_json().values(), "" if change is None else round(change, 6)])
    return rows


def _apart_from_phase(score: Score) -> tuple[str, ...]:
    return score.model, score.images, score.level, score.name, score.average


def csv_table(scores: Sequence[Score]) -> str:
    """A line a score: metrics, weighted means, groups and subtypes, of every kind of images."""
    return csv_text([FIELDS, *csv_rows(scores)])


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


# ---- LaTeX ----------------------------------------------------------------------------------------------------------

_SPECIAL: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "–": "--",
    "−": "$-$",
    "✓": r"$\checkmark$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def latex_escape(text: str) -> str:
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda found: _SPECIAL[found.group()], text)


def latex_table(grid: ScoreGrid, *, partial: bool = False) -> str:
    """The study's table with booktabs: values that beat the blind baseline are bold, intervals beneath them."""
    columns = [(model, phase) for model in grid.models for phase in grid.phases]
    spans = [(model, len(grid.phases)) for model in grid.models]
    heads = " & ".join(rf"\multicolumn{{{count}}}{{c}}{{{latex_escape(model)}}}" for model, count in spans)
    first = 4
    rules = []
    for _, width in spans:
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    lines = [
        "% Needs \\usepackage{booktabs}. Bold: the whole 95 % interval is better than the blind baseline.",
        *(["% partial: not comparable"] if partial else []),
        rf"\begin{{tabular}}{{ll r {'r' * len(columns)}}}",
        r"\toprule",
        rf" & & & {heads} \\",
        " ".join(rules),
        " & ".join(["group", "metric", "blind", *(phase for _, phase in columns)]) + r" \\",
        r"\midrule",
    ]
    sections = list(grid.sections())
    for number, (heading, keys) in enumerate(sections):
        for key in keys:
            scores = [grid.get(model, phase, key) for model, phase in columns]
            label = latex_escape(metric_label(key))
            blind = fixed(grid.blind[key], 5) if key in grid.blind else "--"
            group = latex_escape(heading) if key == keys[0] else ""
            lines.append(" & ".join([group, label, blind, *map(_value, scores)]) + r" \\")
            lines.append(" & ".join(["", "", "", *map(_interval, scores)]) + r" \\")
        if number + 1 < len(sections):
            lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _value(score: Score | None) -> str:
    if score is None or score.value is None:
        return "--"
    value = fixed(score.value, 5)
    return rf"\textbf{{{value}}}" if beats_blind(score) else value


def _interval(score: Score | None) -> str:
    if score is None or score.low is None or score.high is None:
        return ""
    return rf"{{\scriptsize [{fixed(score.low, 5)}, {fixed(score.high, 5)}]}}"
