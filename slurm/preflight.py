"""A job of its own that only looks at nodes: does a profile work, before a run is trusted to it?"""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from slurm import queue
from slurm.cluster import Cluster
from slurm.image import settle
from slurm.plan import JobSpec, Plan, lead_seconds
from slurm.script import sbatch_text
from slurm.snapshot import take_snapshot
from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder
from urbanvlm.stages import Stage

ASK_EVERY_SECONDS = 2.0
TIMEOUT_MINUTES = 10
NEVER_STARTS = ("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints", "AccountNotAllowed")
"""Slurm's words for what no waiting mends; some of them stand there for a moment while it thinks"""
HOPELESS_ANSWERS = 5


def preflight(cluster: Cluster, nodes: int, output: Path, console: Console) -> int:
    """Submit the job, wait for it, show what it found. Exit code 0 if the nodes are good.

    The folder that the nodes must share is one in `output`, as those of runs are. Raises UserError where Slurm refuses
    the job or its nodes cannot tell us anything. Ctrl-C cancels the job.
    """
    if cluster.executor != "slurm":
        raise UserError(f"cluster {cluster.name}", "is one machine, without nodes to check", "CLUSTER= names another")
    run = RunFolder(output.absolute() / f"preflight-{cluster.name}")
    run.create()
    (plan,), remarks = settle([Plan(run.id, cluster, (preflight_job(cluster, nodes),))])
    for remark in remarks:
        console.print(f"note: {remark}", markup=False, soft_wrap=True)
    script = run.jobs / "preflight" / "job.sbatch"
    script.parent.mkdir(exist_ok=True)
    text = sbatch_text(plan, plan.jobs[0], run, take_snapshot(run), lead_seconds(cluster, plan.jobs[0], None))
    write_atomic(script, text + "\n")
    try:
        job_id = queue.sbatch(script)
    except queue.Unanswered as error:
        # Of this job nobody keeps a record by which the same command could find it.
        said = str(error).removesuffix(f"; {queue.UNANSWERED}")
        raise UserError(
            said, "the job may be in the queue all the same", "`squeue --me` shows it, `scancel` ends it"
        ) from None
    console.print(f"job {job_id} checks {nodes} nodes", markup=False)
    try:
        _wait(job_id, console)
    except KeyboardInterrupt:
        queue.cancel([job_id])
        raise
    code = _show(run, job_id, console)
    if cluster.stand_in_gpus:
        console.print("note: nobody looked for GPUs, the profile says that they are not real (stand_in_gpus)")
    return code


def preflight_job(cluster: Cluster, nodes: int) -> JobSpec:
    """It asks for all that a node of the partition has of GPUs, and looks at it."""
    return JobSpec(
        stage=Stage("preflight"),
        nodes=nodes,
        tasks_per_node=1,
        gpus_per_task=cluster.gpus_per_node,
        cpus_per_task=1,
        memory_gb=min(4, cluster.memory_gb_per_node or 4),
        timeout_minutes=min(TIMEOUT_MINUTES, cluster.max_timeout_minutes or TIMEOUT_MINUTES),
        needs=(),
        parts=1,
        elements=None,
        at_once=1,
        writes=(),
    )


def _wait(job_id: str, console: Console) -> None:
    shown, hopeless = "", 0
    while (job := queue.jobs([job_id]).get(job_id)) is not None:
        words = f"{job.state.lower()} {job.reason or job.nodes}"
        if words != shown:
            console.print(words, markup=False)
            shown = words
        hopeless = hopeless + 1 if job.reason in NEVER_STARTS else 0
        if hopeless == HOPELESS_ANSWERS:
            queue.cancel([job_id])
            raise UserError(
                f"job {job_id}", f"would never start ({job.reason})", "ask for fewer nodes, or mend the profile"
            )
        time.sleep(ASK_EVERY_SECONDS)


def _show(run: RunFolder, job_id: str, console: Console) -> int:
    attempts = sorted(run.jobs.glob(f"preflight/attempt-{job_id}-*"), key=lambda path: path.stat().st_mtime)
    log = run.jobs / "preflight" / f"batch-{job_id}.txt"
    if not attempts or not (attempts[-1] / "exit").is_file():
        ended = queue.ended([job_id]).get(job_id)
        raise UserError(
            f"job {job_id}",
            f"left nothing in {run.path} ({ended.words if ended else 'nothing is known of it'})",
            f"that folder must be on a disk that the nodes share; its log, if any: {log}",
        )
    # A node's login may print what it likes into it.
    text = log.read_text(encoding="utf-8", errors="replace")
    verdict = [line for line in text.splitlines() if line.startswith("preflight: ")]
    console.print(verdict[-1] if verdict else text, markup=False, soft_wrap=True)
    return 0 if (attempts[-1] / "exit").read_text(encoding="utf-8").strip() == "0" else 1
