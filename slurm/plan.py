"""(Experiment, Cluster) -> Plan: which jobs a run needs, in which order, with what. All but pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slurm.cluster import Cluster, check_fits
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment
from urbanvlm.models.adapters import chain_of
from urbanvlm.models.registry import TINY_PRESETS
from urbanvlm.stages import Stage, needs_of, stages_of, writes_of


@dataclass(frozen=True)
class JobSpec:
    """One job: the stage it does and what it is given."""

    stage: Stage
    nodes: int
    tasks_per_node: int
    gpus_per_task: int
    cpus_per_task: int
    memory_gb: int
    timeout_minutes: int
    needs: tuple[str, ...]
    """names of the jobs that must have succeeded"""
    parts: int
    """how many processes or shards report progress"""
    elements: int | None
    """of an array on Slurm, one element a shard; None where one job does all"""
    at_once: int
    """most elements that run at the same time"""
    writes: tuple[str, ...]
    """paths inside the run folder, for people"""

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def tasks(self) -> int:
        return self.nodes * self.tasks_per_node

    @property
    def gpus_per_node(self) -> int:
        return self.tasks_per_node * self.gpus_per_task


@dataclass(frozen=True)
class Plan:
    """All jobs of a run, each after those it needs."""

    run_id: str
    cluster: Cluster
    jobs: tuple[JobSpec, ...]
    reads: tuple[str, ...] = ()
    """files and folders that the experiment names, as it names them"""


def make_plan(experiment: Experiment, cluster: Cluster) -> Plan:
    """Raises UserError where the cluster cannot hold a job."""
    make_job = _slurm_job if cluster.executor == "slurm" else _local_job
    jobs = tuple(make_job(experiment, stage) for stage in stages_of(experiment))
    for job in jobs:
        _check_fits(job, cluster)
    return Plan(experiment.run_id, cluster, jobs, _reads(experiment))


def lead_seconds(cluster: Cluster, job: JobSpec, save_seconds: float | None) -> int:
    """How long before its time limit a job is told: twice the time that a checkpoint took, with room for the rest.

    Never more than half of the limit, so that a short job gets to work at all.
    """
    wanted = cluster.signal_delay_seconds
    if job.stage.kind == "train" and save_seconds is not None:
        wanted = max(wanted, round(2 * save_seconds) + 30)
    return min(wanted, job.timeout_minutes * 30)


def _slurm_job(experiment: Experiment, stage: Stage) -> JobSpec:
    """Evaluation is an array, one process an element: without collectives, shards need not start together."""
    resources, job = experiment.resources, _local_job(experiment, stage)
    share = -(-resources.memory_gb // resources.processes)
    if stage.kind == "train":
        return job
    if stage.kind == "evaluate":
        at_once = resources.shards_at_once or experiment.world_size
        return replace(job, tasks_per_node=1, memory_gb=share, elements=job.parts, at_once=min(at_once, job.parts))
    return replace(job, memory_gb=resources.memory_gb if stage.kind == "synthesize" else share)


def _local_job(experiment: Experiment, stage: Stage) -> JobSpec:
    resources = experiment.resources
    shards = experiment.evaluate.shards
    tasks = {"train": resources.processes, "evaluate": min(shards, resources.processes)}.get(stage.kind, 1)
    uses_model = stage.kind in ("train", "evaluate")
    return JobSpec(
        stage=stage,
        nodes=resources.nodes if stage.kind == "train" else 1,
        tasks_per_node=tasks,
        gpus_per_task=resources.gpus_per_process if uses_model else 0,
        cpus_per_task=resources.cpus_per_process * (resources.processes if stage.kind == "synthesize" else 1),
        memory_gb=resources.memory_gb,
        timeout_minutes=resources.timeout_minutes,
        needs=tuple(needed.name for needed in needs_of(experiment, stage)),
        parts=shards if stage.kind == "evaluate" else 1,
        elements=None,
        at_once=1,
        writes=writes_of(experiment, stage),
    )


def _reads(experiment: Experiment) -> tuple[str, ...]:
    """With what adapters among them stand on; the name of a checkpoint may be the hub's and no folder at all."""
    data = experiment.data
    images = data.images if data.images is not None and not data.images.startswith("package:") else None
    files = (data.train_file, data.val_file, data.test_file, images, experiment.evaluate.prompts)
    models = (model for model in experiment.models if model.checkpoint not in TINY_PRESETS)
    checkpoints = (name for model in models for name, _ in chain_of(model.checkpoint, model.revision))
    return tuple(dict.fromkeys(name for name in (*files, *checkpoints) if name is not None))


def _check_fits(job: JobSpec, cluster: Cluster) -> None:
    if cluster.executor == "local" and job.nodes > 1:
        raise UserError(
            "resources.nodes", f"is {job.nodes}, but cluster {cluster.name} is one machine", "set resources.nodes=1"
        )
    check_fits(
        cluster,
        job=job.name,
        gpus_per_node=job.gpus_per_node,
        cpus_per_node=job.cpus_per_task * job.tasks_per_node,
        memory_gb=job.memory_gb,
        timeout_minutes=job.timeout_minutes,
    )
