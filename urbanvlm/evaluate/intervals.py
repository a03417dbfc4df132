"""95 % intervals: of a score, of a difference, and of a score at the end of its range.

Percentiles of resampled scores are the usual choice, and too narrow: with 30 places and F1 near 1 they hold the true
score in 83 of 100 cases (docs/benchmarks/scores.md). What is used instead, all by places as the independent units:

- the standard error is that of the resampled scores, made wider by n / (n - 1) for n places, as the variance of a
  sample is (Hesterberg 2015, Am. Stat. 69:371-386);
- it is multiplied by Student's t, whose degrees of freedom are those of the variance of the places' influences: few
  where a few places decide the score (Shoemaker 2003, Am. Stat. 57:105-114, from their kurtosis);
- it is added on a scale on which the score has no end: log odds of an F1, the logarithm of an error. A difference has
  both signs and stays as it is.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from urbanvlm.evaluate.metrics import Array

Ends = tuple[float, float]
Scale = Literal["logit", "log"]

_TAIL = 0.025


def studentised_ends(value: float, values: Array, influences: Array, scale: Scale) -> Ends | None:
    """Of a score inside its range, from its resampled values (NaN: undefined) and each bearing place's influence.

    None where fewer than two places bear on the score: they say nothing about how places differ.
    """
    error = standard_error(values, len(influences))
    if error is None:
        return None
    reach = _t(degrees_of_freedom(influences)) * error
    if scale == "log":
        return value * float(np.exp(-reach / value)), value * float(np.exp(reach / value))
    odds, width = value / (1 - value), reach / (value * (1 - value))
    return _share(odds * float(np.exp(-width))), 1 - _share(float(np.exp(-width)) / odds)


def difference_of(
    difference: float, values: Array, influences: Array, largest: float
) -> tuple[float, float, float] | None:
    """(low, high, p) of a difference from its resampled values and each bearing place's influence on it.

    p is two-sided, and below 0.05 exactly where the interval leaves out 0. Where all resamples agree, as for two models
    that answer alike, what is open is a share of places of which none was seen, of the `largest` difference; and p is
    that of n places that all fell to one side, 2 / 2^n, or 1 for no difference. None where fewer than two places bear.
    """
    error = standard_error(values, len(influences))
    if error is None:
        return None
    if error > 0:
        freedom = degrees_of_freedom(influences)
        reach, p = _t(freedom) * error, _two_sided(abs(difference) / error, freedom)
    else:
        reach = unseen_share(len(influences)) * largest
        p = min(1.0, 2 * 0.5 ** len(influences)) if difference else 1.0
    return difference - reach, difference + reach, p


def exact_ends(value: float, places: int, worst: float, lower_is_better: bool) -> Ends:
    """Of a score at an end of its range, where all resamples agree and would claim certainty.

    The open end is the exact (Clopper-Pearson) bound for a share of which n of n were seen, 0.025^(1/n), with n the
    places that have rows the score depends on: [0.025^(1/n), 1] for F1 = 1, [0, 1 - 0.025^(1/n)] for F1 = 0, and for an
    error of 0 that share of the widest error.
    """
    best, unseen = 0.0 if lower_is_better else 1.0, unseen_share(places)
    other = value + unseen * ((worst if value == best else best) - value)
    return min(value, other), max(value, other)


def unseen_share(places: int) -> float:
    """How large a share of places can be of a kind of which none was seen: 95 %, one-sided half of it."""
    return float(1 - _TAIL ** (1 / max(1, places)))


def standard_error(values: Array, places: int) -> float | None:
    """Of resampled values, undefined ones left out; None where there is nothing to tell it from."""
    defined = values[np.isfinite(values)]
    if places < 2 or len(defined) < 2:
        return None
    return float(defined.std(ddof=1) * np.sqrt(places / (places - 1)))


def degrees_of_freedom(influences: Array) -> float:
    """Of the standard error: 2 n / (kurtosis - (n - 3) / (n - 1)), which is n - 1 for normal influences; 1 .. n - 1."""
    places = len(influences)
    squares = influences**2
    if not squares.any():
        return places - 1.0
    kurtosis = places * float((squares**2).sum()) / float(squares.sum()) ** 2
    excess = kurtosis - (places - 3) / (places - 1)
    return min(places - 1.0, max(1.0, 2 * places / excess)) if excess > 0 else places - 1.0


def _t(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - _TAIL))


def _two_sided(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -t))


def _share(odds: float) -> float:
    return odds / (1 + odds)
