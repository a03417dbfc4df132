"""A job of a plan -> the text of its batch script. Pure, but for the interpreter and the folders that it names."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import _make_sbatch_string

from slurm.binds import binds_of, cache_of_models
from slurm.cluster import Bind, Cluster
from slurm.container import cache_folders, command_prefix, srun_options
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
        **cluster.memory_options(job.memory_gb, job.tasks_per_node * job.cpus_per_task),
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
        "time": job.timeout_minutes,
        "map_count": job.elements,
        "array_parallelism": job.at_once,
        "wckey": None,
        "stderr_to_stdout": True,
        "use_srun": False,
        "setup": [
            f"source {shlex.quote(str(snapshot / 'slurm' / 'login.sh'))}",
            *cluster.setup,
            # What a setup wants of its own lines is not for ours, which look at exit codes.
            *(["set +eu +o pipefail"] if cluster.setup else []),
            *_python(cluster),
            *_exports(environment(plan, job)),
            *_scratch(cluster),
        ],
        "additional_parameters": options,
    }
    return _make_sbatch_string(command=_command(plan, job, run, snapshot, lead_seconds), folder=folder, **parameters)


def environment(plan: Plan, job: JobSpec) -> dict[str, str]:
    """Variables of a job's tasks, beside those of a login: nothing of this shell's travels.

    No job has a network for models: what it loads by a name of the hub is there before it starts, or nothing is
    submitted. Compute nodes have no way out, and from a container the cache cannot be written.
    """
    return {
        "OMP_NUM_THREADS": str(1 if job.stage.kind == "synthesize" else job.cpus_per_task),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_CACHE": str(cache_of_models(plan.cluster)),
        "HF_HUB_OFFLINE": "1",
        **plan.cluster.environment,
    }


def task_command(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path) -> list[str]:
    """The command of every task but for its part of the work, in the cluster's container if there is one."""
    return _task(_interpreter(plan, job, snapshot, _binds(plan, job, run, snapshot)), job, run)


def _command(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path, lead_seconds: int) -> str:
    """What batch.sh needs to know, then batch.sh."""
    cluster = plan.cluster
    binds = _binds(plan, job, run, snapshot)
    python = _interpreter(plan, job, snapshot, binds)
    checks = job.nodes > 1 or job.stage.kind == "preflight"
    names = list(environment(plan, job))
    values: Mapping[str, str | list[str]] = {
        "job_folder": str(run.jobs / job.name),
        "exclude": ",".join(cluster.exclude),
        "grace_seconds": str(cluster.preemption.grace_seconds) if cluster.preemption.mode == "cancel" else "",
        "lead_seconds": str(lead_seconds),
        "runtime": cluster.container.runtime if cluster.container is not None else "",
        "caches": [f"{name}={folder}" for name, folder in cache_folders(cluster).items()],
        "meeting_suffix": cluster.meeting_suffix or "",
        "srun_options": [
            *cluster.srun_options,
            *srun_options(cluster, binds=binds, environment_names=names, folder=str(Path.cwd())),
        ],
        "check": [*python, *CHECK, f"--gpus={0 if cluster.stand_in_gpus else job.gpus_per_node}"] if checks else [],
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
    return _task(python, job, run)


def _task(python: Sequence[str], job: JobSpec, run: RunFolder) -> list[str]:
    return [*python, "slurm.job", str(run.path), job.name]


def _binds(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path) -> list[Bind]:
    """It looks at the disk, so once a job; without a container there is nothing to bind."""
    return [] if plan.cluster.container is None else binds_of(plan, job, run, snapshot)


def _interpreter(plan: Plan, job: JobSpec, snapshot: Path, binds: Sequence[Bind]) -> list[str]:
    """What runs a module of the snapshot: this Python, or the one of the cluster's container."""
    if plan.cluster.container is None:
        return [sys.executable, "-u", str(snapshot)]
    prefix = command_prefix(
        plan.cluster,
        gpus=job.gpus_per_task > 0 and not plan.cluster.stand_in_gpus,
        binds=binds,
        environment_names=list(environment(plan, job)),
        folder=str(Path.cwd()),
        user=(os.getuid(), os.getgid()),
    )
    # -s: what somebody installed with `pip install --user` is not for the Python inside.
    return [*prefix, "python3", "-s", "-u", str(snapshot)]


def _python(cluster: Cluster) -> list[str]:
    """As in an activated environment: DeepSpeed looks for ninja on PATH. In a container, nothing of this one.

    What `setup` loads may lead Python to packages of its own, and pyxis would let that in.
    """
    ours = (
        [] if cluster.container is not None else [f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"]
    )
    return ['unset "${!PYTHON@}" VIRTUAL_ENV', *ours]


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
