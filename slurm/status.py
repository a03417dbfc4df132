"""Run folders -> one table of what every run is doing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from slurm.live import progress_words
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment
from urbanvlm.lock import living_owner
from urbanvlm.progress import read_progress
from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import Stage, is_done, stages_of


def find_runs(output: Path) -> list[RunFolder]:
    """Every run folder below `output`, the one touched last first."""
    if not output.is_dir():
        return []
    found = [RunFolder(file.parent) for file in output.glob("*/experiment.yaml")]
    return sorted(found, key=lambda run: run.jobs.stat().st_mtime if run.jobs.is_dir() else 0.0, reverse=True)


def find_run(name: str, output: Path) -> RunFolder:
    """A run by its path, its id, or a beginning that only one id has. Raises UserError."""
    if (Path(name) / "experiment.yaml").is_file():
        return RunFolder(Path(name).absolute())
    runs = find_runs(output)
    matches = [run for run in runs if run.id == name] or [run for run in runs if run.id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    ids = ", ".join(run.id for run in (matches or runs)) or "none yet"
    raise UserError(f"run {name!r}", f"is not one run of {output}", f"choose from: {ids}")


def status_table(runs: list[RunFolder]) -> Table:
    """One row per run: stages done, state, the stage at work and its progress."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "state", "stages", "stage", "progress"):
        table.add_column(column)
    for run in runs:
        try:
            experiment = run.experiment
        except UserError as error:
            table.add_row(run.id, "[red]unreadable[/]", "", "", escape(str(error)))
            continue
        stages = stages_of(experiment)
        unfinished = [stage for stage in stages if not is_done(run, experiment, stage)]
        alive = living_owner(run.lock) is not None
        state = "[green]finished[/]" if not unfinished else "[cyan]running[/]" if alive else "[yellow]stopped[/]"
        current = unfinished[0] if unfinished else None
        table.add_row(
            run.id,
            state,
            f"{len(stages) - len(unfinished)}/{len(stages)}",
            current.name if current else "",
            _words(run, experiment, current) if current else "",
        )
    return table


def _words(run: RunFolder, experiment: Experiment, stage: Stage) -> str:
    errors = sorted((run.jobs / stage.name).glob("attempt-*/error-*"))
    if errors and errors[-1].parent == max((run.jobs / stage.name).glob("attempt-*")):
        return f"[red]{escape(errors[-1].read_text(encoding='utf-8').strip())}[/]"
    shown = read_progress(run.progress_file(stage.name, 0))
    return progress_words(shown) if shown is not None else ""


def newest_logs(run: RunFolder) -> Iterator[Path]:
    """The log files of every job's newest attempt, the job that ran last at the end."""
    attempts = [max(job.glob("attempt-*"), default=None) for job in run.jobs.iterdir() if job.is_dir()]
    for attempt in sorted((a for a in attempts if a is not None), key=lambda a: a.stat().st_mtime):
        yield from sorted(attempt.glob("*_log.out")) + sorted(attempt.glob("*_log.err"))
