"""The runs of a sweep as jobs: here one run after the other, on Slurm with alike jobs of several runs as one array."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slurm import queue
from slurm.attempts import attempts_of, failure_of, newest_per_element
from slurm.bad_nodes import leave_out
from slurm.plan import JobSpec, Plan
from slurm.snapshot import take_snapshot
from slurm.submission import Submission, named, queue_ids
from slurm.submit import JobFailed, array_option, check_arrays, in_queue, missing_elements, prepare, write_script
from slurm.submitting import submit_script
from urbanvlm.errors import UserError
from urbanvlm.lock import Watch, hold
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder
from urbanvlm.same_inputs import Seen
from urbanvlm.stages import Stage, is_done, stages_of
from urbanvlm.sweep import Point, Sweep, SweepFolder


def sweep_table(sweep: Sweep) -> Table:
    """One line a run: how many of its stages are done."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "stages", ""):
        table.add_column(column, overflow="fold")
    for point in sweep.points:
        run, stages = RunFolder.of(point.experiment), stages_of(point.experiment)
        done = sum(is_done(run, point.experiment, stage) for stage in stages)
        words = "[green]done[/]" if done == len(stages) else ""
        table.add_row(escape(point.run_id), f"{done}/{len(stages)}", words)
    return table


def compare(folder: SweepFolder, reasons: Mapping[str, str] | None = None) -> dict[str, str]:
    """Write the comparison anew from the run folders as they are; returns run id -> why it is missing.

    `reasons` are known to the caller; others are looked for in the attempts of the runs' jobs. Raises UserError if this
    is no sweep's folder.
    """
    from urbanvlm.report.comparison import write_comparison

    found = dict(reasons or {})
    for point in folder.read().points:
        if point.run_id not in found and (reason := why_failed(RunFolder(folder.run(point.run_id)))):
            found[point.run_id] = reason
    return write_comparison(folder, found)


def why_failed(run: RunFolder) -> str:
    """What the first unfinished job that failed says; empty if none did."""
    try:
        experiment = run.experiment
    except UserError:
        return ""
    for stage in stages_of(experiment):
        if not is_done(run, experiment, stage):
            for attempt in newest_per_element(attempts_of(run, stage.name)):
                if words := failure_of(attempt):
                    return f"{stage.name}: {words}"
    return ""


# ---- here -----------------------------------------------------------------------------------------------------------


def run_sweep_here(sweep: Sweep, run_point: Callable[[Point], None], console: Console) -> dict[str, str]:
    """Run every point, one after the other, then compare; returns run id -> why it is missing.

    `run_point` goes on with a run, or does nothing where it is finished. Where it raises UserError or JobFailed, the
    other runs are done nevertheless.
    """
    sweep.folder.write(sweep)
    reasons = {}
    for number, point in enumerate(sweep.points, start=1):
        console.rule(f"{number}/{len(sweep.points)}  {escape(point.run_id)}", align="left")
        try:
            run_point(point)
        except (UserError, JobFailed) as error:
            console.print(str(error), style="red", markup=False, soft_wrap=True)
            # A job that failed has its reason in its folder; this one may not have got so far.
            reasons[point.run_id] = why_failed(RunFolder.of(point.experiment)) or str(error).splitlines()[-1]
    return compare(sweep.folder, reasons)


# ---- on Slurm -------------------------------------------------------------------------------------------------------


COMPARE = Stage("compare")


@dataclass(frozen=True)
class MergedJob:
    """One submission: a job of one run, or the alike jobs of several as an array with an element for each run."""

    job: JobSpec
    points: tuple[int, ...]
    """numbers of the runs in the sweep"""
    after: tuple[int, ...]
    """numbers of the submissions that it waits for"""
    after_queued: tuple[str, ...]
    """ids of jobs that were in the queue before"""
    first: int = 0
    """number of the run that element 0 of such an array is, or would be"""

    def element(self, point: int) -> int:
        """Of the array which element does a run's job: the same in all arrays of that run."""
        return point - self.first

    @property
    def over_runs(self) -> bool:
        """Is it an array with an element for each run? An evaluation has an array of its own, over shards."""
        return len(self.points) > 1


