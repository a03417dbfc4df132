"""What a running plan shows: a bar a stage in a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from slurm.plan import JobSpec
from urbanvlm.progress import ProgressSnapshot, read_progress
from urbanvlm.run_folder import RunFolder

REFRESH_SECONDS = 0.2
LINE_EVERY_SECONDS = 10.0


class Live:
    """Shows one job at a time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = 0.0
        self._job_started = 0.0

    def skipped(self, job: JobSpec) -> None:
        self._console.print(f"[green]✓[/] {job.name:<30} finished before")

    @contextmanager
    def running(self, job: JobSpec) -> Iterator[None]:
        """While the block runs, `refresh` shows the job's progress; afterwards how it ended."""
        self._job_started = time.time()
        self._last_line = time.monotonic()
        if self._console.is_terminal:
            name, words = TextColumn("[bold]▸[/] {task.description:<30}"), TextColumn("{task.fields[words]}")
            self._bar = Progress(name, BarColumn(20), words, console=self._console, transient=True)
            self._task = self._bar.add_task(job.name, total=None, words="starting")
            self._bar.start()
        try:
            yield
        except BaseException:
            self._stop_bar()
            self._console.print(f"[red]✗[/] {job.name:<30} stopped after {self._seconds()}")
            raise
        self._stop_bar()
        self._console.print(f"[green]✓[/] {job.name:<30} {self._seconds()}")

    def refresh(self, run: RunFolder, job: JobSpec) -> None:
        """Show the newest progress; returns after a fifth of a second."""
        time.sleep(REFRESH_SECONDS)
        snapshots = [read_progress(run.progress_file(job.name, part)) for part in range(job.parts)]
        fresh = [one for one in snapshots if one is not None and one.updated >= self._job_started]
        if not fresh:
            return
        shown = fresh[0] if job.stage.kind != "evaluate" else together(fresh)
        words = progress_words(shown)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=shown.total, completed=shown.done, words=words)
        elif time.monotonic() - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(f"  {job.name:<30} {words}")

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None

    def _seconds(self) -> str:
        return f"{time.time() - self._job_started:.0f} s"


def progress_words(shown: ProgressSnapshot) -> str:
    """`120/300 steps  loss 1.234  5.2 steps/s  35 s left`"""
    words = [f"{shown.done}/{shown.total} {shown.unit}"]
    words += [f"{name} {value:.4g}" for name, value in shown.figures.items()]
    if shown.rate > 0:
        words.append(f"{shown.rate:.3g} {shown.unit}/s")
    if shown.seconds_left is not None:
        words.append(f"{duration_words(shown.seconds_left)} left")
    return "  ".join(words)


def duration_words(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`"""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def together(parts: list[ProgressSnapshot]) -> ProgressSnapshot:
    """Shards side by side as one: the slowest decides the time left."""
    left = [part.seconds_left for part in parts if part.seconds_left is not None]
    return ProgressSnapshot(
        done=sum(part.done for part in parts),
        total=sum(part.total for part in parts),
        unit=parts[0].unit,
        rate=sum(part.rate for part in parts),
        seconds_left=max(left, default=None),
        updated=max(part.updated for part in parts),
    )
