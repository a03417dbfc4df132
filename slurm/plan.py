"""(Experiment, Cluster) -> Plan: which jobs a run needs, in which order, with what. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slurm.cluster import Cluster
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment
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


def make_plan(experiment: Experiment, cluster: Cluster) -> Plan:
    """Raises UserError where the cluster cannot hold a job."""
    jobs = tuple(_job(experiment, stage) for stage in stages_of(experiment))
    for job in jobs:
        _check_fits(job, cluster)
    return Plan(experiment.run_id, cluster, jobs)


def _job(experiment: Experiment, stage: Stage) -> JobSpec:
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
        writes=writes_of(experiment, stage),
    )


def _check_fits(job: JobSpec, cluster: Cluster) -> None:
    if cluster.executor == "local" and job.nodes > 1:
        raise UserError(
            "resources.nodes", f"is {job.nodes}, but cluster {cluster.name} is one machine", "set resources.nodes=1"
        )
    if cluster.executor == "slurm" and job.gpus_per_node > cluster.gpus_per_node:
        raise UserError(
            f"job {job.name}",
            f"asks for {job.gpus_per_node} GPUs on a node, but a node of cluster {cluster.name} has "
            f"{cluster.gpus_per_node}",
            "lower resources.processes",
        )
