"""How often 95 % intervals hold the true score, in simulated evaluations whose true score is known.

Places have their own share of yes and their own accuracy (beta distributed, correlation CORRELATION within a place), so
rows of a place resemble each other. The intervals of the project stand beside the usual ones from the same resamples:
percentiles; percentiles at expanded levels (Hesterberg 2015, Am. Stat. 69:371-386); BCa (Efron 1987, J. Am. Stat.
Assoc. 82:171-185). `python tests/bench/coverage.py --runs 2000` makes the tables of docs/benchmarks/scores.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from urbanvlm.evaluate.bootstrap import Clustered, ends_of, resampled
from urbanvlm.evaluate.intervals import difference_of
from urbanvlm.evaluate.metrics import F1OfClasses, F1OfYes, MeanAbsoluteError, Measure

CORRELATION = 0.2
RESAMPLES = 1000
AT_ONCE = 100
METHODS = ("ours", "percentile", "expanded", "BCa")
CLASS_SHARES = np.array([0.4, 0.3, 0.2, 0.1])
STEP = 0.4
"""a wrong number is off by 1, 2, … with this share of the wrong ones stopping at each"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One kind of evaluation."""

    metric: str
    places: int
    rows: int
    """a place, half to one and a half as many"""
    yes: float
    accuracy: float


def settings() -> Iterator[Setting]:
    sizes = tuple(itertools.product((30, 100, 200), (2, 20)))
    accuracies = (0.55, 0.8, 0.9, 0.98)
    for (places, rows), yes, accuracy in itertools.product(sizes, (0.3, 0.5, 0.7), accuracies):
        yield Setting("F1 of yes", places, rows, yes, accuracy)
    for metric in ("macro F1", "error"):
        for (places, rows), accuracy in itertools.product(sizes, accuracies):
            yield Setting(metric, places, rows, 0.5, accuracy)


# ---- simulated evaluations ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """The rows of one simulated evaluation."""

    place: NDArray[np.intp]
    gold: list[object]
    guess: list[object]


