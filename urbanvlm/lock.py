"""One writer at a time: a lock file with its owner and a heartbeat."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""A silent owner on another host counts as dead after this; on this host its process is looked at instead."""
PATIENCE_SECONDS = 5.0
"""How long to wait for an owner that may be dying just now."""


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same number by its birth."""

    host: str
    pid: int
    born: str
    what: str

    @classmethod
    def me(cls, what: str) -> Owner:
        return cls(_host(), os.getpid(), birth_of(os.getpid()) or "", what)


def _host() -> str:
    """Where process numbers mean the same: the host, and inside it the container."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {namespace.readlink()}" if namespace.is_symlink() else socket.gethostname()


def birth_of(pid: int) -> str | None:
    """When a process of this host began, in words that no change of the clock alters; None if it is gone."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        boot = Path("/proc/sys/kernel/random/boot_id")
        if not boot.is_file():
            return str(process.create_time())
        # Field 22 of stat, counted after the name, which may hold spaces and brackets: ticks since the start.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{boot.read_text().strip()} {ticks}"
    except (psutil.NoSuchProcess, OSError):
        return None


def process_alive(pid: int, born: str) -> bool:
    """Is the process of this host with that birth still there (a zombie is not)?"""
    return birth_of(pid) == born


@contextmanager
def hold(path: Path, what: str, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs. A dead owner's lock is taken over, and that is said.

    Raises UserError naming the living owner.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    me = Owner.me(what)
    deadline = time.monotonic() + patience_seconds
    while (owner := _try(path, me)) is not None:
        if time.monotonic() > deadline:
            raise UserError(
                path.parent,
                f"is being written by {owner.what}, process {owner.pid} on {owner.host}",
                "wait until it ends, or stop that process",
            )
        time.sleep(0.25)
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        with _guarded(path):
            if _read(path) == me:
                path.unlink(missing_ok=True)


def living_owner(path: Path) -> Owner | None:
    """Who holds the lock, if anybody living does."""
    owner = _read(path)
    return owner if owner is not None and _alive(path, owner) else None


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _try(path: Path, me: Owner) -> Owner | None:
    """Take the lock, or return its living owner. The guard makes looking and taking one act."""
    with _guarded(path):
        owner = _read(path)
        if owner is not None and owner != me:
            if _alive(path, owner):
                return owner
            print(
                f"{path.parent}: took over the lock of {owner.what}, process {owner.pid} on {owner.host}, "
                f"which is no longer there",
                file=sys.stderr,
            )
        write_atomic(path, json.dumps(asdict(me)) + "\n")
        return None


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def _alive(path: Path, owner: Owner) -> bool:
    if owner.host == _host():
        return process_alive(owner.pid, owner.born)
    try:
        # A file touched now has the file server's clock, so clocks of hosts that differ do no harm.
        now = path.with_name(f".{path.name}.guard")
        now.touch()
        return now.stat().st_mtime - path.stat().st_mtime < STALE_SECONDS
    except FileNotFoundError:
        return False


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        # A file server that stumbles once must not cost the lock.
        with suppress(OSError):
            os.utime(path)
