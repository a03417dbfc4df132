"""A job of a plan -> the text of its batch script. Pure, but for the interpreter and the folder that it names."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import _make_sbatch_string

from slurm.cluster import Bind, Cluster
from slurm.container import command_prefix, srun_options
from slurm.plan import JobSpec, Plan
from urbanvlm.errors import UserError
from urbanvlm.run_folder import RunFolder

CHECK = ("urbanvlm.runtime.preflight", "check")
VERDICT = ("urbanvlm.runtime.preflight", "verdict")


def sbatch_text(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path, lead_seconds: int) -> str:
    """The batch script of a job. It depends on nothing: what it waits for is said when it is submitted.

    Raises UserError for a path that a batch script cannot hold.
    """
    cluster, folder = plan.cluster, run.jobs / job.name
    _check_paths(run.path, snapshot, Path.cwd())
    options = cluster.sbatch_options(job.gpus_per_node) | {
        # To this script, not to the tasks: it stands outside the container and can ask Slurm to start it again.
        "signal": f"B:USR2@{lead_seconds}",
        "requeue": True,
        # A job whose needed one has failed is to go, not to wait for ever.
        "kill-on-invalid-dep": "yes",
        "chdir": str(Path.cwd()),
        "output": f"{_no_patterns(folder)}/batch-{'%A_%a' if job.elements else '%j'}.txt",
    }
    parameters: dict[str, Any] = {
        "job_name": f"{plan.run_id}/{job.name}",
        "nodes": job.nodes,
        "ntasks_per_node": job.tasks_per_node,
        "cpus_per_task": job.cpus_per_task,
        "mem": f"{job.memory_gb}GB",
        "time": job.timeout_minutes,
        "map_count": job.elements,
        "array_parallelism": job.at_once,
        "wckey": None,
        "stderr_to_stdout": True,
        "use_srun": False,
        "setup": [*cluster.setup, *_path(cluster), *_exports(environment(plan, job)), *_scratch(cluster)],
        "additional_parameters": options,
    }
    return _make_sbatch_string(command=_command(plan, job, run, snapshot, lead_seconds), folder=folder, **parameters)


def environment(plan: Plan, job: JobSpec) -> dict[str, str]:
    """Variables of a job's tasks. Not a copy of this shell's: no secret travels."""
    return {
        "OMP_NUM_THREADS": str(1 if job.stage.kind == "synthesize" else job.cpus_per_task),
        "TOKENIZERS_PARALLELISM": "false",
        **plan.cluster.environment,
    }


def _command(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path, lead_seconds: int) -> str:
    """What batch.sh needs to know, then batch.sh."""
    cluster = plan.cluster
    python = [*_inside(plan, job, run), *_interpreter(cluster), str(snapshot)]
    checks = job.nodes > 1 or job.stage.kind == "preflight"
    values: Mapping[str, str | list[str]] = {
        "job_folder": str(run.jobs / job.name),
        "exclude": ",".join(cluster.exclude),
        "grace_seconds": str(cluster.preemption.grace_seconds) if cluster.preemption.mode == "cancel" else "",
        "lead_seconds": str(lead_seconds),
        "srun_options": srun_options(cluster, binds=_binds(job, run), environment_names=list(environment(plan, job))),
        "check": [*python, *CHECK, f"--gpus={job.gpus_per_node}"] if checks else [],
        "verdict": [*python, *VERDICT] if checks else [],
        "work": _work(job, run, python),
    }
    lines = [
        f"{name}=({shlex.join(value)})" if isinstance(value, list) else f"{name}={shlex.quote(value)}"
        for name, value in values.items()
    ]
    if job.elements:
        lines.append('work+=(--shard "$SLURM_ARRAY_TASK_ID")')
    return "\n".join([*lines, f"source {shlex.quote(str(snapshot / 'slurm' / 'batch.sh'))}"])


def _work(job: JobSpec, run: RunFolder, python: Sequence[str]) -> list[str]:
    if job.stage.kind == "preflight":
        return []
    if job.stage.kind == "compare":
        return [*python, "slurm", "compare", str(run.path)]
    return [*python, "slurm.job", str(run.path), job.name]


def _inside(plan: Plan, job: JobSpec, run: RunFolder) -> list[str]:
    """What comes before the command of a task, to run it in the cluster's container."""
    return command_prefix(
        plan.cluster,
        gpus=job.gpus_per_task > 0,
        binds=_binds(job, run),
        environment_names=list(environment(plan, job)),
    )


def _interpreter(cluster: Cluster) -> list[str]:
    return [sys.executable if cluster.container is None else "python3", "-u"]


def _binds(job: JobSpec, run: RunFolder) -> list[Bind]:
    """What a container must see: the run, or all runs, and the folder that paths in the experiment begin in."""
    written = run.path.parent if job.stage.kind == "compare" else run.path
    return [Bind(str(Path.cwd()), str(Path.cwd()), read_only=True), Bind(str(written), str(written))]


def _path(cluster: Cluster) -> list[str]:
    """As in an activated environment: DeepSpeed looks for ninja on PATH."""
    return [f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"] if cluster.container is None else []


def _scratch(cluster: Cluster) -> list[str]:
    """A folder of the job's own on the node's disk; batch.sh makes it on each node."""
    words = cluster.node_scratch_words
    return [] if words is None else [f"export TMPDIR={words}/urbanvlm-$SLURM_JOB_ID"]


def _exports(values: Mapping[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def _no_patterns(path: Path) -> str:
    """A path in which Slurm sees no `%j` and the like."""
    return str(path).replace("%", "%%")


def _check_paths(*paths: Path) -> None:
    for path in paths:
        if not str(path).isprintable() or "\\" in str(path):
            raise UserError(
                repr(str(path)), "has a line break or a backslash, which Slurm cannot take", "choose another folder"
            )
