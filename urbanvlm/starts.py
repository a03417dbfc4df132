"""The starts of a job, a line each: what Slurm starts again and again must get on, or it is to end."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import Process, Stage

FRUITLESS_STARTS = 5
"""Slurm puts jobs back for reasons of its own: one may meet several bad nodes or hasty preemptions in a row"""
FRUITLESS_REQUESTS = 2
"""a job that had its time twice, asked to be put back and saved nothing, will not save anything the third time"""


@dataclass(frozen=True)
class Start:
    """One beginning of a job, or of one element of a job that is an array."""

    job_id: str
    element: int | None
    restart: int
    """how often Slurm had requeued it before"""
    progress: int
    """`stages.progress_of` when it began"""
    began: float
    """Unix seconds"""


def starts_file(run: RunFolder, stage: Stage) -> Path:
    return run.jobs / stage.name / "starts.jsonl"


def record_start(run: RunFolder, stage: Stage, process: Process, job_id: str, restart: int, progress: int) -> None:
    """Append a line for this start. Of an array's elements each has its own; of other jobs one process calls this."""
    start = Start(job_id, _element(stage, process), restart, progress, time.time())
    file = starts_file(run, stage)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as out:
        # Elements on several hosts append to one file: on a file server, appending alone is not one act.
        with suppress(OSError):
            fcntl.flock(out, fcntl.LOCK_EX)
        out.seek(0)
        torn = not (out.read() or b"\n").endswith(b"\n")
        out.write(b"\n" * torn + json.dumps(asdict(start)).encode() + b"\n")


def read_starts(run: RunFolder, stage: Stage) -> list[Start]:
    """Every start there was, oldest first. A line that a dying host left unfinished is left out."""
    file = starts_file(run, stage)
    starts = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
        with suppress(json.JSONDecodeError, TypeError):
            starts.append(Start(**json.loads(line)))
    return starts


def is_stalled(
    run: RunFolder, stage: Stage, process: Process, job_id: str, progress: int, most: int = FRUITLESS_STARTS
) -> bool:
    """Has this job, or this element of it, been started `most` times in a row without getting on?"""
    element = _element(stage, process)
    return stalled([s for s in read_starts(run, stage) if (s.job_id, s.element) == (job_id, element)], progress, most)


def stalled(starts: Sequence[Start], now: int, most: int) -> bool:
    """Did the last `most` starts of one job begin where it stands now? Nothing was saved between them."""
    last = starts[-most:]
    return len(last) == most and all(start.progress == now for start in last)


def _element(stage: Stage, process: Process) -> int | None:
    """Evaluation is an array on Slurm, of one shard a process."""
    return process.rank if stage.kind == "evaluate" else None