def draw(setting: Setting, rng: np.random.Generator) -> Sample:
    rows = rng.integers(max(1, setting.rows // 2), setting.rows + setting.rows // 2 + 1, setting.places)
    place = np.repeat(np.arange(setting.places), rows)
    right = rng.random(len(place)) < _shares(setting.accuracy, setting.places, rng)[place]
    if setting.metric == "F1 of yes":
        gold = rng.random(len(place)) < _shares(setting.yes, setting.places, rng)[place]
        guess = gold == right
        return Sample(place, _words(gold), _words(guess))
    if setting.metric == "macro F1":
        spread = (1 - CORRELATION) / CORRELATION
        shares = rng.dirichlet(CLASS_SHARES * spread, setting.places)
        label = (rng.random(len(place))[:, None] > np.cumsum(shares, axis=1)[place]).sum(axis=1).clip(0, 3)
        other = (label + rng.integers(1, 4, len(place))) % 4
        return Sample(place, label.tolist(), np.where(right, label, other).tolist())
    off = np.where(right, 0, rng.geometric(STEP, len(place)))
    return Sample(place, [0] * len(place), off.tolist())


def _shares(mean: float, places: int, rng: np.random.Generator) -> Array:
    spread = (1 - CORRELATION) / CORRELATION
    return rng.beta(mean * spread, (1 - mean) * spread, places)


def _words(yes: NDArray[np.bool_]) -> list[object]:
    return ["yes" if one else "no" for one in yes]


def truth(setting: Setting) -> float:
    """The score of infinitely many places."""
    right = setting.accuracy
    if setting.metric == "F1 of yes":
        hits, errors = setting.yes * right, 1 - right
        return 2 * hits / (2 * hits + errors)
    if setting.metric == "macro F1":
        guessed = CLASS_SHARES * right + (1 - CLASS_SHARES) * (1 - right) / 3
        return float(np.mean(2 * CLASS_SHARES * right / (CLASS_SHARES + guessed)))
    return (1 - right) / STEP


def measure_of(setting: Setting) -> Measure:
    measures: dict[str, Measure] = {
        "F1 of yes": F1OfYes(),
        "macro F1": F1OfClasses((0, 1, 2, 3)),
        "error": MeanAbsoluteError(0, 10),
    }
    return measures[setting.metric]


def clustered(setting: Setting, sample: Sample) -> Clustered:
    kinds = ["yes_no" if setting.metric == "F1 of yes" else "integer"] * len(sample.place)
    measure = measure_of(setting)
    statistics = measure.statistics(sample.gold, sample.guess, kinds, sample.place, setting.places)
    return Clustered(measure, np.arange(setting.places), statistics)


# ---- intervals ------------------------------------------------------------------------------------------------------


def intervals(part: Clustered, values: Array) -> dict[str, tuple[float, float]]:
    """By every method; at 0 and 100 % all of them take the exact end, for which percentiles have no answer."""
    ours = ends_of(part, values)
    assert ours is not None
    if part.is_at_an_end:
        return dict.fromkeys(METHODS, ours)
    values = values[np.isfinite(values)]
    expanded = _expanded_level(len(part.places))
    return {
        "ours": ours,
        "percentile": _quantiles(values, 0.025, 0.975),
        "expanded": _quantiles(values, expanded, 1 - expanded),
        "BCa": _quantiles(values, *_bca_levels(part, values)),
    }


def _quantiles(values: Array, low: float, high: float) -> tuple[float, float]:
    ends = np.quantile(values, [low, high])
    return float(ends[0]), float(ends[1])


def _expanded_level(places: int) -> float:
    return float(norm.cdf(-np.sqrt(places / (places - 1)) * student.ppf(0.975, places - 1)))


def _bca_levels(part: Clustered, values: Array) -> tuple[float, float]:
    below = np.mean(values < part.value) + np.mean(values == part.value) / 2
    bias = norm.ppf(np.clip(below, 1 / len(values), 1 - 1 / len(values)))
    influences = part.influences()
    squares = float((influences**2).sum())
    skew = float((influences**3).sum()) / (6 * squares**1.5) if squares else 0.0
    shifted = bias + norm.ppf([0.025, 0.975])
    levels = norm.cdf(bias + shifted / (1 - skew * shifted))
    return float(levels[0]), float(levels[1])


# ---- counting -------------------------------------------------------------------------------------------------------


def coverage(setting: Setting, runs: int, seed: int) -> dict[str, float]:
    """Method -> percent of the runs whose interval holds the true score."""
    rng, true = np.random.default_rng(seed), truth(setting)
    held: Counter[str] = Counter()
    for start in range(0, runs, AT_ONCE):
        parts = [clustered(setting, draw(setting, rng)) for _ in range(min(AT_ONCE, runs - start))]
        for part, values in zip(parts, resampled(parts, setting.places, RESAMPLES, start), strict=True):
            for method, (low, high) in intervals(part, values).items():
                held[method] += low - 1e-12 <= true <= high + 1e-12
    return {method: 100 * held[method] / runs for method in METHODS}


def false_alarms(setting: Setting, runs: int, seed: int) -> float:
    """Percent of the runs in which two equally good models differ by p < 0.05."""
    rng = np.random.default_rng(seed)
    alarms = 0
    sign = -1 if measure_of(setting).lower_is_better else 1
    for start in range(0, runs, AT_ONCE):
        pairs = [_pair(setting, rng) for _ in range(min(AT_ONCE, runs - start))]
        drawn = resampled([part for pair in pairs for part in pair], setting.places, RESAMPLES, start)
        for number, (first, second) in enumerate(pairs):
            change = sign * (second.influences() - first.influences())[first.bearing | second.bearing]
            values = sign * (drawn[2 * number + 1] - drawn[2 * number])
            found = difference_of(sign * (second.value - first.value), values, change, 1.0)
            alarms += found is not None and found[2] < 0.05
    return 100 * alarms / runs


def _pair(setting: Setting, rng: np.random.Generator) -> tuple[Clustered, Clustered]:
    """Two models of one accuracy on the same questions: the second answers half of them as the first does."""
    one = draw(setting, rng)
    other = _answered_anew(setting, one, rng)
    guess = [a if same else b for a, b, same in zip(one.guess, other, rng.random(len(one.place)) < 0.5, strict=True)]
    return clustered(setting, one), clustered(setting, Sample(one.place, one.gold, guess))


def _answered_anew(setting: Setting, sample: Sample, rng: np.random.Generator) -> list[object]:
    right = rng.random(len(sample.place)) < _shares(setting.accuracy, setting.places, rng)[sample.place]
    if setting.metric == "F1 of yes":
        return _words((np.array(sample.gold) == "yes") == right)
    gold = np.array(sample.gold)
    if setting.metric == "macro F1":
        return np.where(right, gold, (gold + rng.integers(1, 4, len(gold))) % 4).tolist()
    return np.where(right, 0, rng.geometric(STEP, len(gold))).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="evaluations a setting")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th setting")
    runs = parser.parse_args().runs
    chosen = list(settings())[:: parser.parse_args().every]
    print(f"| metric | places | rows a place | yes | accuracy | {' | '.join(METHODS)} | false alarms |")
    print("|---" * (6 + len(METHODS)) + "|")
    found = []
    for number, one in enumerate(chosen):
        held = coverage(one, runs, number)
        alarms = false_alarms(one, runs, number)
        found.append(held)
        yes = f"{one.yes}" if one.metric == "F1 of yes" else ""
        cells = " | ".join(f"{held[method]:.1f}" for method in METHODS)
        first = f"{one.metric} | {one.places} | {one.rows} | {yes} | {one.accuracy}"
        print(f"| {first} | {cells} | {alarms:.1f} |", flush=True)
    summary("93 to 97 %", found, lambda percent: 93 <= percent <= 97)
    summary("less than 93 %", found, lambda percent: percent < 93)
    for method in METHODS:
        values = [held[method] for held in found]
        print(f"{method}: {min(values):.1f} to {max(values):.1f}, mean {np.mean(values):.1f}")


def summary(words: str, found: list[dict[str, float]], counts: Callable[[float], bool]) -> None:
    counted = ", ".join(f"{method} {sum(counts(held[method]) for held in found)}" for method in METHODS)
    print(f"settings with {words} of {len(found)}: {counted}")


if __name__ == "__main__":
    main()
