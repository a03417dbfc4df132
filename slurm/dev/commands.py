"""What happens to jobs on a real cluster, on command: preemption, and the end of a requeued job's wait."""

from __future__ import annotations

from datetime import datetime, timedelta

from slurm.dev.daemons import NUDGE_SECONDS, client
from slurm.dev.settings import Settings


def nudge(settings: Settings, job: str | None = None) -> list[str]:
    """Start requeued jobs, or that one, in two seconds instead of when Slurm would. Returns their ids."""
    jobs = [job] if job else _held_jobs(settings)
    for name in jobs:
        client(settings, "scontrol", "update", f"JobId={name}", f"StartTime=now+{NUDGE_SECONDS}")
    return jobs


def _held_jobs(settings: Settings) -> list[str]:
    """Requeued jobs whose time is not near anyway: moved again and again, they would never start."""
    soon = datetime.now() + timedelta(seconds=NUDGE_SECONDS)
    columns = "JobArrayID:40,RestartCnt:12,EligibleTime:24,Reason:40"
    held = []
    for row in client(settings, "squeue", "-h", "-r", "-t", "PD", "-O", columns).splitlines():
        job, restarts, begin, reason = row.split(None, 3)
        if reason.strip() == "BeginTime" and int(restarts) and datetime.fromisoformat(begin) > soon:
            held.append(job)
    return held


def preempt(settings: Settings, job: str | None = None, seconds: int = 5) -> str:
    """A job of partition high takes all nodes, or those of a job, for so long. Returns its id."""
    nodes = client(settings, "squeue", "-h", "-j", job, "-o", "%N").strip() if job else ""
    where = [f"--nodelist={nodes}"] if nodes else [f"--nodes={settings.nodes}"]
    options = ["--parsable", "--partition=high", "--exclusive", "--job-name=preempt", "--output=/dev/null", *where]
    return client(settings, "sbatch", *options, "--time=10", f"--wrap=sleep {seconds}").strip()
