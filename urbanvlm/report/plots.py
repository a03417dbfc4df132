"""The plots of the report in one style: PNG files, and SVG whose colours follow the page that it stands in."""

from __future__ import annotations

import io
import os
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.report.curves import Curves, smoothed
from urbanvlm.report.grid import ScoreGrid, lower_is_better

if TYPE_CHECKING:
    from urbanvlm.report.gains import Gain

INK = "#1f2430"
PAPER = "#ffffff"
MUTED = "#6b7280"
RULE = "#e3e6eb"
FAINT = "#b6bcc6"
# Okabe and Ito's palette, told apart by people with any colour vision: https://jfly.uni-koeln.de/color/
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DPI = 150
_LABEL = 28
"""characters of a line of a run's label beside its bars"""

_STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.facecolor": PAPER,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "lines.solid_capstyle": "round",
}


@contextmanager
def styled() -> Iterator[None]:
    """The style of every figure, without touching that of whoever imports this."""
    with matplotlib.rc_context(dict(_STYLE)):
        yield


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG atomically, with no date or version in it, so that equal figures are equal files."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with styled(), _quiet():
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    temporary.replace(path)


def svg_of(figure: Figure) -> str:
    """An `<svg>` element to stand in a page: text is text, and the colours are the page's (`page_files/style.css`)."""
    out = io.StringIO()
    with styled(), _quiet(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--sans)", text)
    return re.sub(r"#[0-9a-f]{6}", lambda found: _THEMED.get(found.group(), found.group()), text)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # A model may answer in a script the font lacks: a box is drawn, the report's text has the letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def colour_of(models: Sequence[str]) -> dict[str, str]:
    return {model: PALETTE[index % len(PALETTE)] for index, model in enumerate(models)}


