"""The processes of a cluster, known by what they carry: no pid file can be stale."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from slurm.dev.settings import Settings
from urbanvlm.errors import UserError

CLUSTER_VARIABLE = "SLURM_DEV_CLUSTER"
ROLE_VARIABLE = "SLURM_DEV_ROLE"
CLIENT_VARIABLES = ("SALLOC_", "SBATCH_", "SLURM_", "SRUN_", "SQUEUE_", "SINFO_", "SCANCEL_", "SACCT_")
"""Beginnings of what changes what Slurm's clients do."""
POLL_SECONDS = 0.02
MAX_POLL_SECONDS = 0.25
STEP_DAEMON = "slurmstepd"
"""It writes its title over its environment, and is nobody's child; but it holds the log of its node open."""
KILL_ROUNDS = 5
"""One that is just being started is found in the next round."""
GONE = (psutil.NoSuchProcess, psutil.AccessDenied)
Condition = Callable[[], object]


def clean_environment(settings: Settings) -> dict[str, str]:
    """What a client of the cluster gets: nothing of another cluster, or of a job that this runs in."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(CLIENT_VARIABLES)}
    return ours | {"SLURM_CONF": str(settings.slurm_conf)}


def start(
    settings: Settings, role: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground of a session of its own; what it prints goes to log/<role>.out."""
    marks = {CLUSTER_VARIABLE: str(settings.folder), ROLE_VARIABLE: role}
    with (settings.logs / f"{role}.out").open("ab") as out:
        return subprocess.Popen(
            command,
            cwd="/",
            env=clean_environment(settings) | dict(environment or {}) | marks,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def find(settings: Settings, role: str | None = None) -> list[psutil.Process]:
    """Living processes of the cluster, or of one of its roles."""
    wanted = {CLUSTER_VARIABLE: str(settings.folder)} | ({ROLE_VARIABLE: role} if role else {})
    logs = {settings.slurmd_log(name) for name in ([role] if role else settings.node_names)}
    return [process for process in psutil.process_iter() if _belongs(process, wanted, logs)]


def _belongs(process: psutil.Process, wanted: Mapping[str, str], logs: set[Path]) -> bool:
    try:
        # Where process 1 does not reap, the dead stay as zombies.
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.name() == STEP_DAEMON:
            return any(file in logs for file in _open_files(process))
        environment = process.environ()
        return all(environment.get(name) == value for name, value in wanted.items())
    except (*GONE, OSError):
        return False


def _open_files(process: psutil.Process) -> Iterator[Path]:
    for handle in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):
            yield Path(str(handle.readlink()).removesuffix(" (deleted)"))


def end(settings: Settings, role: str, patience_seconds: float = 10.0) -> None:
    """SIGTERM, and SIGKILL to what is still there after the patience."""
    processes = find(settings, role)
    for process in processes:
        with suppress(*GONE):
            process.terminate()
    if not wait_until(lambda: not any(map(is_alive, processes)), patience_seconds):
        kill(settings, role)


def kill(settings: Settings, role: str | None = None) -> None:
    """SIGKILL to all processes of the role (None: of the cluster) and to all that they started; returns when they
    are dead. Raises UserError if one does not die."""
    for _ in range(KILL_ROUNDS):
        marked = find(settings, role)
        if not marked:
            return
        doomed = _with_children(marked)
        for process in doomed:
            with suppress(*GONE):
                process.kill()
        wait_until(lambda doomed=doomed: not any(map(is_alive, doomed)), 10)  # type: ignore[misc]
    if left := find(settings, role):
        raise UserError(f"process {left[0].pid}", "does not die", "look at what it waits for, then try again")


def freeze(settings: Settings, role: str) -> None:
    """Until they are killed, they do nothing any more."""
    for process in _with_children(find(settings, role)):
        with suppress(*GONE):
            process.suspend()


def _with_children(marked: Iterable[psutil.Process]) -> set[psutil.Process]:
    """A task of a job carries the environment of its owner, not ours: it is found as its step daemon's child."""
    found = {*marked}
    for process in marked:
        with suppress(*GONE):
            found |= {*process.children(recursive=True)}
    return found


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except GONE:
        return False


def wait_until(condition: Condition, seconds: float) -> bool:
    """Whether it came true in that time. It is asked often at first, and more rarely as time goes on."""
    began = time.monotonic()
    while not condition():
        passed = time.monotonic() - began
        if passed > seconds:
            return False
        time.sleep(min(max(POLL_SECONDS, passed / 10), MAX_POLL_SECONDS))
    return True


def network_namespace(process: psutil.Process | None = None) -> Path:
    return Path(f"/proc/{process.pid if process else 'self'}/ns/net").readlink()
