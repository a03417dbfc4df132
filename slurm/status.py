"""Run folders and the queue -> what every job of every run is doing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from slurm import queue
from slurm.attempts import Attempt, attempts_of, failure_of, newest_per_element
from slurm.live import together
from slurm.queue import EndedJob, QueuedJob
from slurm.submission import Submission, queue_ids, read_asked, read_submission
from slurm.submitting import find_again
from urbanvlm.errors import UserError
from urbanvlm.lock import living_owner
from urbanvlm.progress import ProgressSnapshot, read_progress
from urbanvlm.run_folder import RunFolder, is_complete
from urbanvlm.same_inputs import changed_inputs, refusal
from urbanvlm.stages import Stage, is_done, needs_of, results_of, stages_of

State = Literal[
    "finished",  # its markers are there
    "running",
    "starting",  # somebody holds the run, and has not begun this job yet
    "waiting",  # in the queue
    "requeued",  # in the queue again
    "failed",  # ended without its result
    "cancelled",
    "lost",  # submitted, but neither in the queue nor known to have ended
    "submitted",  # and Slurm cannot be asked from here
    "stopped",  # on this machine, without an error
    "not started",
]
URGENCY: tuple[State, ...] = (
    "running",
    "starting",
    "requeued",
    "waiting",
    "submitted",
    "failed",
    "lost",
    "cancelled",
    "stopped",
    "not started",
    "finished",
)
"""What an array is called whose elements differ: the first of these that one of them is in."""
OVER: tuple[State, ...] = ("failed", "lost", "cancelled", "stopped")
SILENT_SECONDS = 600.0

REASONS = {
    "BadConstraints": "no node is as it asks",
    "BeginTime": "Slurm starts it again a little later",
    "Dependency": "after the jobs it needs",
    "DependencyNeverSatisfied": "never starts: a job it needs did not succeed",
    "JobArrayTaskLimit": "so many of its array run already",
    "JobHeldAdmin": "held by Slurm or an administrator, `scontrol release` lets it go",
    "JobHeldUser": "held, `scontrol release` lets it go",
    "JobLaunchFailure": "its node could not launch it",
    "PartitionTimeLimit": "never starts: asks for more time than the partition gives",
    "Priority": "other jobs come first",
    "Resources": "no free nodes yet",
}
"""Slurm's commonest reasons for waiting; any other is shown as it is."""


@dataclass(frozen=True)
class Queue:
    """What Slurm says about all jobs that were asked for."""

    queued: Mapping[str, QueuedJob]
    ended: Mapping[str, EndedJob]
    problem: str = ""
    """why it could not be asked"""


@dataclass(frozen=True)
class JobRecord:
    """What the run folder says about one job."""

    stage: Stage
    done: bool
    submission: Submission | None
    attempts: tuple[Attempt, ...]
    """all of them, the newest last"""
    asked: Submission | None = None
    """what sbatch was told and has not answered"""

    @property
    def newest(self) -> tuple[Attempt, ...]:
        """The newest start, or of an array the newest start of each element."""
        return newest_per_element(self.attempts)

    @property
    def ids(self) -> tuple[str, ...]:
        """In Slurm's queue; empty if its newest start was on this machine.

        A job that was submitted by hand is known from its attempts alone.
        """
        newest, submission = self.newest, self.submission
        if newest and (submission is None or newest[-1].began > submission.submitted):
            if newest[-1].job_id is None:
                return ()
            if submission is None or newest[-1].job_id.partition("_")[0] != submission.job_id:
                return tuple(one.job_id for one in newest if one.job_id)
        return queue_ids(submission) if submission is not None else ()

    @property
    def ids_to_ask(self) -> tuple[str, ...]:
        """Slurm is not asked about what is finished."""
        return () if self.done else self.ids

    def attempt_of(self, job_id: str) -> Attempt | None:
        return next((attempt for attempt in self.newest if attempt.job_id == job_id), None)

    def element_of(self, job_id: str) -> int | None:
        """Which shard an element of an evaluation's array does; None of a job that does all."""
        _, has_element, element = job_id.partition("_")
        shared = self.submission is not None and self.submission.index is not None
        return int(element) if has_element and self.stage.kind == "evaluate" and not shared else None


