"""Cancel a run, or start its jobs again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence

from slurm import queue
from slurm.cluster import Cluster, load_cluster
from slurm.image import settle
from slurm.plan import Plan, make_plan
from slurm.status import JobRecord, record_of, with_unanswered
from urbanvlm.errors import UserError
from urbanvlm.lock import Owner, hold, living_owner, process_alive
from urbanvlm.run_folder import RunFolder
from urbanvlm.same_inputs import check_same_inputs
from urbanvlm.stages import stages_of

PATIENCE_SECONDS = 20.0
"""How long a submitter gets to end its processes after Ctrl-C."""


def cancel(run: RunFolder) -> Iterator[str]:
    """End everything of a run that is at work or waits, and say so; what is finished stays.

    Raises UserError where Slurm, or another machine, would have to be asked and cannot be.
    """
    owner = living_owner(run.lock)
    if owner is not None:
        yield _interrupt(run, owner)
    records = _records(run)
    alive = queue.jobs(one for record in records for one in record.ids_to_ask)
    for record in records:
        if ids := [one for one in record.ids_to_ask if one in alive]:
            states = sorted({alive[one].state.lower() for one in ids})
            yield f"{record.stage.name}: cancels {_jobs_words(ids)} ({', '.join(states)})"
    queue.cancel(alive)
    if owner is None and not alive:
        yield f"nothing of {run.id} is at work"


def requeue(run: RunFolder, profile: str = "") -> Iterator[str]:
    """Have Slurm end and start again what runs, and submit what has ended without its result; says what it does.

    `profile` is the cluster to submit to, the one of the last submission if not given. Raises UserError where Slurm
    cannot be asked, or the run was never submitted to it, or began with other files than are here, or a job at its end
    does not leave its nodes.
    """
    alive = queue.settled(record.ids_to_ask for record in _records(run))
    # Only now: what has left the queue meanwhile may have left its result.
    records = _records(run)
    if all(record.done for record in records):
        yield f"{run.id} is finished"
        return
    check_same_inputs(run.experiment, run)
    last = _last_profile(run, records)
    gone = [record for record in records if not record.done and not any(one in alive for one in record.ids)]
    # Before anything is done: a profile that is no longer there is to leave all as it is.
    plan, remarks = _plan(run, load_cluster(profile or last)) if gone else (None, [])
    yield from (f"note: {remark}" for remark in remarks)
    running = [one for one, job in alive.items() if job.state in ("RUNNING", "SIGNALING")]
    for record in records:
        if ids := [one for one in record.ids_to_ask if one in running]:
            yield f"{record.stage.name}: requeues {_jobs_words(ids)}; it goes on from what it has saved"
    queue.requeue(running)
    if plan is not None:
        yield from _submit_again(run, plan)
    elif not running:
        yield f"{run.id} waits in the queue already"


def _plan(run: RunFolder, cluster: Cluster) -> tuple[Plan, list[str]]:
    (plan,), remarks = settle([make_plan(run.experiment, cluster)])
    return plan, remarks


def _submit_again(run: RunFolder, plan: Plan) -> Iterator[str]:
    from slurm.submit import submit_to_slurm

    with hold(run.lock, f"submit {run.id}"):
        for job, became in submit_to_slurm(plan, run.experiment, run):
            yield f"{job.name}: {became}"


def _interrupt(run: RunFolder, owner: Owner) -> str:
    """Ctrl-C for the command that holds the run. Raises UserError if it is elsewhere, or does not end."""
    what = f"{owner.what}, process {owner.pid}"
    if owner.host != Owner.me("").host:
        raise UserError(run.id, f"is held by {what} on {owner.host}", "stop that process there, then do this again")
    try:
        os.kill(owner.pid, signal.SIGINT)
    except ProcessLookupError:
        return f"{what} has just ended"
    except PermissionError:
        raise UserError(run.id, f"is held by {what}, which belongs to somebody else", "ask them to stop it") from None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process_alive(owner.pid, owner.born) is not False:
        if time.monotonic() > deadline:
            raise UserError(run.id, f"{what} was told to stop and has not", f"`kill {owner.pid}` ends it")
        time.sleep(0.1)
    return f"stopped {what}"


def _records(run: RunFolder) -> Sequence[JobRecord]:
    records = [record_of(run, stage) for stage in stages_of(run.experiment)]
    return with_unanswered({run: records})[run]


def _last_profile(run: RunFolder, records: Sequence[JobRecord]) -> str:
    """The cluster that the run was last submitted to."""
    submissions = [record.submission for record in records if record.submission is not None]
    if not submissions:
        raise UserError(
            run.id, "was never submitted to Slurm", "`make submit EXP=…` goes on with a run, here or with CLUSTER=…"
        )
    return max(submissions, key=lambda submission: submission.submitted).cluster


def _jobs_words(ids: list[str]) -> str:
    return f"job {ids[0]}" if len(ids) == 1 else f"{len(ids)} jobs of {ids[0].partition('_')[0]}"
