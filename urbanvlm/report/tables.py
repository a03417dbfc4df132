"""The one table of scores, for a terminal of any width."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.box import Box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.evaluate.asked import asked_examples
from urbanvlm.percent import percent
from urbanvlm.records import Score
from urbanvlm.report.grid import ScoreGrid, beats_blind, lower_is_better
from urbanvlm.run_folder import RunFolder

PARTIAL_STAMP = "partial: not comparable"
PARTIAL_REASON = "evaluate.max_examples leaves out rows of the test split"


def is_partial(run: RunFolder) -> bool:
    """Whether `evaluate.max_examples` leaves out rows of the test split."""
    return asked_examples(run).partial


def terminal_table(rows: Sequence[Score], *, partial: bool = False) -> RenderableType:
    """The scores of a run as one table that takes the richest form its terminal is wide enough for.

    With 95 % intervals where they fit (about 120 columns for three models), without them on 80 columns; models that
    do not fit at all go into a further block below. `partial` stamps the scores of a run over a subset.
    Raises ValueError where the rows contradict each other (see `ScoreGrid.of`).
    """
    return _TerminalTable(ScoreGrid.of(rows), partial)


def metric_label(key: str) -> str:
    """The metric's name inside its group; errors say in which direction they are good, all else is F1."""
    metric = METRICS[key]
    return f"{metric.name} (MAE ↓)" if lower_is_better(metric) else metric.name


def fixed(value: float, width: int, *, leading_zero: bool = True) -> str:
    """The number with as many decimals as `width` characters hold: 0.873, 12.35, 1204; short forms .87, 1.2."""
    for decimals in range(width, -1, -1):
        text = f"{value:.{decimals}f}"
        if not leading_zero and text.startswith("0."):
            text = text[1:]
        if len(text) <= width:
            break
    return text


_MARKS = 2
"""characters after a value: `*` beats blind, `?` some answers unparsed"""


@dataclass(frozen=True)
class _Detail:
    """How much of a score one cell shows, in characters."""

    value: int
    bound: int | None
    """of each end of the interval; None leaves it out"""
    leading_zero: bool = True

    @property
    def width(self) -> int:
        return self.value + _MARKS + (2 * self.bound + 1 if self.bound else 0)


_DETAILS = (_Detail(5, 5), _Detail(5, 4), _Detail(4, 3, leading_zero=False), _Detail(5, None), _Detail(4, None))
"""From the richest to the barest."""

_COLUMN_LINES = Box("    \n  │ \n ─┼─\n  │ \n ─┼─\n ─┼─\n  │ \n    \n")


