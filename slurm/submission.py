"""What a job was told when it was submitted: the record `slurm.json` in the job's folder."""

from __future__ import annotations

import json
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
    if submission.elements is not None:
        return tuple(f"{submission.job_id}_{element}" for element in range(submission.elements))
    return (waited_for(submission),)


def waited_for(submission: Submission) -> str:
    """The id that a dependency on the job names: one element, where the array belongs to several runs."""
    return submission.job_id if submission.index is None else f"{submission.job_id}_{submission.index}"


def _file(run: RunFolder, job_name: str) -> Path:
    return run.jobs / job_name / "slurm.json"
