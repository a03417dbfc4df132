"""One call of sbatch with its record, before it and after; an answer that never came is looked for in the queue."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from slurm import queue
from slurm.submission import Submission, forget_asked, queue_ids, write_asked, write_submission
from urbanvlm.errors import UserError
from urbanvlm.run_folder import RunFolder

Place = tuple[RunFolder, str]
"""A job: its run and its name there"""


def submit_script(
    script: Path, jobs: Mapping[Place, Submission], *, dependency: str | None = None, array: str | None = None
) -> str:
    """Submit the script of one job, or of an array of alike ones; returns Slurm's id, which their records then hold.

    Each job's folder says before that it is being asked for, so that one is found again that Slurm took without an
    answer. Raises UserError where Slurm refuses, or does not answer and has nothing of it in its queue.
    """
    asked = {place: replace(submission, job_id="", script=str(script)) for place, submission in jobs.items()}
    for place, submission in asked.items():
        write_asked(*place, submission)
    try:
        job_id = queue.sbatch(script, dependency=dependency, array=array)
    except queue.Unanswered:
        found: dict[Place, Submission] = {}
        with suppress(UserError):
            found = find_again(asked)
        if not found:
            raise
        job_id = next(iter(found.values())).job_id
    except UserError:
        for place in asked:
            forget_asked(*place)
        raise
    for place, submission in asked.items():
        write_submission(*place, replace(submission, job_id=job_id))
    return job_id


def find_again(submissions: Mapping[Place, Submission]) -> dict[Place, Submission]:
    """Those of which Slurm's queue has a job, under whatever id, by the script; each with that id.

    A job belongs to a run by the script that sbatch was given, which lies in the run's or its sweep's folder: names are
    the same in two folders, and a comment may be the site's. Raises UserError if Slurm does not answer.
    """
    if not any(submission.script for submission in submissions.values()):
        return {}
    queued = queue.scripts()
    found = {}
    for place, submission in submissions.items():
        ids = {one for one, script in queued.items() if script == submission.script}
        arrays = sorted({one.partition("_")[0] for one in ids}, key=int)
        named = [replace(submission, job_id=one) for one in arrays]
        if mine := [one for one in named if ids.intersection(queue_ids(one))]:
            found[place] = mine[-1]
    return found