@dataclass(frozen=True)
class _TerminalTable:
    grid: ScoreGrid
    partial: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.partial:
            yield Text(f"{PARTIAL_STAMP} ({PARTIAL_REASON})", style="bold red")
        count, detail = self._layout(console, options)
        models = self.grid.models
        for start in range(0, len(models), count):
            yield self._table(models[start : start + count], detail)
            yield ""
        yield from self._footnotes()

    def _layout(self, console: Console, options: ConsoleOptions) -> tuple[int, _Detail]:
        """(models side by side, detail): all models as richly as they fit, else as many as fit without intervals."""
        models = self.grid.models
        plain = _DETAILS[-2]
        choices = [(len(models), detail) for detail in _DETAILS]
        choices += [(count, plain) for count in range(len(models) - 1, 0, -1)]
        for count, detail in choices:
            block = self._table(models[:count], detail)
            if Measurement.get(console, options.update(width=10_000), block).maximum <= options.max_width:
                return count, detail
        return 1, _DETAILS[-1]

    def _table(self, models: tuple[str, ...], detail: _Detail) -> Table:
        table = Table(box=_COLUMN_LINES, show_edge=False, pad_edge=False, padding=(0, 1), header_style="")
        table.add_column(Text("\nmetric", style="bold"), no_wrap=True)
        table.add_column(Text("\nblind", style="bold"), justify="right", no_wrap=True)
        for model in models:
            phases = self._line([Text(phase.rjust(detail.value + 1)) for phase in self.grid.phases], detail)
            heading = Text(model.center(phases.cell_len).rstrip() + "\n").append_text(phases)
            heading.stylize("bold")
            table.add_column(heading, width=phases.cell_len, overflow="fold")
        self._add_scores(table, models, detail)
        table.add_section()
        self._add_summary(table, models, detail)
        return table

    def _add_scores(self, table: Table, models: tuple[str, ...], detail: _Detail) -> None:
        grid = self.grid
        for heading, metrics in grid.sections():
            table.add_row(Text(heading, style="bold cyan"))
            for key in metrics:
                cells = [
                    self._line([_cell(grid.get(model, phase, key), detail) for phase in grid.phases], detail)
                    for model in models
                ]
                table.add_row(self._label(key), _blind(grid, key, detail.value), *cells)

    def _add_summary(self, table: Table, models: tuple[str, ...], detail: _Detail) -> None:
        grid = self.grid

        def cells(words: Callable[[str, str], str]) -> list[Text]:
            return [
                self._line([Text(words(model, phase).rjust(detail.value + 1)) for phase in grid.phases], detail)
                for model in models
            ]

        if grid.has_unparsed:
            table.add_row("unparsed answers", "", *cells(lambda m, p: percent(grid.unparsed_share(m, p))))
        if grid.has_out_of_range:
            table.add_row("out of range", "", *cells(lambda m, p: percent(grid.out_of_range_share(m, p))))
        table.add_row(
            "beats the blind\nbaseline on",
            "",
            *cells(lambda model, phase: f"{grid.wins(model, phase)}/{len(grid.asked)}"),
            style="bold",
        )

    def _label(self, key: str) -> Text:
        """The metric's name, indented; names beside the 13 wrap rather than widen the column."""
        arrow = " ↓" if lower_is_better(METRICS[key]) else ""
        width = max(len(METRICS[other].name) + 2 for other in METRICS if METRICS[other].in_table)
        return Text("\n".join(f"  {line}" for line in textwrap.wrap(METRICS[key].name + arrow, width)))

    def _line(self, cells: Sequence[Text], detail: _Detail) -> Text:
        """The cells of one model, phase by phase, each as wide as the detail says."""
        for cell in cells:
            cell.pad_right(detail.width - cell.cell_len)
        return Text("  " if detail.bound else " ", no_wrap=True).join(cells)

    def _footnotes(self) -> RenderResult:
        grid = self.grid
        notes = ["F1, higher is better; ↓ mean absolute error, lower is better"]
        if grid.blind:
            notes.append("blind: always the subtype's most frequent answer, given without looking")
            notes.append("* the whole 95 % interval lies on the better side of blind")
        if grid.has_out_of_range:
            notes.append("out of range: numbers too far off to be meant, which count as the largest error")
        if grid.has_unparsed:
            notes.append("? some answers could not be read or are missing; they count as wrong")
        notes += [f"{model} never saw the pictures: it was shown {kind} ones" for model, kind in grid.unseen.items()]
        if grid.never_asked:
            names = ", ".join(f"{METRICS[key].group} {METRICS[key].name}" for key in grid.never_asked)
            notes.append(f"not asked in this experiment: {names}")
        yield Text("\n".join(notes), style="dim")


def _cell(score: Score | None, detail: _Detail) -> Text:
    """`0.873*? .83–.91`: the value, whether it beats blind, whether answers went unparsed, the interval."""
    if score is None or score.value is None:
        return Text("–".rjust(detail.value), style="dim")
    wins = beats_blind(score)
    text = Text()
    text.append(fixed(score.value, detail.value).rjust(detail.value), style="bold green" if wins else "")
    text.append("*" if wins else "", style="bold green")
    text.append("?" if score.unparsed_share else "", style="yellow")
    text.pad_right(detail.value + _MARKS - text.cell_len)
    if detail.bound and score.low is not None and score.high is not None:
        low, high = (fixed(end, detail.bound, leading_zero=detail.leading_zero) for end in (score.low, score.high))
        text.append(f"{low.rjust(detail.bound)}–{high}", style="dim")
    return text


def _blind(grid: ScoreGrid, key: str, width: int) -> str:
    return fixed(grid.blind[key], width) if key in grid.blind else "–"
