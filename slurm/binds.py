"""What a job's container sees of this machine: the run, the files that its experiment names, the cache of models."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from slurm.cluster import Bind, Cluster
from slurm.plan import JobSpec, Plan
from urbanvlm.errors import UserError
from urbanvlm.models.hub import cache_folder
from urbanvlm.run_folder import RunFolder

MOST_PLACES = 32
"""A runtime mounts each, and the kernel limits how long a command may be."""
MOST_LINKS_IN_A_ROW = 40
MOST_NAMES = 4
"""One folder may be reached by several paths; links in a circle make them without end."""
SYSTEM = frozenset(
    f"/{name}" for name in ("", *"bin boot dev etc home lib lib32 lib64 opt proc root run sbin sys tmp usr var".split())
)
"""Folders that a container image has of its own, or that hold other people's files."""


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
            explicit = plan.cluster.container.parsed_binds if plan.cluster.container is not None else ()
            found += _leading_out(path, [*found, *explicit])
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


# What links in a folder lead to elsewhere, as in a checkpoint in the hub's cache, or pictures that a tool for data
# keeps in one place: folders that hold the targets are bound, few however many links there are.


def _leading_out(path: Path, bound: Sequence[Bind]) -> Iterator[Bind]:
    """Raises UserError where too many folders would be bound, or ones that hold too much."""
    seen = [(Path(bind.target), _real(Path(bind.source))) for bind in bound]
    places = {at: real for at, real in _places_outside(path) if not any(_shows(one, at, real) for one in seen)}
    count = len(places)
    while len(places := _outermost(places)) > MOST_PLACES:
        # The deepest first, until what they have in common holds them all.
        depth = max(len(at.parts) for at in places)
        raised: dict[Path, Path] = {}
        for at, real in places.items():
            if len(at.parts) < depth:
                raised[at] = real
            elif at.name == real.name and not _holds_too_much(at.parent):
                raised[at.parent] = real.parent
            else:
                raise UserError(
                    path,
                    f"its links lead to {count} folders, more than a container can be shown",
                    "gather them below one folder, or name one that holds them in container.binds",
                )
        places = raised
    for at, real in places.items():
        yield Bind(str(real), str(at), read_only=True)


def _outermost(places: Mapping[Path, Path]) -> dict[Path, Path]:
    """Without what is seen by way of another one."""

    def is_seen(at: Path, real: Path) -> bool:
        return any(above in places and _shows((above, places[above]), at, real) for above in at.parents)

    return {at: real for at, real in places.items() if not is_seen(at, real)}


@cache
def _places_outside(path: Path) -> tuple[tuple[Path, Path], ...]:
    """(path by which a link leads there, the same over no links) of the folders that hold what links lead to.

    Such a place is the target itself if it is a folder, or if the folder that holds it holds too much.
    """
    real_folder = cache(_real)
    called, inside = _normal(path), _real(path)
    found: dict[Path, Path] = {}
    folders = [(called, inside)] if inside.is_dir() else []
    names: dict[Path, set[Path]] = {}
    while folders:
        folder, real = folders.pop()
        known = names.setdefault(real, set())
        if folder in known or len(known) == MOST_NAMES:
            continue
        known.add(folder)
        for link in _links(real):
            at, behind = folder / link.relative_to(real), link
            for _ in range(MOST_LINKS_IN_A_ROW):
                text = behind.readlink()
                at, behind = _normal(at.parent / text), behind.parent / text
                # A link to `/` or `..` has no name of its own.
                behind = real_folder(behind.parent) / behind.name if behind.name not in ("", "..") else _real(behind)
                if at.is_relative_to(called) or at.is_relative_to(inside):
                    break
                try:
                    mode = behind.lstat().st_mode
                except OSError:  # it leads nowhere
                    break
                if stat.S_ISDIR(mode):
                    if not _holds_too_much(at):
                        found[at] = behind
                        folders.append((at, behind))
                    break
                if _holds_too_much(at.parent):
                    found[at] = _real(behind)
                    break
                found[at.parent] = behind.parent
                if not stat.S_ISLNK(mode):
                    break
    return tuple(found.items())


def _links(folder: Path) -> Iterator[Path]:
    """Without a question to the file system for every file: there may be a hundred thousand pictures."""
    try:
        entries = os.scandir(folder)
    except PermissionError:  # such as lost+found: a job may not look into it either
        return
    with entries:
        for entry in entries:
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir():
                yield from _links(Path(entry.path))


def _holds_too_much(folder: Path) -> bool:
    """Would it bring the home folder, or take the place of what the container image has there?"""
    home = Path.home()
    return str(folder) in SYSTEM or any(one.is_relative_to(folder) for one in (_normal(home), _real(home)))


def _shows(bound: tuple[Path, Path], at: Path, real: Path) -> bool:
    """Is a place seen by way of a bind (target, source over no links)?"""
    target, source = bound
    return at.is_relative_to(target) and source / at.relative_to(target) == real


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
