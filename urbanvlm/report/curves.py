"""The training curves of a run, read from the metrics that training logged."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from urbanvlm.records import read_jsonl

Series = tuple[tuple[int, float], ...]
"""(global step, value), ascending in step"""


@dataclass(frozen=True)
class Curves:
    """What one model logged while it trained; a figure that was never logged has no series."""

    model: str
    series: Mapping[str, Series]

    def last(self, name: str) -> float | None:
        return self.series[name][-1][1] if name in self.series else None

    def lowest(self, name: str) -> float | None:
        return min(value for _, value in self.series[name]) if name in self.series else None

    def highest(self, name: str) -> float | None:
        return max(value for _, value in self.series[name]) if name in self.series else None

    def median(self, name: str) -> float | None:
        return statistics.median(value for _, value in self.series[name]) if name in self.series else None

    @property
    def steps(self) -> int:
        """The last global step that was logged."""
        return max((series[-1][0] for series in self.series.values()), default=0)


def read_curves(model: str, path: Path) -> Curves | None:
    """The curves in a `metrics.jsonl`, or None where there is none. Raises UserError at a line that is not JSON.

    A step logged twice, by a run that was stopped and resumed, counts with its later line. Figures that are not
    finite are left out: a line cannot be drawn through them.
    """
    if not path.is_file():
        return None
    points: dict[str, dict[int, float]] = {}
    for _, row in read_jsonl(path):
        for name, value in row.items():
            if name != "step" and isinstance(value, (int, float)) and abs(value) < float("inf"):
                points.setdefault(name, {})[int(row["step"])] = float(value)
    return Curves(model, {name: tuple(sorted(steps.items())) for name, steps in points.items()})


def smoothed(series: Series, half_life: float) -> Series:
    """Exponential moving average with its start corrected for bias; `half_life` in points."""
    keep = 0.5 ** (1 / half_life)
    total = weight = 0.0
    out = []
    for step, value in series:
        total = keep * total + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        out.append((step, total / weight))
    return tuple(out)