def merge_plans(
    plans: Sequence[Plan],
    done: Iterable[tuple[int, str]] = (),
    queued: Mapping[tuple[int, str], str] | None = None,
    most_elements: int | None = None,
) -> list[MergedJob]:
    """The jobs of several runs as few submissions, each after those that it waits for. Pure.

    `done` has (number of the plan, job) of what is finished, `queued` the ids of jobs that Slurm has already. Jobs
    become one array if they ask for the same and wait for the same: for the same elements of one earlier array, or for
    nothing. Where an array may have no more than `most_elements`, so many runs after one another share arrays.
    """
    finished, ids = set(done), dict(queued or {})
    merged: list[MergedJob] = []
    made: dict[tuple[int, str], int] = {}
    rounds = max((len(plan.jobs) for plan in plans), default=0)
    waiting = [(k, job) for k, plan in enumerate(plans) for job in plan.jobs]
    waiting = [(k, job) for k, job in waiting if (k, job.name) not in finished and (k, job.name) not in ids]
    for _ in range(rounds):
        left = {(k, job.name) for k, job in waiting}
        ready = [(k, job) for k, job in waiting if not any((k, name) in left for name in job.needs)]
        alike: dict[tuple[JobSpec, int, int | None, tuple[int, ...], tuple[str, ...]], list[int]] = {}
        for k, job in ready:
            after = tuple(sorted({made[k, name] for name in job.needs if (k, name) in made}))
            after_queued = tuple(ids[k, name] for name in job.needs if (k, name) in ids)
            own = k if job.elements is not None or after_queued else None
            first = k - k % most_elements if most_elements is not None else 0
            alike.setdefault((job, first, own, after, after_queued), []).append(k)
        for (job, first, _own, after, after_queued), points in alike.items():
            made |= {(k, job.name): len(merged) for k in points}
            merged.append(MergedJob(job, tuple(points), after, after_queued, first))
        waiting = [(k, job) for k, job in waiting if (k, job.name) not in made]
    assert not waiting, "the jobs of a plan need each other"
    return merged


def dependency(one: MergedJob, merged: Sequence[MergedJob], ids: Sequence[str]) -> str | None:
    """What sbatch is told that a submission waits for; `ids` are what names the submissions before it."""
    words = [f"afterok:{job_id}" for job_id in one.after_queued]
    for number in one.after:
        earlier = merged[number]
        if earlier.over_runs and one.over_runs:
            # Each element waits for the element of the same run.
            words.append(f"aftercorr:{ids[number]}")
        elif earlier.over_runs:
            words.append(f"afterok:{ids[number]}_{earlier.element(one.points[0])}")
        else:
            words.append(f"afterok:{ids[number]}")
    return ",".join(words) or None


def array_text(texts: Sequence[str], scripts: Mapping[int, Path], name: str, output: Path) -> str:
    """A batch script whose elements run one of the scripts each; the options are those of all but for names. Pure.

    `exec` keeps the process, to which Slurm sends its signals. What a script prints goes where it would by itself; what
    Slurm has to say comes into `output`, a folder.
    """
    # Runs may have measured different times to save: who is told earliest is told early enough.
    text = max(texts, key=_lead_seconds)
    options = [line for line in text.splitlines() if line.startswith("#SBATCH") and not _NAMES.match(line)]
    pattern = str(output).replace("%", "%%") + "/batch-%A_%a.txt"
    options += [f"#SBATCH --job-name={shlex.quote(name)}", f"#SBATCH --output={shlex.quote(pattern)}"]
    known = " ".join(f"[{number}]={shlex.quote(str(script))}" for number, script in sorted(scripts.items()))
    body = [
        f"scripts=({known})",
        "script=${scripts[$SLURM_ARRAY_TASK_ID]}",
        'exec bash "$script" >> "${script%/*}/batch-${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID.txt" 2>&1',
    ]
    return "\n".join(["#!/bin/bash", "", *options, "", *body, ""])


_NAMES = re.compile(r"#SBATCH --(job-name|output|error|array)=")


def _lead_seconds(text: str) -> int:
    return max((int(seconds) for seconds in re.findall(r"^#SBATCH --signal=\S*@(\d+)", text, re.MULTILINE)), default=0)


