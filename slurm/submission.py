"""What a job was told when it was submitted: the record `slurm.json` in the job's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder


@dataclass(frozen=True)
class Submission:
    """The newest submission of a job to Slurm."""

    job_id: str
    """as sbatch gave it: of an array the id of the whole; empty before"""
    elements: int | None
    """size of the job's own array; None where it is none"""
    index: int | None
    """which element of an array of alike jobs of several runs this job is; None where it is none"""
    cluster: str
    """name of the profile"""
    submitted: float
    """unix seconds"""
    script: str = ""
    """what sbatch was given"""


def write_submission(run: RunFolder, job_name: str, submission: Submission) -> None:
    """Record what sbatch has answered."""
    _write(_file(run, job_name), submission)
    forget_asked(run, job_name)


def read_submission(run: RunFolder, job_name: str) -> Submission | None:
    """None if the job was never submitted to Slurm."""
    return _read(_file(run, job_name))


def write_asked(run: RunFolder, job_name: str, submission: Submission) -> None:
    """Record what sbatch is about to be told, beside what it has answered before."""
    _write(_asked_file(run, job_name), submission)


def read_asked(run: RunFolder, job_name: str) -> Submission | None:
    """What sbatch was told and has not answered; None if it has."""
    return _read(_asked_file(run, job_name))


def forget_asked(run: RunFolder, job_name: str) -> None:
    _asked_file(run, job_name).unlink(missing_ok=True)


def queue_ids(submission: Submission) -> tuple[str, ...]:
    """The job's ids in the queue: one, or one per element of its array."""
    job_id = submission.job_id
    if submission.elements is not None:
        return tuple(f"{job_id}_{element}" for element in range(submission.elements))
    # One element, where the array belongs to several runs.
    return (job_id if submission.index is None else f"{job_id}_{submission.index}",)


def named(job_id: str, elements: Iterable[int] | None) -> str:
    """What a dependency on a job names: an array's elements one by one, the id of a job that is none.

    Under the name of the whole array Slurm remembers the worst end that any element ever had, even of one that was
    started again since and succeeded.
    """
    return job_id if elements is None else ":".join(f"{job_id}_{element}" for element in elements)


def _write(file: Path, submission: Submission) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(asdict(submission)) + "\n")


def _read(file: Path) -> Submission | None:
    try:
        return Submission(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _file(run: RunFolder, job_name: str) -> Path:
    return run.jobs / job_name / "slurm.json"


def _asked_file(run: RunFolder, job_name: str) -> Path:
    return run.jobs / job_name / "slurm-asked.json"
