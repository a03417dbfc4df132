"""A share in percent, rounded half up: the same share reads the same in every table."""

from __future__ import annotations

import math


def percent(share: float) -> str:
    """A share 0..1 in whole percent, with a decimal where it would otherwise read as none or all."""
    value = 100 * share
    if 0 < share < 0.095 or 0.995 <= share < 1:
        return f"{half_up(max(0.1, min(99.9, value)), 1):.1f} %"
    return f"{half_up(value, 0):.0f} %"


def half_up(value: float, decimals: int) -> float:
    """Rounded as people round; what sums of floats, and shares kept to six decimals, miss a half by, is none."""
    scale = 10.0**decimals
    return math.copysign(math.floor(round(abs(value) * scale, 3) + 0.5) / scale, value)
