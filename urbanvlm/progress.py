"""Progress of a process as a small file that anybody may read while it runs."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

WRITE_EVERY_SECONDS = 0.5


class Progress:
    """Writes how far a process is, its rate and the time left, at most twice a second; silent without a path."""

    def __init__(self, path: Path | None, *, total: int, unit: str) -> None:
        self._path = path
        self._total = total
        self._unit = unit
        self._started = time.monotonic()
        self._first: int | None = None
        self._written = float("-inf")

    def update(self, done: int, *, total: int | None = None, force: bool = False, **figures: float) -> None:
        """`done` of `total` units; `figures` such as loss=1.2. The rate counts from the first update (a resume)."""
        if total is not None:
            self._total = total
        now = time.monotonic()
        if self._first is None:
            self._first, self._started = done, now
        if self._path is None or (now - self._written < WRITE_EVERY_SECONDS and not force and done < self._total):
            return
        seconds = now - self._started
        rate = (done - self._first) / seconds if seconds > 0 else 0.0
        self._written = now
        record = {
            "done": done,
            "total": self._total,
            "unit": self._unit,
            "rate": round(rate, 4),
            "seconds_left": round((self._total - done) / rate, 1) if rate > 0 else None,
            "figures": figures,
            "updated": time.time(),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        # Not fsynced: progress is for eyes, and nobody resumes from it.
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(self._path)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@dataclass(frozen=True)
class ProgressSnapshot:
    """What a progress file said when it was read."""

    done: int
    total: int
    unit: str
    rate: float
    seconds_left: float | None
    updated: float
    figures: dict[str, float] = field(default_factory=dict)


def read_progress(path: Path) -> ProgressSnapshot | None:
    """The newest snapshot, or None before the first."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return ProgressSnapshot(**record)
