"""The scores of one model in one phase as a table for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.percent import percent
from urbanvlm.records import Score
from urbanvlm.report.tables import fixed

_LONGEST_NAME = 27
_FAR = "out of range"
_COLUMNS = ("rows", "unparsed", _FAR, "score", "95 % interval", "blind", "lift")
_SACRIFICES = ("rows", "lift", "unparsed", "blind", _FAR)
"""what a narrower and narrower terminal does without, one after the other"""


def print_scores(scores: Sequence[Score], remarks: Sequence[str], *, has_train: bool) -> None:
    """On stdout; what one must know to read them comes first."""
    console = Console(highlight=False)
    for remark in remarks:
        console.print(Text(remark, style="bold red"))
    console.print(_fitting(scores, console))
    console.print(Text("\n".join(_notes(scores, has_train)), style="dim"))


def _fitting(scores: Sequence[Score], console: Console) -> Table:
    columns = [name for name in _COLUMNS if name != _FAR or any(score.out_of_range_share for score in scores)]
    for count in range(len(_SACRIFICES) + 1):
        table = _table(scores, [name for name in columns if name not in _SACRIFICES[:count]])
        if Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width:
            break
    return table


def _table(scores: Sequence[Score], columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("", overflow="fold")
    for name in columns:
        table.add_column(name, justify="left" if name == "95 % interval" else "right", no_wrap=True)
    for heading, lines in _sections(scores):
        table.add_row(Text(heading, style="bold cyan"))
        for label, score in lines:
            cells = _cells(score)
            # The numbers of a label in two lines stand beside its end.
            above = "\n" * label.count("\n")
            table.add_row(Text(f"  {label}"), *(Text(above).append_text(cells[name]) for name in columns))
    return table


def _sections(scores: Sequence[Score]) -> Iterator[tuple[str, list[tuple[str, Score]]]]:
    """(heading, lines): the groups of the table of 13, what is beside them, the subtypes."""
    metrics = [score for score in scores if score.level == "metric" and score.asked]
    groups = {score.name: score for score in scores if score.level == "group"}
    for group in dict.fromkeys(METRICS[score.name].group for score in metrics if METRICS[score.name].in_table):
        members = [score for score in metrics if METRICS[score.name].in_table and _group(score) == group]
        order = list(dict.fromkeys(score.name for score in members))
        lines = [_labelled(score) for score in sorted(members, key=lambda score: order.index(score.name))]
        if group in groups and len(lines) > 1:
            lines.append(("mean F1", groups[group]))
        yield group, lines
    if beside := [_labelled(score) for score in metrics if not METRICS[score.name].in_table]:
        yield "beside the 13", beside
    subtypes = {score.name: score for score in scores if score.level == "subtype"}
    asked = [subtypes[name] for name in SUBTYPES if name in subtypes]
    yield "subtypes", [(_directed(_broken(score.name), score), score) for score in asked]


def _broken(name: str) -> str:
    """In two lines where it is long."""
    head, dot, tail = name.rpartition(".")
    return name if len(name) <= _LONGEST_NAME else f"{head}{dot}\n    {tail}"


def _group(score: Score) -> str:
    return METRICS[score.name].group


def _labelled(score: Score) -> tuple[str, Score]:
    label = _directed(METRICS[score.name].name, score)
    return (f"{label}, weighted" if score.average == "weighted" else label), score


def _directed(label: str, score: Score) -> str:
    return f"{label} ↓" if score.lower_is_better else label


def _cells(score: Score) -> dict[str, Text]:
    assert score.value is not None
    known = score.low is not None and score.high is not None
    ends = f"{fixed(score.low or 0.0, 5)}–{fixed(score.high or 0.0, 5)}" if known else "–"
    lift = "–" if score.lift is None else f"{'+' if score.lift >= 0 else '−'}{fixed(abs(score.lift), 5)}"
    unparsed = percent(score.unparsed_share) if score.unparsed_share else ""
    return {
        "rows": Text(str(score.asked)),
        "unparsed": Text(unparsed, style="yellow"),
        _FAR: Text(percent(score.out_of_range_share) if score.out_of_range_share else "", style="yellow"),
        "score": Text(fixed(score.value, 5), style="bold"),
        "95 % interval": Text(ends),
        "blind": Text("–" if score.blind_baseline is None else fixed(score.blind_baseline, 5)),
        "lift": Text(lift, style="green" if (score.lift or 0) > 0 else ""),
    }


def _notes(scores: Sequence[Score], has_train: bool) -> list[str]:
    source = "the training split" if has_train else "these rows themselves, for want of --train"
    notes = [
        f"profile {scores[0].profile}; F1, higher is better; ↓ mean absolute error, lower is better",
        f"blind: always the subtype's most frequent answer, taken from {source}; lift: how much better than that",
    ]
    if any(score.out_of_range_share for score in scores):
        notes.append(
            f"{_FAR}: numbers too far off to be meant; each counts as the largest error, as an unread one does"
        )
    if any(score.value is not None and score.low is None for score in scores):
        notes.append("no interval: fewer than two places have rows that the score depends on")
    never = [
        f"{_group(score)} {METRICS[score.name].name}" for score in scores if score.level == "metric" and not score.asked
    ]
    if never:
        notes.append(f"not asked: {', '.join(never)}")
    return notes
