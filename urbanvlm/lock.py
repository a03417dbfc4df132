"""One writer at a time: a lock file with its owner and a heartbeat; an owner that lost it ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic
from urbanvlm.runtime.preemption import NEVER, Stopped

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""A silent owner on another host counts as dead after this; on this host its process is looked at instead."""
PATIENCE_SECONDS = 5.0
"""How long to wait for an owner that may be dying just now."""
LAST_HEARTBEATS = 3
"""Of an owner that has lost its lock: by then it has noticed and ended, or its node is gone."""
SAY_EVERY_SECONDS = 60.0

GiveUp = Callable[[], "str | None"]
"""Why not to wait any longer, or None."""


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same number by its birth."""

    host: str
    pid: int
    born: str
    what: str
    job: str = ""
    """Slurm's job, empty outside"""
    restart: int = 0
    """how often Slurm had requeued that job when the process began"""

    @classmethod
    def me(cls, what: str) -> Owner:
        job = os.environ.get("URBANVLM_JOB", "")
        restart = int(os.environ.get("URBANVLM_RESTART") or 0) if job else 0
        return cls(_host(), os.getpid(), birth_of(os.getpid()) or "", what, job, restart)

    def supersedes(self, other: Owner) -> bool:
        """Is this a later start of the same job? Slurm starts a job anew only after it gave up the start before."""
        return bool(self.job) and self.job == other.job and self.restart > other.restart

    def __str__(self) -> str:
        words = f"{self.what}, process {self.pid} on {self.host}"
        return f"{words}, start {self.restart + 1} of job {self.job}" if self.job else words


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
def hold(
    path: Path, what: str, patience_seconds: float = PATIENCE_SECONDS, give_up: GiveUp = NEVER.reason
) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs. A dead owner's lock is taken over, and that is said.

    So is, at once, the lock of an earlier start of the same job; if that may still run, on a node that Slurm cannot
    reach, the block begins when it has had the time to notice. Whoever finds the lock gone or another's ends itself.

    A living owner is waited for: inside a job of Slurm as long as it takes, else `patience_seconds`, after which
    UserError names it. Raises Stopped with the words of `give_up` when they come before the block begins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    me = Owner.me(what)
    superseded = _acquire(path, me, patience_seconds, give_up)
    with _thread(_beat, path, me):
        try:
            if superseded is not None:
                _outlive(superseded, give_up)
            yield
        finally:
            with _guarded(path):
                if _read(path) == me:
                    path.unlink(missing_ok=True)


@contextmanager
def follow(path: Path, what: str, is_done: Callable[[], bool], give_up: GiveUp = NEVER.reason) -> Iterator[None]:
    """For the other processes of a job whose first one holds the lock: the block begins when that has it.

    Or when there is nothing left to do. They, too, end themselves when a later start of the job takes over. Outside
    Slurm the first process is not waited for, as it does not wait either. Raises Stopped like `hold`.
    """
    me = Owner.me(what)
    if not me.job:
        yield
        return
    while not is_done():
        owner = _read(path)
        if owner is not None and (owner.job, owner.restart) == (me.job, me.restart):
            break
        if owner is not None and owner.supersedes(me):
            _end(path, f"{owner} has taken over")
        _check(give_up)
        time.sleep(0.25)
    with _thread(_watch, path, me):
        yield


def living_owner(path: Path) -> Owner | None:
    """Who holds the lock, if anybody living does."""
    owner = _read(path)
    return owner if owner is not None and _alive(path, owner) else None


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Makes looking and taking one act, where the file system can lock; where it can't, they are merely close."""
    with path.with_name(f".{path.name}.guard").open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        yield


