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

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic
from urbanvlm.runtime.preemption import NEVER, Stopped

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""An owner that cannot be seen counts as dead when it was watched for so long and showed no heartbeat."""
CLOCK_SECONDS = 30.0
"""How far clocks may be apart where one look must do, to show something; who takes a lock compares no clocks."""
PATIENCE_SECONDS = 5.0
"""How long to wait for an owner that may be dying just now."""
TWIN_SECONDS = 60.0
"""So long in a job of Slurm, as one that was cancelled needs a while; then it leaves its nodes to others."""
LAST_HEARTBEATS = 3
"""Of an owner that has lost its lock: by then it has noticed and ended, or its node is gone."""
SAY_SECONDS = 15.0
"""After this it is said what is waited for; by then nobody who lives has failed to show it."""
PROC = Path("/proc")

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
    namespace = PROC / "self" / "ns" / "pid"
    return f"{socket.gethostname()} {namespace.readlink()}" if namespace.is_symlink() else socket.gethostname()


def birth_of(pid: int) -> str | None:
    """When a process of this host began, in words that no change of the clock alters.

    None if it is gone (a zombie is), or /proc does not show it, as other users' on many clusters.
    """
    return _birth(pid) or None


def _birth(pid: int) -> str | None:
    """Empty for a zombie, None if there is nothing to be seen."""
    try:
        # Counted after the name, which may hold spaces and brackets: the state, and ticks from boot to start.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        if fields[0] in ("Z", "X"):
            return ""
        boot = PROC / "sys" / "kernel" / "random" / "boot_id"
        return f"{boot.read_text().strip() if boot.is_file() else ''} {fields[19]}"
    except (OSError, IndexError):
        return None


def process_alive(pid: int, born: str) -> bool | None:
    """Is the process of this host with that birth still there (a zombie is not)? None if that cannot be seen."""
    if (seen := _birth(pid)) is not None and (born or not seen):
        return bool(seen) and seen == born
    try:
        # What /proc hides can be asked for all the same: a number that nobody has is nobody's.
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return None


@contextmanager
def hold(
    path: Path,
    what: str,
    patience_seconds: float = PATIENCE_SECONDS,
    give_up: GiveUp = NEVER.reason,
    watch: Watch | None = None,
) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs. A dead owner's lock is taken over, and that is said.

    An owner on another host, or hidden here, is dead when its lock file has not changed for STALE_SECONDS of our own
    watching, by no other clock than ours. The lock of an earlier start of the same job is taken at once; if that may
    still run, on a node that Slurm cannot reach, the block begins when it has had the time to notice. Whoever finds the
    lock gone or another's ends itself.

    A living owner is waited for `patience_seconds`, inside a job of Slurm TWIN_SECONDS, after which UserError names it.
    `watch` may have begun before, for whoever takes many locks. Raises Stopped with the words of `give_up` when they
    come before the block begins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    me = Owner.me(what)
    superseded = _acquire(path, me, patience_seconds, give_up, watch or Watch(path))
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
    """Who holds the lock, if anybody living does, as far as one look can tell: to show it, not to take the lock."""
    owner = _read(path)
    if owner is None or (alive := _seen(owner)) is False:
        return None
    if alive is None:
        with suppress(OSError):
            return owner if time.time() - path.stat().st_mtime < STALE_SECONDS + CLOCK_SECONDS else None
    return owner


def _seen(owner: Owner) -> bool | None:
    """Is it alive? None of one that cannot be seen from here: on another host, or hidden."""
    return process_alive(owner.pid, owner.born) if owner.host == _host() else None


class Watch:
    """Looks at a lock's owner again and again; what it cannot see, it knows by the heartbeat and its own clock.

    The times in the lock file are compared with each other alone: some file systems take them from the owner's host.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: tuple[Owner, int] | None = None
        self._since = 0.0
        self._beats = False
        if (owner := _read(path)) is not None:
            self.alive(owner, time.monotonic())

    def alive(self, owner: Owner, began: float) -> bool | None:
        """None as long as it is not known. `began` is when this look did, by `time.monotonic`."""
        if (seen := _seen(owner)) is not None:
            return seen
        try:
            # Opened, as NFS may answer for a closed file with what it was told a minute ago.
            with self._path.open("rb") as lock:
                now = (owner, os.fstat(lock.fileno()).st_mtime_ns)
        except FileNotFoundError:
            return False
        looked = time.monotonic()
        if now != self._last:
            self._beats = self._last is not None and self._last[0] == owner
            self._last, self._since = now, looked
        elif looked - began > HEARTBEAT_SECONDS:
            # While a file server keeps us waiting, an owner cannot show its heartbeat either: watched anew.
            self._since = looked
        if looked - self._since >= STALE_SECONDS:
            return False
        return True if self._beats else None


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Makes looking and taking one act, where the file system can lock; where it can't, they are merely close."""
    try:
        guard = path.with_name(f".{path.name}.guard").open("w")
    except PermissionError:
        raise UserError(path.parent, "is not yours to write", "ask its owner, or name another output") from None
    with guard:
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


def _acquire(path: Path, me: Owner, patience_seconds: float, give_up: GiveUp, watch: Watch) -> Owner | None:
    """Take the lock, when that may be. Returns the earlier start of this job that held it and may still run."""
    begun, said = time.monotonic(), False
    patience_seconds = max(patience_seconds, TWIN_SECONDS) if me.job else patience_seconds
    while True:
        looking = time.monotonic()
        with _guarded(path):
            owner = _read(path)
            alive = False if owner is None or owner == me else watch.alive(owner, looking)
            superseded = owner if owner is not None and me.supersedes(owner) and alive is not False else None
            if superseded is not None or alive is False:
                _say_taken(path, owner, me, superseded)
                write_atomic(path, json.dumps(asdict(me)) + "\n")
                return superseded
        assert owner is not None, "nobody's lock is taken"
        if owner.supersedes(me):
            _end(path, f"{owner} is at work, so this start is left over from before")
        _check(give_up)
        waited = time.monotonic() - begun
        if alive and waited > patience_seconds:
            raise UserError(path.parent, f"is being written by {owner}", "wait until it ends, or stop that process")
        if not said and waited > SAY_SECONDS:
            _say(path, f"belongs to {owner}; waiting until it ends, or shows no sign of life for {STALE_SECONDS:.0f} s")
            said = True
        time.sleep(0.25 if waited < PATIENCE_SECONDS else 2.0)


def _say_taken(path: Path, owner: Owner | None, me: Owner, superseded: Owner | None) -> None:
    if owner is None or owner == me:
        return
    if me.supersedes(owner):
        waiting = " and may still run; waiting until it must have noticed" if superseded else ""
        _say(path, f"took over the lock of {owner}, which Slurm has given up{waiting}")
    else:
        _say(path, f"took over the lock of {owner}, which is no longer there")


def _outlive(superseded: Owner, give_up: GiveUp) -> None:
    """Wait until an owner that has lost its lock is gone, as far as that can be seen from here."""
    deadline = time.monotonic() + LAST_HEARTBEATS * HEARTBEAT_SECONDS
    while time.monotonic() < deadline:
        if _seen(superseded) is False:
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


def _beat(path: Path, me: Owner, stop: threading.Event) -> None:
    """Show that the owner lives, and end it where it is the owner no longer."""
    missing = 0
    while not stop.wait(HEARTBEAT_SECONDS):
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
            # A file server that stumbles once must not cost the lock.
            with suppress(OSError):
                os.utime(path)


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
