"""Lengths of time as Slurm writes them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_NO_LIMIT = {"unlimited", "infinite", "none", "n/a", "not_set"}
_CLOCK = re.compile(r"(?:(?P<hours>[0-9]{1,6}):)?(?P<minutes>[0-9]{1,6}):(?P<seconds>[0-9]{1,6})")
_DAYS = re.compile(
    r"(?P<days>[0-9]{1,6})-(?P<hours>[0-9]{1,6})(?::(?P<minutes>[0-9]{1,6})(?::(?P<seconds>[0-9]{1,6}))?)?"
)


def read_minutes(text: str) -> int | None:
    """`90`, `30:00`, `12:00:00`, `1-12`, `1-12:00`, `1-12:00:00` → whole minutes; None for `UNLIMITED` and its like.

    Seconds that are no whole minute count as one, as Slurm counts them. Raises ValueError for what is no such time.
    """
    text = text.strip()
    if text.lower() in _NO_LIMIT:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    found = _CLOCK.fullmatch(text) or _DAYS.fullmatch(text)
    if found is None:
        raise ValueError("is no time: write minutes, or hours:minutes:seconds or days-hours, as Slurm does")
    part = {name: int(value or 0) for name, value in found.groupdict().items()}
    hours = part.get("days", 0) * 24 + part["hours"]
    return hours * 60 + part["minutes"] + -(-part["seconds"] // 60)


def _as_minutes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    minutes = read_minutes(value)
    if minutes is None:
        raise ValueError("is no number of minutes: leave the key out, or give it one")
    return minutes


Minutes = Annotated[int, Field(ge=1), BeforeValidator(_as_minutes)]
"""Whole minutes, at least one; as text also in any of Slurm's forms."""
