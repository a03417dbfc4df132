"""Nodes that a run's jobs found bad lately: what is submitted now keeps away from them from the start."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from slurm import queue
from slurm.plan import Plan
from urbanvlm.errors import UserError
from urbanvlm.run_folder import RunFolder

DAYS = 7
"""until a node counts as mended; batch.sh has the same number"""
NARROWING = ("constraint", "nodelist", "nodefile", "reservation")
"""options of sbatch that leave of a partition nobody here knows which nodes"""


def bad_nodes(run: RunFolder, now: float) -> tuple[str, ...]:
    """Of the last days, as the batch scripts wrote them into jobs/<job>/bad-nodes: node, Unix seconds, job."""
    rows = [
        line.split()
        for file in sorted(run.jobs.glob("*/bad-nodes"))
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    # A line that a dying host left unfinished is no record.
    records = [(row[0], int(row[1])) for row in rows if len(row) == 3 and row[1].isascii() and row[1].isdecimal()]
    return tuple(sorted({node for node, when in records if now - when <= DAYS * 86400}))


def leave_out(plans: Sequence[Plan], runs: Iterable[RunFolder]) -> tuple[list[Plan], tuple[str, ...]]:
    """The plans without the runs' bad nodes, and which nodes those are.

    None is left out where too few nodes would remain, or nobody knows how many: the jobs look at the nodes themselves.
    """
    now = time.time()
    bad = {node for run in runs for node in bad_nodes(run, now)}
    # Nodes of another cluster, or that are gone, are names that sbatch refuses.
    nodes = _nodes() if bad else {}
    here = bad & {node for names in nodes.values() for node in names}
    if not here or not all(_leaves_enough(plan, nodes, here) for plan in plans):
        return list(plans), ()
    left_out = tuple(sorted(here))
    return [
        replace(plan, cluster=plan.cluster.model_copy(update={"exclude": (*plan.cluster.exclude, *left_out)}))
        for plan in plans
    ], left_out


def _leaves_enough(plan: Plan, nodes: Mapping[str, set[str]], bad: set[str]) -> bool:
    """Has every job of the plan certainly as many nodes as it needs without these?"""
    try:
        without = bad | set(_expanded(plan.cluster.exclude))
    except UserError:
        return False
    for job in plan.jobs:
        options = plan.cluster.sbatch_options(job.gpus_per_node)
        if any(option in options for option in NARROWING):
            return False
        # Of several, Slurm takes the one where the job begins first, or nodes of all. Without a name it is one of them.
        named = str(options["partition"]).split(",") if "partition" in options else None
        choices = [set().union(*(nodes.get(name, ()) for name in named))] if named else nodes.values()
        if any(len(names - without) < job.nodes for names in choices):
            return False
    return True


def _expanded(exclude: Sequence[str]) -> list[str]:
    """The nodes of such words as `n[1-3]`. Raises UserError where Slurm does not answer."""
    return queue.ask(["scontrol", "show", "hostnames", ",".join(exclude)]).split() if exclude else []


def _nodes() -> dict[str, set[str]]:
    """Partition -> its nodes; empty where Slurm does not answer."""
    try:
        lines = queue.ask(["sinfo", "--noheader", "--Node", "--format=%R %N"]).splitlines()
    except UserError:
        return {}
    found: dict[str, set[str]] = {}
    for line in lines:
        partition, _, node = line.strip().partition(" ")
        found.setdefault(partition, set()).add(node.strip())
    return found
