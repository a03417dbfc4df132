"""The plots of the report, as PNG files in one style."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.report.curves import Curves, smoothed
from urbanvlm.report.grid import ScoreGrid, lower_is_better

INK = "#1f2430"
MUTED = "#6b7280"
RULE = "#e3e6eb"
FAINT = "#b6bcc6"
SHADES = LinearSegmentedColormap.from_list("shades", ["#f4f6f9", "#9dbfdc", "#1b6aa5", "#0b4475"])
# Okabe and Ito's palette, told apart by people with any colour vision: https://jfly.uni-koeln.de/color/
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DPI = 150

_STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.facecolor": "white",
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
    "figure.facecolor": "white",
    "lines.solid_capstyle": "round",
}


@contextmanager
def styled() -> Iterator[None]:
    """The style of every figure, without touching that of whoever imports this."""
    with matplotlib.rc_context(dict(_STYLE)):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a PNG atomically, with no date or version in it, so that equal figures are equal files."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with warnings.catch_warnings():
        # A model may answer in a script the font lacks: a box is drawn, the report's text has the letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    temporary.replace(path)


def colour_of(models: Sequence[str]) -> dict[str, str]:
    return {model: PALETTE[index % len(PALETTE)] for index, model in enumerate(models)}


def plot_f1(grid: ScoreGrid, path: Path) -> None:
    """F1 per metric, one panel a model: before and after as bars with their intervals, blind as a tick."""
    sections = [(name, [k for k in keys if not lower_is_better(METRICS[k])]) for name, keys in grid.sections()]
    places, headings = _lines_of(sections)
    columns = min(3, len(grid.models))
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
        save(figure, path)


def plot_mae(grid: ScoreGrid, path: Path) -> None:
    """Mean absolute error, one panel a metric because each has its own unit; blind as a line."""
    keys = [key for key in grid.asked + grid.beside if lower_is_better(METRICS[key])]
    _plot_metrics(grid, keys, path, columns=len(keys))


def plot_comparison(grid: ScoreGrid, path: Path, interval: str) -> None:
    """Every metric, one panel each, a model a line; `interval` says what the thin strokes are."""
    _plot_metrics(grid, grid.asked + grid.beside, path, columns=3, interval=interval)


def _plot_metrics(
    grid: ScoreGrid, keys: Sequence[str], path: Path, *, columns: int, interval: str = "95 % interval"
) -> None:
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
            panel.set_yticks(range(len(grid.models)), grid.models)
            panel.grid(visible=False, axis="y")
            panel.spines["left"].set_visible(False)
        _legend(figure, grid, interval)
        save(figure, path)


def plot_unparsed(grid: ScoreGrid, path: Path) -> None:
    """Share of answers that could not be read, as a map of metrics by models and phases."""
    keys = grid.asked + grid.beside
    columns = [(model, phase) for model in grid.models for phase in grid.phases]
    with styled():
        figure = Figure(figsize=(2.2 + 0.95 * len(columns), 0.9 + 0.3 * len(keys)), layout="constrained")
        panel = figure.subplots()
        shares = [[_unparsed(grid, model, phase, key) for model, phase in columns] for key in keys]
        panel.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
        for y, line in enumerate(shares):
            for x, share in enumerate(line):
                colour = "white" if share > 0.5 else INK if share else FAINT
                words = "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"
                panel.text(x, y, words, ha="center", va="center", color=colour)
        panel.set_yticks(range(len(keys)), [f"{METRICS[key].group}: {METRICS[key].name}" for key in keys])
        panel.set_xticks(range(len(columns)), [f"{model}\n{phase}" for model, phase in columns])
        panel.xaxis.tick_top()
        panel.tick_params(axis="x", labelcolor=INK)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
        for x in range(len(grid.phases), len(columns), len(grid.phases)):
            panel.axvline(x - 0.5, color="white", linewidth=4)
        panel.set_xlabel("answers unparsed or missing, in percent of those asked", labelpad=8)
        save(figure, path)


_CURVES = (
    ("loss", "training loss"),
    ("validation_loss", "validation loss"),
    ("learning_rate", "learning rate"),
    ("grad_norm", "gradient norm"),
)


def plot_training(curves: Sequence[Curves], models: Sequence[str], path: Path) -> None:
    """Loss, validation loss, learning rate and gradient norm over the global step, those that were logged."""
    drawn = [(name, title) for name, title in _CURVES if any(name in curve.series for curve in curves)]
    colours = colour_of(models)
    with styled():
        columns = min(2, len(drawn))
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
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        save(figure, path)


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
    for colour, extra, layer in (("white", 1.4, 3), (INK, 0, order)):
        panel.plot(xs, ys, color=colour, linewidth=width + extra, solid_capstyle="butt", zorder=layer)


def _offset(grid: ScoreGrid, phase: str) -> float:
    return 0.0 if len(grid.phases) == 1 else (-_BAR / 2 if phase == "before" else _BAR / 2)


def _shade(colour: str, phase: str, grid: ScoreGrid) -> str:
    """The model's colour; lighter before fine-tuning where there is an after to compare with."""
    if len(grid.phases) == 1 or phase == "after":
        return colour
    red, green, blue = (0.36 * part + 0.64 for part in to_rgb(colour))
    return to_hex((red, green, blue))


def _blind_tick(panel: Axes, grid: ScoreGrid, key: str, place: float) -> None:
    if key in grid.blind:
        half = _BAR * len(grid.phases) / 2 + 0.08
        value = grid.blind[key]
        _stroke(panel, [value, value], [place - half, place + half], 1.8, order=4)


def _unparsed(grid: ScoreGrid, model: str, phase: str, key: str) -> float:
    score = grid.get(model, phase, key)
    return score.unparsed_share if score is not None else 0.0


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
    figure.legend(
        handles, labels, loc="outside upper left", ncols=len(handles), handlelength=2.2,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
    )  # fmt: skip
