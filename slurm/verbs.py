"""The verbs of the command line that are about runs: status, logs, cancel, requeue."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from urbanvlm.errors import UserError, suggest
from urbanvlm.run_folder import RunFolder
from urbanvlm.runs import find_run, find_runs, find_runs_of, outputs, short

LOG_LINES = 40
LOG_BYTES = 64 * 1024
MOST_CHANGED = 3
MOST_LOGS = 8
"""of one job, unless that job is asked for: an array has hundreds"""


def add_verbs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Each sets `command` to a function of the options and the console."""
    status = _add(commands, "status", _status, "what every run is doing, or each job of one run")
    status.add_argument("run", nargs="?", default="", help="a run, as `logs` takes it; or a sweep's id")
    status.add_argument("--json", action="store_true", help="for programs")
    logs = _add(commands, "logs", _logs, "the newest log lines of every job of a run")
    logs.add_argument("run", help="a run's id, the beginning of one, or its folder")
    logs.add_argument("--job", default="", help="of one job alone, such as train-llava: all elements of an array")
    cancel = _add(commands, "cancel", _cancel, "end all of a run that is at work or waits; it can go on later")
    requeue = _add(commands, "requeue", _requeue, "have Slurm start the jobs of a run again, failed ones too")
    for sub in (cancel, requeue):
        sub.add_argument("run", help="a run, as `logs` takes it; or a sweep's id")
    requeue.add_argument("--cluster", default="", help="profile to submit with what has ended; else that of last time")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace, Console], int],
    text: str,
) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text)
    sub.add_argument(
        "--output",
        type=Path,
        help="the folder to look for runs in, instead of ./runs and all that were submitted from here",
    )
    sub.set_defaults(command=command)
    return sub


def _folders(options: argparse.Namespace) -> tuple[Path, ...]:
    return outputs() if options.output is None else (options.output,)


def _status(options: argparse.Namespace, console: Console) -> int:
    from slurm.status import status_of
    from slurm.table import as_json, jobs_table, runs_table

    folders = _folders(options)
    runs = find_runs_of(options.run, folders) if options.run else find_runs(folders)
    statuses, problem = status_of(runs)
    if options.json:
        print(json.dumps(as_json(statuses, problem), indent=1))
        return 0
    if not runs:
        console.print(f"no runs in {', '.join(map(str, folders))} yet", markup=False)
    elif options.run and len(runs) == 1 and not statuses[0].problem:
        console.print(f"[bold]{escape(runs[0].id)}[/] in {escape(short(runs[0].path))}", soft_wrap=True)
        console.print(jobs_table(statuses[0], console.width))
        if (report := statuses[0].report) is not None:
            console.print(f"report: {short(report)}", markup=False, soft_wrap=True)
    else:
        console.print(runs_table(statuses, console.width))
    changed = [status.changed for status in statuses if status.changed]
    for line in changed[:MOST_CHANGED]:
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    if len(changed) > MOST_CHANGED:
        console.print(f"and files of {len(changed) - MOST_CHANGED} more runs", style="yellow")
    if problem:
        console.print(f"Slurm was not asked, the folders alone speak: {problem}", style="yellow", markup=False)
    for line in _hints(statuses):
        console.print(line, style="dim", markup=False, soft_wrap=True)
    return 0


def _hints(statuses: list[Any]) -> Iterator[str]:
    """What to do about what has ended without its result, if anything has."""
    over = [status for status in statuses if status.state in ("failed", "lost", "cancelled", "stopped")]
    if not over:
        return
    run = over[0].run.id if len(over) == 1 else "…"
    on_slurm = any(job.job_ids for status in over for job in status.current)
    again = f"make requeue RUN={run}" if on_slurm else "the same make submit"
    yield f"make logs RUN={run} shows why; {again} goes on from what is finished"


def _logs(options: argparse.Namespace, console: Console) -> int:
    from slurm.attempts import newest_logs, started_jobs

    run = find_run(options.run, _folders(options))
    names = started_jobs(run)
    if options.job and options.job not in names:
        raise UserError(f"job {options.job!r}", f"{run.id} has not started it", suggest(options.job, names))
    if not names:
        console.print(f"no job of {run.id} has started yet", markup=False)
    for name in [options.job] if options.job else names:
        logs = newest_logs(run, name)
        shown = logs if options.job else logs[:MOST_LOGS]
        for log in shown:
            _show_log(log, console)
        if len(logs) > len(shown):
            more = f"{len(logs) - len(shown)} more: make logs RUN={run.id} JOB={name}"
            console.print(more, style="dim", markup=False, soft_wrap=True)
    return 0


def _show_log(log: Path, console: Console) -> None:
    """Its last lines; of a log of gigabytes no more is read than can hold them."""
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG_BYTES))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    console.rule(escape(short(log)), align="left")
    if len(lines) > LOG_LINES or size > LOG_BYTES:
        console.print(f"… the last {LOG_LINES} lines", style="dim")
    for line in lines[-LOG_LINES:] or ["(empty)"]:
        console.print(line, markup=False, soft_wrap=True)


def _cancel(options: argparse.Namespace, console: Console) -> int:
    from slurm.control import cancel

    runs = _act(cancel, options, console)
    name = runs[0].id if len(runs) == 1 else options.run
    console.print(f"what is finished stays; make requeue RUN={name}, or the same make submit, goes on", markup=False)
    return 0


def _requeue(options: argparse.Namespace, console: Console) -> int:
    from slurm.control import requeue

    _act(lambda run: requeue(run, options.cluster), options, console)
    return 0


def _act(act: Callable[[RunFolder], Iterator[str]], options: argparse.Namespace, console: Console) -> list[RunFolder]:
    runs = find_runs_of(options.run, _folders(options))
    for run in runs:
        for line in act(run):
            prefix = f"{run.id}: " if len(runs) > 1 else ""
            console.print(f"{prefix}{line}", markup=False, soft_wrap=True)
    return runs