@dataclass(frozen=True)
class JobStatus:
    """What one job of a run is doing."""

    stage: str
    state: State
    job_ids: tuple[str, ...] = ()
    attempts: int = 0
    restarts: int = 0
    """how often Slurm has put it back into the queue"""
    nodes: str = ""
    progress: ProgressSnapshot | None = None
    """rate and time left only where they are of the start at work"""
    shards: str = ""
    """of an evaluation with several: `2/4 shards done, 1 running, 1 waiting`"""
    note: str = ""
    """why it waits or failed, one line"""
    expected_start: float | None = None
    """unix seconds, where Slurm says"""
    silent_seconds: float | None = None
    """of a running job that has shown no progress for long"""

    @property
    def waits_for_others(self) -> bool:
        return self.state == "not started" or (self.state == "waiting" and self.note == REASONS["Dependency"])


@dataclass(frozen=True)
class RunStatus:
    """What a run is doing."""

    run: RunFolder
    jobs: tuple[JobStatus, ...]
    problem: str = ""
    """why its folder cannot be read"""
    changed: str = ""
    """which files are not what it began with, in words"""

    @property
    def done(self) -> int:
        return sum(job.state == "finished" for job in self.jobs)

    @property
    def state(self) -> str:
        """Of the run as a whole: what is most urgent of its jobs."""
        if self.problem:
            return "unreadable"
        return min((job.state for job in self.current), key=URGENCY.index, default="finished")

    @property
    def report(self) -> Path | None:
        """Of a finished run, for a browser."""
        return self.run.page if self.state == "finished" and self.run.page.is_file() else None

    @property
    def current(self) -> tuple[JobStatus, ...]:
        """The jobs to look at: those at work, waiting in their own right, or ended without a result."""
        unfinished = tuple(job for job in self.jobs if job.state != "finished")
        return tuple(job for job in unfinished if not job.waits_for_others) or unfinished[:1]


def status_of(runs: Sequence[RunFolder]) -> tuple[list[RunStatus], str]:
    """What every run is doing, and why Slurm could not be asked, if it should have been. One squeue call for all."""
    read = {run: _records(run) for run in runs}
    records = {run: found for run, found in read.items() if not isinstance(found, str)}
    problem = ""
    try:
        records = with_unanswered(records)
    except UserError as error:
        problem = str(error)
    slurm = ask(one for found in records.values() for record in found for one in record.ids_to_ask)
    statuses = []
    for run in runs:
        if run in records:
            jobs = job_statuses(run, records[run], slurm, time.time())
            statuses.append(RunStatus(run, jobs, changed=_changed(run, folders=len(runs) == 1)))
        else:
            statuses.append(RunStatus(run, (), str(read[run])))
    return statuses, slurm.problem or problem


def ask(ids: Iterable[str]) -> Queue:
    """What Slurm knows of these jobs; never an error, so that the folders can always be shown."""
    try:
        return Queue(*queue.look(ids))
    except UserError as error:
        return Queue({}, {}, str(error))


def record_of(run: RunFolder, stage: Stage) -> JobRecord:
    """What the run folder says about one job of it."""
    done = is_done(run, run.experiment, stage)
    attempts = attempts_of(run, stage.name)
    return JobRecord(stage, done, read_submission(run, stage.name), attempts, read_asked(run, stage.name))


def _changed(run: RunFolder, *, folders: bool) -> str:
    """Of a single run down to its pictures, which would take long for many runs."""
    try:
        changed = changed_inputs(run.experiment, run, folders=folders)
    except (UserError, OSError, ValueError) as error:
        return str(error)
    return str(refusal(run, run.experiment, changed)) if changed else ""