@contextmanager
def _thread(work: Callable[[Path, Owner, threading.Event], None], path: Path, me: Owner) -> Iterator[None]:
    """Run `work` beside the block until that ends."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(path, me, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _acquire(path: Path, me: Owner, patience_seconds: float, give_up: GiveUp) -> Owner | None:
    """Take the lock, when that may be. Returns the earlier start of this job that held it and may still run."""
    begun = time.monotonic()
    said = float("-inf")
    while True:
        living, superseded = _try(path, me)
        if living is None:
            return superseded
        if living.supersedes(me):
            _end(path, f"{living} is at work, so this start is left over from before")
        _check(give_up)
        now = time.monotonic()
        if not me.job and now - begun > patience_seconds:
            raise UserError(path.parent, f"is being written by {living}", "wait until it ends, or stop that process")
        if me.job and now - said >= SAY_EVERY_SECONDS:
            _say(path, f"is being written by {living}; waiting until it ends")
            said = now
        # For hours perhaps, on a file server that others use.
        time.sleep(0.25 if now - begun < PATIENCE_SECONDS else 2.0)


def _try(path: Path, me: Owner) -> tuple[Owner | None, Owner | None]:
    """Take the lock: (its living owner, or None if it is now mine; the superseded owner, if that may still run)."""
    superseded = None
    with _guarded(path):
        owner = _read(path)
        if owner is not None and owner != me:
            if me.supersedes(owner):
                superseded = owner if _alive(path, owner, LAST_HEARTBEATS * HEARTBEAT_SECONDS) else None
                waiting = " and may still run; waiting until it must have noticed" if superseded else ""
                _say(path, f"took over the lock of {owner}, which Slurm has given up{waiting}")
            elif _alive(path, owner):
                return owner, None
            else:
                _say(path, f"took over the lock of {owner}, which is no longer there")
        write_atomic(path, json.dumps(asdict(me)) + "\n")
    return None, superseded


def _outlive(superseded: Owner, give_up: GiveUp) -> None:
    """Wait until an owner that has lost its lock is gone, as far as that can be seen from here."""
    deadline = time.monotonic() + LAST_HEARTBEATS * HEARTBEAT_SECONDS
    while time.monotonic() < deadline:
        if superseded.host == _host() and not process_alive(superseded.pid, superseded.born):
            return
        _check(give_up)
        time.sleep(0.1)


def _read(path: Path) -> Owner | None:
    try:
        return _parse(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None


def _parse(text: str) -> Owner | None:
    try:
        return Owner(**json.loads(text))
    except (json.JSONDecodeError, TypeError):
        return None


def _alive(path: Path, owner: Owner, silence_seconds: float | None = None) -> bool:
    if owner.host == _host():
        return process_alive(owner.pid, owner.born)
    try:
        # A file touched now has the file server's clock, so clocks of hosts that differ do no harm.
        now = path.with_name(f".{path.name}.guard")
        now.touch()
        # Opened, as NFS may answer for a closed file with what it was told a minute ago.
        with path.open("rb") as lock:
            age = now.stat().st_mtime - os.fstat(lock.fileno()).st_mtime
    except FileNotFoundError:
        return False
    return age < (STALE_SECONDS if silence_seconds is None else silence_seconds)


def _beat(path: Path, me: Owner, stop: threading.Event) -> None:
    """Show that the owner lives, and end it where it is the owner no longer."""
    missing = 0
    while not stop.wait(HEARTBEAT_SECONDS):
        # A file server that stumbles once must not cost the lock.
        with suppress(OSError):
            os.utime(path)
        try:
            owner = _parse(path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            missing += 1
            if missing == 2:
                _end(path, "the lock has vanished: somebody removed it, or took it over and is done already")
        except OSError:
            continue
        else:
            missing = 0
            if owner != me:
                _end(path, f"{owner or 'somebody unknown'} has taken over")


def _watch(path: Path, me: Owner, stop: threading.Event) -> None:
    """End this process where a later start of its job has taken over."""
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            owner = _read(path)
            if owner is not None and owner.supersedes(me):
                _end(path, f"{owner} has taken over")


def _end(path: Path, why: str) -> NoReturn:
    """No clean-up, no last save: whatever this process still wrote, it would write into another's work."""
    _say(path, f"{why}; process {os.getpid()} ends at once")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be survived")


def _check(give_up: GiveUp) -> None:
    if (reason := give_up()) is not None:
        raise Stopped(reason)


def _say(path: Path, words: str) -> None:
    print(f"{path.parent}: {words}", file=sys.stderr, flush=True)
