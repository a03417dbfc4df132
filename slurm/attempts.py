"""The attempts of a job: its starts in the order of time, why one failed, and its logs."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from slurm.queue import EndedJob
from urbanvlm.run_folder import RunFolder
from urbanvlm.runtime.preemption import STOPPED_EXIT_CODE

NAME = re.compile(r"attempt-(?:(?P<number>\d+)|(?P<job>\d+(?:_\d+)?)-(?P<restart>\d+))")

SLURM_SAYS = {
    "OUT_OF_MEMORY": "out of memory: raise resources.memory_gb",
    "TIMEOUT": "its time limit came: raise resources.timeout_minutes",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "its deadline came",
    "PREEMPTED": "preempted and not started again",
    "LAUNCH_FAILED": "its node could not launch it",
}
"""Slurm's final states that are a reason by themselves; the one word stays in the line, for who looks it up."""

ECHO = re.compile(r"connection (was )?(closed|reset|refused)|broken pipe|gloo|nccl|rendezvous|socket", re.IGNORECASE)
"""What a process says when another one has died: the other's end is the reason."""


TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Attempt:
    """One start of a job, or of one element of its array."""

    path: Path
    job_id: str | None
    """`123` or `123_4`; None of one on this machine"""
    restart: int
    """how often Slurm had requeued the job; of one on this machine its number"""
    began: float
    """unix seconds by the file server's clock, or a little later"""

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and of one that was cut off."""
        text = _text(self.path / "exit").strip()
        return int(text) if text.isdigit() else None

    @property
    def wants_requeue(self) -> str:
        """Why it has saved and asked to be started again; empty if it did not."""
        return _text(self.path / "requeue").strip()


def attempts_of(run: RunFolder, job_name: str) -> tuple[Attempt, ...]:
    """All starts of a job, the newest last."""
    found = []
    folder = run.jobs / job_name
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := NAME.fullmatch(path.name):
            restart = int(match["number"] or match["restart"])
            found.append(Attempt(path, match["job"], restart, _began(path)))
    return tuple(sorted(found, key=lambda attempt: (attempt.began, attempt.restart)))


def newest_per_element(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Of the newest attempts' job, the last start of each element of its array, the newest last."""
    if not attempts:
        return ()
    job = _base(attempts[-1])
    if job is None:
        return attempts[-1:]
    last = {a.job_id: a for a in sorted(attempts, key=lambda a: a.restart) if _base(a) == job}
    return tuple(sorted(last.values(), key=lambda a: a.began))


def failure_of(attempt: Attempt | None, ended: EndedJob | None = None) -> str:
    """Why an attempt failed, in one line: the user's mistake, else what Slurm or the kernel did, else the bug's line.

    Empty if nothing is known.
    """
    if attempt is not None and (mistake := _first(attempt.path, "error-*")):
        return mistake.splitlines()[0]
    if ended is not None and ended.state == "OUT_OF_MEMORY":
        return f"{ended.state}: {SLURM_SAYS[ended.state]}"
    if attempt is not None and (death := _first_death(attempt)):
        return death
    crash = _crash(attempt.path) if attempt is not None else ""
    killed = _killed_words(attempt, ended)
    if killed and (not crash or ECHO.search(crash)):
        return killed
    if crash:
        return crash
    if ended is not None and ended.state in SLURM_SAYS:
        return f"{ended.state}: {SLURM_SAYS[ended.state]}"
    if attempt is not None and attempt.wants_requeue:
        return f"saved and asked to be started again ({attempt.wants_requeue}), but Slurm did not"
    if attempt is not None and attempt.exit_code is not None:
        return f"exit code {attempt.exit_code}" if attempt.exit_code else "ended without its result"
    return ended.words if ended is not None else ""


def logs_of(attempt: Attempt) -> list[Path]:
    """The log files of an attempt: of the batch script, then of each process."""
    folder = attempt.path
    ours = [*folder.glob("*_log.out"), *folder.glob("*_log.err"), *folder.glob("log-*.txt")]
    return [log for log in (_batch_log(attempt), *sorted(ours, key=_by_number)) if log.is_file()]


def started_jobs(run: RunFolder) -> list[str]:
    """Names of the jobs that have attempts, the one that was started last at the end."""
    names = [path.name for path in run.jobs.glob("*/")] if run.jobs.is_dir() else []
    newest = {name: attempts[-1] for name in names if (attempts := attempts_of(run, name))}
    return sorted(newest, key=lambda name: newest[name].began)


def newest_logs(run: RunFolder, job_name: str) -> list[Path]:
    """The log files of a job's newest start; of an array, of each element's: failed ones first, then the newest."""
    newest = newest_per_element(attempts_of(run, job_name))
    ordered = sorted(newest, key=lambda attempt: (not _has_failed(attempt), -attempt.began))
    return [log for attempt in ordered for log in logs_of(attempt)]


def _has_failed(attempt: Attempt) -> bool:
    files = (*attempt.path.glob("error-*"), *attempt.path.glob("crash-*"))
    return bool(files) or attempt.exit_code not in (None, 0, STOPPED_EXIT_CODE)


def _first_death(attempt: Attempt) -> str:
    """The process that a signal ended before any other process ended, as srun saw it; empty if there is none.

    The exit code says less: srun ends the others with a signal of its own, whatever the first one died of.
    """
    text = _tail(_batch_log(attempt)).rpartition(": starts on ")[2]
    found = re.search(r"^srun: error: (\S+): tasks? ([\d,-]+): (.+)$", text, re.MULTILINE)
    if found is None or found[3].startswith("Exited with") or found[3] in ("Terminated", "User defined signal 2"):
        return ""
    who = f"process {found[2]} on {found[1]}"
    return f"{who} was killed by signal 9 (out of memory?)" if found[3] == "Killed" else f"{who}: {found[3]}"


def _killed_words(attempt: Attempt | None, ended: EndedJob | None) -> str:
    code = attempt.exit_code if attempt is not None else None
    number = code - 128 if code is not None and 128 < code < 192 else ended.signal if ended is not None else 0
    if not number:
        return ""
    if number == signal.SIGKILL:
        return "killed by signal 9 (out of memory?)"
    return f"killed by signal {number} ({signal.strsignal(number) or 'unknown'})"


def _crash(folder: Path) -> str:
    """The last line of a traceback, of the process that did not merely lose another one."""
    lines = [_text(path).strip().splitlines() for path in sorted(folder.glob("crash-*"), key=_by_number)]
    last = [text[-1] for text in lines if text]
    return next((line for line in last if not ECHO.search(line)), last[0] if last else "")


def _first(folder: Path, pattern: str) -> str:
    return next((text for path in sorted(folder.glob(pattern), key=_by_number) if (text := _text(path).strip())), "")


def _batch_log(attempt: Attempt) -> Path:
    """Of the host's side; all starts of a job write the same one."""
    return attempt.path.parent / f"batch-{attempt.job_id}.txt"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _base(attempt: Attempt) -> str | None:
    return attempt.job_id.partition("_")[0] if attempt.job_id else None


def _began(path: Path) -> float:
    """The oldest trace of it: a folder has no birthday on every file system, and its own time moves with each file."""
    times = []
    for entry in (path, *path.iterdir()):
        try:
            times.append(entry.stat().st_mtime)
        except FileNotFoundError:
            continue
    return min(times, default=0.0)


def _by_number(path: Path) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", path.name)], path.name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
