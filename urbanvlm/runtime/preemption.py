"""Is this process asked to stop? By a signal, by a file in its attempt, or by the clock before the time limit."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

STOPPED_EXIT_CODE = 75
"""of a task that has saved and wants to be started again"""
SIGNALS = (signal.SIGUSR2, signal.SIGTERM)
LEAD_SECONDS = 60.0
"""how long before the time limit a process stops that has measured nothing yet"""
MARGIN_SECONDS = 15.0
"""on top of what was measured: leaving the process group, the last file reaching the disk"""
LOOK_EVERY_SECONDS = 1.0


class Stopped(Exception):
    """Raised by a stage that has saved its work and ends because it was asked to. `str()` is the reason."""


class StopSignal:
    """One per process. Without an attempt and an end it never says anything, unless it listens."""

    def __init__(self, attempt: Path | None = None, end_time: float | None = None) -> None:
        self._file = attempt / "stop" if attempt is not None else None
        self._end_time = end_time
        # A job may be shorter than any lead that suits others: half of its time is for work.
        self._half = max(0.0, (end_time - time.time()) / 2) if end_time is not None else 0.0
        self._lead = min(LEAD_SECONDS, self._half)
        self._reason: str | None = None
        self._looked = float("-inf")

    @classmethod
    def listen(cls, attempt: Path | None, end_time: float | None) -> StopSignal:
        """Hear SIGUSR2 and SIGTERM from now on; call it in the main thread, before anything heavy is imported.

        `attempt` is the folder in which the host leaves the file `stop` for whoever was not listening yet, `end_time`
        the time limit in Unix seconds.
        """
        heard = cls(attempt, end_time)
        for number in SIGNALS:
            signal.signal(number, heard._hear)
        return heard

    def reason(self) -> str | None:
        """Why to stop, or None. The first reason stays. Cheap enough to be asked at every step."""
        if self._reason is None:
            found = self._by_clock() or self._by_file()
            # Not stored when None: a signal may have arrived meanwhile, and would be forgotten.
            if found is not None:
                self._reason = found
        return self._reason

    def check(self) -> None:
        """Raise Stopped if asked to stop: for work that has nothing left to save at this point."""
        if (reason := self.reason()) is not None:
            raise Stopped(reason)

    def need(self, saving_seconds: float, step_seconds: float = 0.0) -> None:
        """What was measured: saving takes that long, and being asked to stop may be heard only a step later.

        Raises the lead to that with saving counted twice. That is more than half of the time only where one saving
        takes as long.
        """
        if self._end_time is None:
            return
        least = saving_seconds + step_seconds + min(MARGIN_SECONDS, self._half)
        self._lead = max(self._lead, min(least + saving_seconds, max(self._half, least)))

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # Nothing but the flag: the process may be anywhere, in the middle of a write or of a collective.
        if self._reason is None:
            self._reason = f"told to stop ({signal.Signals(number).name})"

    def _by_clock(self) -> str | None:
        near = self._end_time is not None and time.time() >= self._end_time - self._lead
        return "time limit near" if near else None

    def _by_file(self) -> str | None:
        now = time.monotonic()
        if self._file is None or now - self._looked < LOOK_EVERY_SECONDS:
            return None
        self._looked = now
        try:
            words = self._file.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # not there, or the file server stumbles: it is looked at again
            return None
        return words or "told to stop"


NEVER = StopSignal()
"""For callers outside a job."""
