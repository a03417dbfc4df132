"""Where runs lie: in `runs`, and in every other folder that an experiment was submitted to from here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder
from urbanvlm.sweep import SweepFolder

HOME = Path("runs")
ELSEWHERE = ".elsewhere"
"""file in HOME: one folder a line"""


def remember_output(output: Path) -> None:
    """Note a folder of runs that is not `./runs`, so that `make status` finds what was submitted from here."""
    output, home = output.absolute(), HOME.absolute()
    known = _elsewhere()
    if output == home or output in known:
        return
    home.mkdir(parents=True, exist_ok=True)
    # Of two submits at the same moment one may lose its line here: a folder that its next submit notes again.
    write_atomic(home / ELSEWHERE, "".join(f"{folder}\n" for folder in (*known, output)))


def outputs() -> tuple[Path, ...]:
    """Every folder to look for runs in."""
    return (HOME, *_elsewhere())


def find_runs(folders: Sequence[Path]) -> list[RunFolder]:
    """Every run folder in them, the one touched last first."""
    found = {
        file.parent.absolute()
        for folder in folders
        if os.access(folder, os.R_OK)
        for file in folder.glob("*/experiment.yaml")
    }
    return sorted((RunFolder(path) for path in found), key=lambda run: (-_touched(run), run.id))


def find_run(name: str, folders: Sequence[Path]) -> RunFolder:
    """A run by its path, its id, or a beginning that only one id has. Raises UserError."""
    if (Path(name) / "experiment.yaml").is_file():
        return RunFolder(Path(name).absolute())
    runs = find_runs(folders)
    matches = [run for run in runs if run.id == name] or [run for run in runs if run.id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if len({run.id for run in matches}) == 1:
        raise UserError(
            f"run {name!r}", "lies in several folders", f"name one: {', '.join(str(r.path) for r in matches)}"
        )
    ids = ", ".join(run.id for run in (matches or runs)) or "none yet"
    raise UserError(f"run {name!r}", f"is not one run of {', '.join(map(str, folders))}", f"choose from: {ids}")


def find_sweep(name: str, folders: Sequence[Path]) -> SweepFolder | None:
    """The sweep of that path or id."""
    for folder in (Path(name), *(folder / name for folder in folders)):
        sweep = SweepFolder(folder.absolute())
        if name and sweep.file.is_file():
            return sweep
    return None


def find_runs_of(name: str, folders: Sequence[Path]) -> list[RunFolder]:
    """The run of that name as `find_run` takes it, or every run of a sweep, by its path or id. Raises UserError."""
    if sweep := find_sweep(name, folders):
        runs = [RunFolder(sweep.run(point.run_id)) for point in sweep.read().points]
        return [run for run in runs if run.experiment_file.is_file()]
    return [find_run(name, folders)]


def short(path: Path) -> str:
    """Relative to here where it is below here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _elsewhere() -> tuple[Path, ...]:
    """Those that are still there."""
    try:
        lines = (HOME / ELSEWHERE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(folder for line in lines if line and (folder := Path(line)).is_dir())


def _touched(run: RunFolder) -> float:
    """When a job of the run was last submitted or started."""
    try:
        return max(entry.stat().st_mtime for entry in (run.experiment_file, run.jobs, *run.jobs.glob("*/")))
    except OSError:
        return 0.0