def with_unanswered(records: Mapping[RunFolder, Sequence[JobRecord]]) -> dict[RunFolder, Sequence[JobRecord]]:
    """The records, with what Slurm took without our hearing of it. It is asked if there may be any.

    Raises UserError if it does not answer.
    """
    asked = {
        (run, record.stage.name): record.asked
        for run, ours in records.items()
        for record in ours
        if record.asked is not None and not record.done
    }
    found = find_again(asked)
    return {
        run: [replace(one, submission=found.get((run, one.stage.name), one.submission)) for one in ours]
        for run, ours in records.items()
    }


def _records(run: RunFolder) -> Sequence[JobRecord] | str:
    """Of every job; or why the folder cannot be read."""
    try:
        return tuple(record_of(run, stage) for stage in stages_of(run.experiment))
    except (UserError, OSError) as error:
        return str(error)


def job_statuses(run: RunFolder, records: Sequence[JobRecord], slurm: Queue, now: float) -> tuple[JobStatus, ...]:
    """Each job of a run, from what its folder and Slurm say."""
    # The markers are read again after the queue was: a job that ended meanwhile is finished, not failed.
    done = {r.stage for r in records if r.done or is_done(run, run.experiment, r.stage)}
    held = living_owner(run.lock) is not None
    statuses: list[JobStatus] = []
    for record in records:
        ready = all(needed in done for needed in needs_of(run.experiment, record.stage))
        if record.stage in done:
            statuses.append(_status(record, "finished"))
        elif record.ids:
            statuses.append(_slurm_status(run, record, slurm, ready, now))
        else:
            turn = ready and all(status.state == "finished" for status in statuses)
            statuses.append(_local_status(run, record, held, turn, now))
    return tuple(statuses)


def _status(record: JobRecord, state: State) -> JobStatus:
    restarts = max((attempt.restart for attempt in record.newest if attempt.job_id in record.ids), default=0)
    return JobStatus(record.stage.name, state, record.ids, len(record.attempts), restarts)


def _local_status(run: RunFolder, record: JobRecord, held: bool, turn: bool, now: float) -> JobStatus:
    """Of a job whose newest start, if it had any, was on this machine."""
    attempt = record.attempts[-1] if record.attempts else None
    if attempt is None and not turn:
        return _status(record, "not started")
    failure = failure_of(attempt)
    state: State = "failed" if failure else "stopped"
    if held and turn:
        state = "starting" if attempt is None or failure else "running"
    at_work = attempt.began if attempt is not None and state == "running" else None
    parts = [at_work] * _parts(run, record.stage)
    return replace(
        _status(record, state),
        progress=_progress(run, record.stage, parts),
        shards=_shard_words(run, record.stage, Counter()),
        note=failure if state == "failed" else "",
        silent_seconds=_silent_seconds(run, record.stage, parts, now),
    )


def _slurm_status(run: RunFolder, record: JobRecord, slurm: Queue, ready: bool, now: float) -> JobStatus:
    """Of a job whose newest start was Slurm's, or will be."""
    unfinished = [one for one in record.ids if not all(map(is_complete, _results(run, record, one)))]
    found = {one: _element(record, one, slurm, ready) for one in unfinished}
    if not found:
        return _status(record, "finished")
    state = min((own for own, _ in found.values()), key=URGENCY.index)
    queued = [slurm.queued[one] for one in unfinished if one in slurm.queued]
    own_notes = Counter(note for own, note in found.values() if note and own == state)
    failures = [note for own, note in found.values() if own in OVER and own != state]
    status = _status(record, state)
    began = [_began_of_part(record, slurm, part) for part in range(_parts(run, record.stage))]
    return replace(
        status,
        restarts=max([status.restarts, *(job.restarts for job in queued)]),
        nodes=",".join(dict.fromkeys(job.nodes for job in queued if job.nodes and not job.waits)),
        progress=_progress(run, record.stage, began),
        shards=_shard_words(run, record.stage, Counter(own for own, _ in found.values())),
        note="; ".join(dict.fromkeys([*(note for note, _ in own_notes.most_common(1)), *failures[:1]])),
        expected_start=min((job.start_time for job in queued if job.waits and job.start_time), default=None),
        silent_seconds=_silent_seconds(run, record.stage, began, now) if state == "running" else None,
    )