def submit_sweep(sweep: Sweep, plans: Sequence[Plan]) -> Iterator[str]:
    """Submit what of the runs is neither finished nor in the queue, and the comparison after all; says what it does.

    Raises UserError where Slurm refuses a job, or another command is at work with one of the runs; what was submitted
    before stays.
    """
    most_elements = check_arrays(plans)
    experiments = [point.experiment for point in sweep.points]
    runs = [RunFolder.of(experiment) for experiment in experiments]
    sweep.folder.write(sweep)
    with ExitStack() as stack:
        for run in runs:
            run.create()
        # All at once: whoever was cut off while it held them all is watched for a minute, and not for one a run.
        for run, watch in [(run, Watch(run.lock)) for run in runs]:
            stack.enter_context(hold(run.lock, f"submit {sweep.id}", watch=watch))
        places = [(k, job) for k, plan in enumerate(plans) for job in plan.jobs]
        found = in_queue((runs[k], job.name) for k, job in places if not is_done(runs[k], experiments[k], job.stage))
        # Only now: what has left the queue meanwhile may have left its result.
        done = {(k, job.name) for k, job in places if is_done(runs[k], experiments[k], job.stage)}
        queued = {(runs.index(run), name): job.named for (run, name), job in found.items()}
        merged = merge_plans(plans, done, queued, most_elements)
        seen: Seen = {}
        snapshots = {
            k: prepare(experiments[k], runs[k], seen) for k in sorted({k for one in merged for k in one.points})
        }
        if queued:
            yield f"{len(queued)} jobs are in the queue"
        plans, left_out = leave_out(plans, runs)
        if left_out and merged:
            yield f"without {', '.join(left_out)}, found bad lately"
        ids: list[str] = []
        for one in merged:
            scripts = {k: write_script(plans[k], one.job, runs[k], snapshots[k]) for k in one.points}
            first = one.points[0]
            elements = missing_elements(one.job, runs[first], experiments[first])
            script, array = scripts[first], array_option(one.job, elements)
            if one.over_runs:
                script, array = _write_array(sweep, one, scripts), ",".join(str(one.element(k)) for k in one.points)
            now = time.time()
            submissions = {
                (runs[k], one.job.name): Submission(
                    "", one.job.elements, one.element(k) if one.over_runs else None, plans[k].cluster.called, now
                )
                for k in one.points
            }
            job_id = submit_script(script, submissions, dependency=dependency(one, merged, ids), array=array)
            ids.append(named(job_id, None if one.over_runs else elements))
            what = f"array of {len(one.points)} runs" if one.over_runs else runs[first].id
            yield f"{one.job.name:<30} {what}, submitted as {job_id}"
        reports = [job_id for one, job_id in zip(merged, ids, strict=True) if one.job.stage.kind == "report"]
        reports += [job_id for (_, name), job_id in queued.items() if name == "report"]
        # Still inside: of two commands the second one finds the comparison of the first.
        yield _submit_comparison(sweep, plans, reports, anew=bool(merged))


def _write_array(sweep: Sweep, one: MergedJob, scripts: Mapping[int, Path]) -> Path:
    folder = sweep.folder.as_run.jobs / one.job.name
    folder.mkdir(parents=True, exist_ok=True)
    texts = [script.read_text(encoding="utf-8") for script in scripts.values()]
    path = folder / f"array-{'-'.join(str(k) for k in (one.points[0], one.points[-1]))}.sbatch"
    by_element = {one.element(k): script for k, script in scripts.items()}
    write_atomic(path, array_text(texts, by_element, f"{sweep.id}/{one.job.name}", folder))
    return path


def _submit_comparison(sweep: Sweep, plans: Sequence[Plan], reports: Sequence[str], *, anew: bool) -> str:
    """After all reports, whether they succeed or not; at once, and here, if there are none to wait for."""
    if not reports:
        missing = compare(sweep.folder)
        words = f", {len(missing)} runs are missing" if missing else ""
        return f"{'compare':<30} {sweep.folder.comparison}{words}"
    place = sweep.folder.as_run
    if before := in_queue([(place, COMPARE.name)]).get((place, COMPARE.name)):
        if not anew:
            return f"{COMPARE.name:<30} in the queue as {before.submission.job_id}"
        # It waits for the reports of then, not for those of now.
        queue.cancel(queue_ids(before.submission))
    plan = replace(plans[0], run_id=sweep.id, reads=tuple(dict.fromkeys(name for one in plans for name in one.reads)))
    report = next(job for job in plan.jobs if job.stage.kind == "report")
    job = replace(report, stage=COMPARE, needs=(), writes=(sweep.folder.comparison.name,))
    script = write_script(plan, job, place, take_snapshot(place))
    submission = Submission("", None, None, plan.cluster.called, time.time())
    job_id = submit_script(script, {(place, job.name): submission}, dependency="afterany:" + ":".join(reports))
    return f"{job.name:<30} after {len(reports)} reports, submitted as {job_id}"
