"""The status of runs as a table for a terminal of any width, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from slurm.live import duration_words, progress_words
from slurm.queue import time_words
from slurm.status import JobStatus, RunStatus
from urbanvlm.runs import short

COLOURS = {
    "finished": "green",
    "running": "cyan",
    "starting": "cyan",
    "waiting": "blue",
    "submitted": "blue",
    "requeued": "magenta",
    "failed": "red",
    "lost": "red",
    "unreadable": "red",
    "cancelled": "yellow",
    "stopped": "yellow",
    "not started": "dim",
}
WIDE = 110
"""columns from which a run's name has one of its own"""


def runs_table(statuses: Sequence[RunStatus], width: int) -> Table:
    """A row for every job to look at, a run's name at its first."""
    wide = width >= WIDE
    table = _table(*(("run",) if wide else ()), "state", "stages", "job" if wide else "run and job", "progress")
    for status in statuses:
        name = f"[bold]{escape(status.run.id)}[/]"
        done = f"{status.done}/{len(status.jobs)}" if status.jobs else ""
        for state, job, cell in _rows(status):
            if wide:
                table.add_row(name, _state(state), done, job, cell)
            else:
                table.add_row(_state(state), done, "\n".join(part for part in (name, job) if part), cell)
            name = done = ""
    return table


def _rows(status: RunStatus) -> list[tuple[str, str, str]]:
    """(state, job, progress) of each job to look at; one row without a job where there is none."""
    if status.problem:
        return [(status.state, "", f"[red]{escape(status.problem)}[/]")]
    if not status.current:
        return [(status.state, "", escape(short(status.report)) if status.report else "")]
    return [(job.state, escape(job.stage), _cell(job)) for job in status.current]


def jobs_table(status: RunStatus, width: int) -> Table:
    """A row for every job of one run."""
    wide = width >= WIDE
    table = _table("job", "state", *(("starts", "Slurm's job") if wide else ()), "progress")
    for job in status.jobs:
        slurm, starts = _id_words(job.job_ids), str(job.attempts or "")
        if wide:
            columns, facts = [starts, escape(slurm)], []
        else:
            columns, facts = [], [f"job {slurm}" if slurm else "", _times(job.attempts, "start")]
        facts.append(f"on {job.nodes}" if job.nodes else "")
        table.add_row(escape(job.stage), _state(job.state), *columns, _cell(job, facts))
    return table


def as_json(statuses: Sequence[RunStatus], problem: str) -> dict[str, Any]:
    """Everything the tables are made from; times in Unix seconds."""
    return {
        "problem": problem,
        "runs": [
            {
                "run": status.run.id,
                "path": str(status.run.path),
                "state": status.state,
                "problem": status.problem,
                "changed": status.changed,
                "stages_done": status.done,
                "report": str(status.report) if status.report else None,
                "jobs": [asdict(job) for job in status.jobs],
            }
            for status in statuses
        ],
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("state", "stages", "starts"))
    return table


def _state(state: str) -> str:
    return f"[{COLOURS[state]}]{state}[/]"


def _cell(job: JobStatus, facts: Sequence[str] = ()) -> str:
    """How far, then why it waits or failed."""
    lines = []
    if job.state != "finished":
        lines = [progress_words(job.progress) if job.progress is not None else "", job.shards]
    lines.append(", ".join(fact for fact in (*_facts(job), *facts) if fact))
    cell = [escape(line) for line in lines if line]
    if job.note:
        cell.append(f"[{COLOURS[job.state]}]{escape(job.note)}[/]")
    return "\n".join(cell)


def _facts(job: JobStatus) -> list[str]:
    facts = []
    if job.expected_start is not None:
        facts.append(f"expected to start {time_words(job.expected_start)}")
    if job.restarts:
        facts.append(f"requeued {_times(job.restarts, 'time')}")
    if job.silent_seconds is not None:
        facts.append(f"no progress for {duration_words(job.silent_seconds)}")
    return facts


def _times(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count > 1 else ''}" if count else ""


def _id_words(ids: Sequence[str]) -> str:
    """`123`, or `123_[0,2]` of an array's elements, as Slurm's own commands take it."""
    if len(ids) < 2:
        return "".join(ids)
    base, _, element = ids[0].partition("_")
    elements = [one.partition("_")[2] for one in ids]
    run = len(elements) > 2 and [int(one) for one in elements] == list(range(int(element), int(elements[-1]) + 1))
    return f"{base}_[{element}-{elements[-1]}]" if run else f"{base}_[{','.join(elements)}]"
