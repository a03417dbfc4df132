"""Nodes that a run's jobs found bad lately: what is submitted now keeps away from them from the start."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slurm import queue
from slurm.plan import Plan
from urbanvlm.errors import UserError
from urbanvlm.run_folder import RunFolder

DAYS = 7
"""until a node counts as mended; batch.sh has the same number"""


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

    None is left out where too few nodes would remain: the jobs look at the nodes themselves.
    """
    now = time.time()
    bad = {node for run in runs for node in bad_nodes(run, now)}
    # Nodes of another cluster, or that are gone, are names that sbatch refuses.
    nodes = _nodes() if bad else {}
    here = bad & {node for names in nodes.values() for node in names}
    for plan in plans:
        for job in plan.jobs:
            partition = plan.cluster.sbatch_options(job.gpus_per_node).get("partition")
            if any(len(names - here) < job.nodes for name, names in nodes.items() if partition in (None, name)):
                return list(plans), ()
    left_out = tuple(sorted(here))
    return [
        replace(plan, cluster=plan.cluster.model_copy(update={"exclude": (*plan.cluster.exclude, *left_out)}))
        for plan in plans
    ], left_out


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
