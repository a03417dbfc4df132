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
    """as sbatch gave it: of an array the id of the whole"""
    elements: int | None
    """size of the job's own array; None where it is none"""
    index: int | None
    """which element of an array of alike jobs of several runs this job is; None where it is none"""
    cluster: str
    """name of the profile"""
    submitted: float
    """unix seconds"""


def write_submission(run: RunFolder, job_name: str, submission: Submission) -> None:
    file = _file(run, job_name)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(asdict(submission)) + "\n")


def read_submission(run: RunFolder, job_name: str) -> Submission | None:
    """None if the job was never submitted to Slurm."""
    try:
        return Submission(**json.loads(_file(run, job_name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


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


def _file(run: RunFolder, job_name: str) -> Path:
    return run.jobs / job_name / "slurm.json"
