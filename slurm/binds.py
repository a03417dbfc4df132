"""What a job's container sees of this machine: the run, the files that its experiment names, the cache of models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from slurm.cluster import Bind, Cluster
from slurm.plan import JobSpec, Plan
from urbanvlm.errors import UserError
from urbanvlm.models.hub import cache_folder
from urbanvlm.run_folder import RunFolder


def binds_of(plan: Plan, job: JobSpec, run: RunFolder, snapshot: Path) -> list[Bind]:
    """Of one job, each at the path by which the job will call it. Only the run, or all runs, can be written.

    The folder that the job starts in is not among them, as it may be a home folder; of what lies there, a job sees what
    is named. Where that is nothing, it starts in a place of that name that holds the code.
    """
    here = Path.cwd()
    found = [*_both(run.path.parent if job.stage.kind == "compare" else run.path, read_only=False)]
    for name in plan.reads:
        path = here / name
        if path.exists():
            found += _both(path, read_only=True)
            found += _leading_out(path)
    hub = cache_of_models(plan.cluster)
    if hub.is_dir():
        found += _both(hub, read_only=True)
    if not any(here.is_relative_to(bind.target) or Path(bind.target).is_relative_to(here) for bind in found):
        found.append(Bind(str(snapshot), str(here), read_only=True))
    # A run may be read by its own path and written by that of its folder: the first one stays.
    return list({bind.target: bind for bind in reversed(found)}.values())[::-1]


def check_binds(cluster: Cluster) -> None:
    """Raises UserError where the profile binds what is not here."""
    for bind in cluster.container.parsed_binds if cluster.container is not None else ():
        if not bind.on_node and not Path(bind.source).exists():
            on_nodes = f", or, if the nodes alone have it, write {bind.source}:{bind.target}:ro,node"
            raise UserError(
                f"cluster {cluster.name}: container.binds",
                f"there is no {bind.source}",
                "mend the path" + (on_nodes if cluster.executor == "slurm" else ""),
            )


def cache_of_models(cluster: Cluster) -> Path:
    """Where jobs on a cluster find the checkpoints of the hub: the profile may name another folder than this shell."""
    return cache_folder({**os.environ, **cluster.environment}).absolute()


def _both(path: Path, *, read_only: bool) -> Iterator[Bind]:
    """At the path as it is called, and where that leads over links: a link inside may name either."""
    source = os.path.realpath(path)
    for target in dict.fromkeys((os.path.normpath(path.absolute()), source)):
        yield Bind(source, target, read_only)


@cache
def _leading_out(path: Path) -> tuple[Bind, ...]:
    """What links in a folder lead to elsewhere, as in a checkpoint in the hub's cache: its files are links to blobs."""
    inside = os.path.realpath(path)
    return tuple(
        Bind(source, os.path.normpath(link.parent.absolute() / link.readlink()), read_only=True)
        for link in (_links(path) if path.is_dir() else ())
        if not Path(source := os.path.realpath(link)).is_relative_to(inside) and link.exists()
    )


def _links(folder: Path) -> Iterator[Path]:
    """Without a question to the file system for every file: there may be a hundred thousand pictures."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir():
                yield from _links(Path(entry.path))