def draw_f1(grid: ScoreGrid, columns: int = 3) -> Figure:
    """F1 per metric, one panel a model: before and after as bars with their intervals, blind as a tick."""
    sections = [(name, [k for k in keys if not lower_is_better(METRICS[k])]) for name, keys in grid.sections()]
    places, headings = _lines_of(sections)
    columns = min(columns, len(grid.models))
    rows = -(-len(grid.models) // columns)
    height = max(places.values()) + 1
    with styled():
        figure = Figure(figsize=(1.6 + 2.9 * columns, rows * (0.8 + 0.29 * height) + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for index, panel in enumerate(axes.flat):
            if index >= len(grid.models):
                panel.set_visible(False)
                continue
            model = grid.models[index]
            _bars(panel, grid, [(model, key, place) for key, place in places.items()])
            for key, place in places.items():
                _blind_tick(panel, grid, key, place)
            panel.set_title(model, color=colour_of(grid.models)[model])
            panel.set_xlim(0, 1.02)
            panel.set_ylim(height - 0.4, -0.6)
            panel.set_yticks(list(places.values()), [METRICS[key].name for key in places])
            panel.grid(visible=False, axis="y")
            panel.spines["left"].set_visible(False)
            if index % columns == 0:
                for name, place in headings.items():
                    panel.text(
                        -0.03, place + 0.1, name, transform=panel.get_yaxis_transform(), ha="right", va="center",
                        fontweight="bold",
                    )  # fmt: skip
            if index + columns >= len(grid.models):
                panel.set_xlabel("F1")
        _legend(figure, grid)
    return figure


def draw_mae(grid: ScoreGrid, columns: int = 4) -> Figure:
    """Mean absolute error, one panel a metric because each has its own unit; blind as a line."""
    keys = [key for key in grid.asked + grid.beside if lower_is_better(METRICS[key])]
    return _draw_metrics(grid, keys, columns=columns)


def draw_comparison(grid: ScoreGrid, interval: str, columns: int = 3) -> Figure:
    """Every metric, one panel each, a model a line; `interval` says what the thin strokes are."""
    return _draw_metrics(grid, grid.asked + grid.beside, columns=columns, interval=interval)


def _draw_metrics(grid: ScoreGrid, keys: Sequence[str], *, columns: int, interval: str = "95 % interval") -> Figure:
    columns = min(columns, len(keys))
    rows = -(-len(keys) // columns)
    with styled():
        size = (max(5.0, 1.2 + 3.4 * columns), 0.5 + rows * (0.8 + 0.62 * len(grid.models)))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for panel in list(axes.flat)[len(keys) :]:
            panel.set_visible(False)
        for panel, key in zip(axes.flat, keys, strict=False):
            _bars(panel, grid, [(model, key, place) for place, model in enumerate(grid.models)])
            for place, model in enumerate(grid.models):
                if (blind := grid.blind_of(model, key)) is not None:
                    _stroke(panel, [blind] * 2, [place - 0.5, place + 0.5], 1.8, order=4)
            worse = lower_is_better(METRICS[key])
            panel.set_title(f"{METRICS[key].group}: {METRICS[key].name}")
            panel.set_xlabel("mean absolute error, lower is better" if worse else "F1")
            panel.set_xlim(0, None if worse else 1.02)
            panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            panel.set_ylim(len(grid.models) - 0.5, -0.5)
            panel.set_yticks(range(len(grid.models)), [textwrap.fill(model, _LABEL) for model in grid.models])
            panel.grid(visible=False, axis="y")
            panel.spines["left"].set_visible(False)
        _legend(figure, grid, interval)
    return figure


def draw_gains(
    gains: Sequence[Gain],
    metrics: Sequence[str],
    models: Sequence[str],
    published: Mapping[tuple[str, str], float],
    *,
    narrow: bool = False,
) -> Figure:
    """Gains as bars, grouped by metric, with their intervals; what the study published as a diamond.

    Beyond 100 % either way the axis is logarithmic: where little was right before, gains are huge.
    """
    found = {(one.model, one.metric): one for one in gains}
    keys = [key for key in metrics if any((model, key) in found for model in models)]
    colours, height = colour_of(models), 0.8 / len(models)
    with styled():
        size = (4.5 if narrow else 9.0, 0.9 + len(keys) * (0.16 + 0.15 * len(models)))
        figure = Figure(figsize=size, layout="constrained")
        panel = figure.subplots()
        for place, key in enumerate(keys):
            for number, model in enumerate(models):
                y = place - 0.4 + height * (number + 0.5)
                if one := found.get((model, key)):
                    panel.barh(y, one.value, height=0.88 * height, color=colours[model], linewidth=0)
                    if one.low is not None and one.high is not None:
                        _stroke(panel, [one.low, one.high], [y, y], 1.2, order=5)
                if (value := published.get((model, key))) is not None:
                    panel.plot([value], [y], marker="D", markersize=4.5, color=PAPER, markeredgecolor=INK, zorder=6)
        panel.set_xscale("symlog", linthresh=1, linscale=1)
        low, high = panel.get_xlim()
        ticks = [-10000, -1000, -100, -10, -1, 0, 1, 10, 100, 1000, 10000] + ([] if narrow else [-0.5, 0.5])
        panel.set_xticks([tick for tick in ticks if low <= tick <= high])
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.0f} %" if value else "0"))
        panel.minorticks_off()
        panel.axvline(0, color=MUTED, linewidth=1)
        panel.set_yticks(range(len(keys)), [f"{METRICS[key].group}: {METRICS[key].name}" for key in keys])
        panel.set_ylim(len(keys) - 0.45, -0.55)
        panel.grid(visible=False, axis="y")
        panel.spines["left"].set_visible(False)
        panel.set_xlabel("gain, + is better")
        handles: list[Any] = [Patch(color=colours[model], linewidth=0) for model in models]
        handles.append(Line2D([], [], color=INK, linewidth=1.1))
        labels = [*models, "95 % interval"]
        if published:
            handles.append(
                Line2D([], [], linestyle="none", marker="D", markersize=4.5, color=PAPER, markeredgecolor=INK)
            )
            labels.append("study")
        _add_legend(figure, handles, labels)
    return figure


def _add_legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Above the panels, in as many columns as fit."""
    columns = len(handles) if figure.get_figwidth() > 6 else 2
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, handlelength=2.2,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
    )  # fmt: skip


_CURVES = (
    ("loss", "training loss"),
    ("validation_loss", "validation loss"),
    ("learning_rate", "learning rate"),
    ("grad_norm", "gradient norm"),
)


def draw_training(curves: Sequence[Curves], models: Sequence[str], columns: int = 2) -> Figure:
    """Loss, validation loss, learning rate and gradient norm over the global step, those that were logged."""
    drawn = [(name, title) for name, title in _CURVES if any(name in curve.series for curve in curves)]
    colours = colour_of(models)
    with styled():
        columns = min(columns, len(drawn))
        rows = -(-len(drawn) // columns)
        figure = Figure(figsize=(4.9 * columns, 2.5 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for panel in list(axes.flat)[len(drawn) :]:
            panel.set_visible(False)
        for panel, (name, title) in zip(axes.flat, drawn, strict=False):
            shown = [curve for curve in curves if name in curve.series]
            for index, curve in enumerate(shown):
                # Schedules are often one and the same: each line narrower than the one under it keeps all in sight.
                width = 1.8 + 1.5 * (len(shown) - 1 - index) if name == "learning_rate" else 1.8
                _draw_curve(panel, curve, name, colours[curve.model], width)
            panel.set_title(title)
            panel.set_xlabel("global step")
            panel.tick_params(labelbottom=True)
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
            panel.set_ylim(bottom=0)
            panel.margins(x=0.02)
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        handles = [Line2D([], [], color=colours[curve.model], linewidth=2, label=curve.model) for curve in curves]
        _add_legend(figure, handles, [curve.model for curve in curves])
    return figure


def _draw_curve(panel: Axes, curve: Curves, name: str, colour: str, width: float) -> None:
    """Sparse series with their points marked; dense, noisy ones faint, their moving average above them."""
    series = curve.series[name]
    steps, values = zip(*series, strict=True)
    noisy = name in ("loss", "grad_norm") and len(series) >= 40
    marker = "o" if len(series) < 40 else None
    panel.plot(
        steps, values, color=colour, marker=marker, markersize=3.5, linewidth=1 if noisy else width,
        alpha=0.3 if noisy else 1,
    )  # fmt: skip
    if noisy:
        panel.plot(*zip(*smoothed(series, len(series) / 40), strict=True), color=colour, linewidth=width)


def _lines_of(sections: Sequence[tuple[str, Sequence[str]]]) -> tuple[dict[str, float], dict[str, float]]:
    """Heights of metrics and of headings, downwards from 0, like the lines of the table."""
    places: dict[str, float] = {}
    headings: dict[str, float] = {}
    line = 0.0
    for name, keys in sections:
        if not keys:
            continue
        headings[name] = line
        line += 0.85
        for key in keys:
            places[key] = line
            line += 1
        line += 0.15
    return places, headings


_BAR = 0.36


def _bars(panel: Axes, grid: ScoreGrid, bars: Sequence[tuple[str, str, float]]) -> None:
    """Horizontal bars for (model, metric, place): before above and light, after below and full."""
    colours = colour_of(grid.models)
    for model, key, place in bars:
        for phase in grid.phases:
            score = grid.get(model, phase, key)
            if score is None or score.value is None:
                continue
            y = place + _offset(grid, phase)
            panel.barh(y, score.value, height=_BAR, color=_shade(colours[model], phase, grid), linewidth=0)
            if score.low is not None and score.high is not None:
                _stroke(panel, [score.low, score.high], [y, y], 1.2, order=5)


def _stroke(panel: Axes, xs: Sequence[float], ys: Sequence[float], width: float, *, order: int) -> None:
    """A dark line with a light rim, to be seen on white and on any bar; the rim is below all strokes."""
    for colour, extra, layer in ((PAPER, 1.4, 3), (INK, 0, order)):
        panel.plot(xs, ys, color=colour, linewidth=width + extra, solid_capstyle="butt", zorder=layer)


def _offset(grid: ScoreGrid, phase: str) -> float:
    return 0.0 if len(grid.phases) == 1 else (-_BAR / 2 if phase == "before" else _BAR / 2)


def _shade(colour: str, phase: str, grid: ScoreGrid) -> str:
    """The model's colour; lighter before fine-tuning where there is an after to compare with."""
    return colour if len(grid.phases) == 1 or phase == "after" else _lighter(colour)


def _lighter(colour: str) -> str:
    red, green, blue = (0.36 * part + 0.64 for part in to_rgb(colour))
    return to_hex((red, green, blue))


_THEMED = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    FAINT: "var(--faint)",
    PAPER: "var(--surface)",
    **{colour.lower(): f"var(--c{number})" for number, colour in enumerate(PALETTE)},
    **{_lighter(c): f"color-mix(in oklab, var(--c{n}) 40%, var(--surface))" for n, c in enumerate(PALETTE)},
}
"""colours as they are drawn -> as the page's style names them, which has a light and a dark one of each"""


def _blind_tick(panel: Axes, grid: ScoreGrid, key: str, place: float) -> None:
    if key in grid.blind:
        half = _BAR * len(grid.phases) / 2 + 0.08
        value = grid.blind[key]
        _stroke(panel, [value, value], [place - half, place + half], 1.8, order=4)


def _legend(figure: Figure, grid: ScoreGrid, interval: str = "95 % interval") -> None:
    """What the shades and strokes mean, in all colours at once."""
    words = {"before": "before fine-tuning", "after": "after"} if len(grid.phases) > 1 else {grid.phases[0]: "model"}
    colours = list(colour_of(grid.models).values())[:3]
    handles: list[Any] = [
        tuple(Patch(color=_shade(colour, phase, grid), linewidth=0) for colour in colours) for phase in grid.phases
    ]
    labels = [words[phase] for phase in grid.phases]
    handles.append(Line2D([], [], color=INK, linewidth=1.1))
    labels.append(interval)
    if any(score.blind_baseline is not None for score in grid.scores.values()):
        handles.append(Line2D([], [], color=INK, linewidth=1.8, marker="|", markersize=9, linestyle="none", mew=1.8))
        labels.append("blind baseline")
    _add_legend(figure, handles, labels)