def _element(record: JobRecord, job_id: str, slurm: Queue, ready: bool) -> tuple[State, str]:
    """(state, why) of a job, or of one element of its array, that has no result yet."""
    attempt = record.attempt_of(job_id)
    if (queued := slurm.queued.get(job_id)) is not None:
        if not queued.waits:
            return "running", ""
        return ("requeued" if queued.restarts else "waiting"), REASONS.get(queued.reason, queued.reason)
    ended = slurm.ended.get(job_id)
    if ended is not None and ended.state == "CANCELLED":
        # What waited for a job that did not succeed goes with it: the reason stands there.
        return ("cancelled", "") if ready or attempt is not None else ("not started", "")
    if ended is not None:
        return "failed", failure_of(attempt, ended)
    failure = failure_of(attempt)
    if not slurm.problem:
        return ("failed", failure) if failure else ("lost", f"the Slurm here does not know it{_whose(record)}")
    if attempt is None:
        return "submitted", ""
    if attempt.wants_requeue:
        return "requeued", attempt.wants_requeue
    return ("failed", failure) if failure else ("running", "")


def _whose(record: JobRecord) -> str:
    return f"; it was submitted to {record.submission.cluster}" if record.submission is not None else ""


def _results(run: RunFolder, record: JobRecord, job_id: str) -> tuple[Path, ...]:
    """What is to come of a job; of an element of an evaluation's array, its shard."""
    results = results_of(run, run.experiment, record.stage)
    element = record.element_of(job_id)
    return results if element is None else results[element : element + 1]


def _parts(run: RunFolder, stage: Stage) -> int:
    """How many progress files a job has that count."""
    return run.experiment.evaluate.shards if stage.kind == "evaluate" else 1


def _began_of_part(record: JobRecord, slurm: Queue, part: int) -> float | None:
    """When the process that now works on a part began; None if none does."""
    for job_id in record.ids:
        if record.element_of(job_id) not in (None, part):
            continue
        attempt, queued = record.attempt_of(job_id), slurm.queued.get(job_id)
        if attempt is None or attempt.exit_code is not None:
            return None
        if slurm.problem:
            return attempt.began
        # Slurm may have started it again a moment ago, and its folder is not there yet.
        return attempt.began if queued and not queued.waits and queued.restarts == attempt.restart else None
    return None


def _progress(run: RunFolder, stage: Stage, began: Sequence[float | None]) -> ProgressSnapshot | None:
    """Of all parts together; rate and time left of those alone that are at work and have shown something."""
    snapshots = []
    for part, since in enumerate(began):
        file = run.progress_file(stage.name, part)
        if (snapshot := read_progress(file)) is not None:
            fresh = since is not None and _modified(file) >= since and snapshot.done < snapshot.total
            snapshots.append(snapshot if fresh else replace(snapshot, rate=0.0, seconds_left=None))
    if not snapshots:
        return None
    return together(snapshots) if stage.kind == "evaluate" else snapshots[0]


def _silent_seconds(run: RunFolder, stage: Stage, began: Sequence[float | None], now: float) -> float | None:
    """How long nothing at work has shown progress, if that is long."""
    signs = [
        max(since, _modified(run.progress_file(stage.name, part)))
        for part, since in enumerate(began)
        if since is not None
    ]
    silent = now - max(signs, default=now)
    return silent if silent > SILENT_SECONDS else None


def _shard_words(run: RunFolder, stage: Stage, states: Counter[State]) -> str:
    """`2/4 shards done, 1 running, 1 waiting`; empty where there is one part."""
    if _parts(run, stage) == 1:
        return ""
    results = results_of(run, run.experiment, stage)
    words = [f"{sum(map(is_complete, results))}/{len(results)} shards done"]
    return ", ".join([*words, *(f"{states[state]} {state}" for state in URGENCY if states[state])])


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
