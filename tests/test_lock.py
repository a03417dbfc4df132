"""One writer at a time, with real processes that live, die and are stopped."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from urbanvlm.errors import UserError
from urbanvlm.lock import (
    CLOCK_SECONDS,
    HEARTBEAT_SECONDS,
    LAST_HEARTBEATS,
    STALE_SECONDS,
    birth_of,
    follow,
    hold,
    living_owner,
    process_alive,
)
from urbanvlm.runtime.preemption import Stopped

HOLDER = "import sys, time; from pathlib import Path; from urbanvlm.lock import hold\n\
with hold(Path(sys.argv[1]), 'other'): print('held', flush=True); time.sleep(60)"


def start_holder(lock: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_living_writer_is_named_and_a_dead_one_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "LOCK"
    other = start_holder(lock)
    try:
        refusal = pytest.raises(UserError, match=rf"being written by other, process {other.pid}")
        with refusal, hold(lock, "me", patience_seconds=0.3):
            pytest.fail("two writers")
        assert living_owner(lock) is not None
    finally:
        other.kill()
    # Killed but not yet waited for: a zombie is dead.
    with hold(lock, "me"):
        owner = living_owner(lock)
        assert owner is not None and owner.pid == os.getpid()
    other.wait()
    assert "took over the lock of other" in capsys.readouterr().err
    assert not lock.exists()


def test_a_writer_that_is_dying_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "LOCK"
    other = start_holder(lock)
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.7; kill -9 {other.pid}"])
    started = time.monotonic()
    with hold(lock, "me", patience_seconds=60):
        assert time.monotonic() - started > 0.4
    killer.wait()
    other.wait()


def test_a_stopped_writer_is_still_a_writer(tmp_path: Path) -> None:
    lock = tmp_path / "LOCK"
    other = start_holder(lock)
    os.kill(other.pid, signal.SIGSTOP)
    try:
        with pytest.raises(UserError), hold(lock, "me", patience_seconds=0.3):
            pytest.fail("two writers")
    finally:
        other.kill()
        other.wait()


def test_another_process_with_the_old_number_is_not_the_owner(tmp_path: Path) -> None:
    lock = tmp_path / "LOCK"
    other = start_holder(lock)
    try:
        owner = json.loads(lock.read_text())
        lock.write_text(json.dumps(owner | {"born": "long ago"}))
        assert living_owner(lock) is None
    finally:
        other.kill()
        other.wait()


class Clock:
    """Our own, which goes on when somebody sleeps; and another host, which beats or not, by whatever time it has."""

    def __init__(self, lock: Path, beats_until: float = 0.0, *, its_time: float = 1e9) -> None:
        self.now, self.last = 0.0, 0.0
        self.lock, self.beats_until, self.its_time = lock, beats_until, its_time
        os.utime(lock, (its_time, its_time))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now - self.last >= HEARTBEAT_SECONDS and self.now <= self.beats_until:
            self.last = self.now
            os.utime(self.lock, (self.its_time + self.now, self.its_time + self.now))


def play(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urbanvlm.lock.time", clock)


YEARS = 3e8
"""seconds that the other host's clock is behind ours, or before it"""


@pytest.mark.parametrize(
    "its_time", [1.0, 1e9, time.time() - 3600, time.time() + YEARS], ids=["1970", "2001", "h", "y"]
)
class TestUnseen:
    """An owner whose process nobody here can look at is known by its heartbeat, and by no clock but ours."""

    @pytest.fixture
    def lock(self, tmp_path: Path) -> Path:
        lock = tmp_path / "LOCK"
        lock.write_text(json.dumps({"host": "node-far-away", "pid": 1, "born": "", "what": "train"}))
        return lock

    def test_while_it_beats_nobody_takes_over(
        self, lock: Path, its_time: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock = Clock(lock, 1e9, its_time=its_time)
        play(clock, monkeypatch)
        with pytest.raises(UserError, match="is being written by train, process 1 on node-far-away"), hold(lock, "me"):
            pytest.fail("two writers")
        assert clock.now < STALE_SECONDS and json.loads(lock.read_text())["host"] == "node-far-away"
        assert capsys.readouterr().err == "", "a refusal is one line"

    def test_when_it_has_shown_nothing_for_long_it_is_dead(
        self, lock: Path, its_time: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock = Clock(lock, 20.0, its_time=its_time)
        play(clock, monkeypatch)
        become(monkeypatch, "8", 0)
        monkeypatch.setattr("urbanvlm.lock.TWIN_SECONDS", 1000.0)
        with hold(lock, "me"):
            assert STALE_SECONDS <= clock.now - clock.last <= STALE_SECONDS + 5
        assert "took over the lock of train" in capsys.readouterr().err

    @pytest.mark.parametrize("act", ["fcntl.flock", "os.fstat"])
    def test_a_stall_of_the_file_server_is_no_watching(
        self, lock: Path, its_time: float, act: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(lock, 1e9, its_time=its_time)
        play(clock, monkeypatch)
        module, _, name = act.partition(".")
        real, calls = getattr(sys.modules[module], name), []

        def stall(*words: object) -> object:
            calls.append(words)
            # For the owner as well, which is the later one to be answered.
            clock.now += 2 * STALE_SECONDS if len(calls) == 2 else 0.0
            return real(*words)

        monkeypatch.setattr(act, stall)
        with pytest.raises(UserError, match="is being written by train, process 1 on node-far-away"), hold(lock, "me"):
            pytest.fail("two writers")
        assert len(calls) > 2

    def test_the_start_before_is_outlived_however_old_its_lock_looks(
        self, lock: Path, its_time: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner = json.loads(lock.read_text())
        lock.write_text(json.dumps(owner | {"job": "7", "restart": 0}))
        clock = Clock(lock, its_time=its_time)
        play(clock, monkeypatch)
        become(monkeypatch, "7", 1)
        with hold(lock, "train"):
            assert clock.now >= LAST_HEARTBEATS * HEARTBEAT_SECONDS


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc that shows this process alone, as with hidepid=2."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    (proc / "sys").symlink_to("/proc/sys")
    (proc / "self" / "ns").symlink_to("/proc/self/ns")
    monkeypatch.setattr("urbanvlm.lock.PROC", proc)
    return proc


def test_an_owner_that_proc_hides_is_not_dead(tmp_path: Path, hidden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "LOCK"
    other = start_holder(lock)
    born = json.loads(lock.read_text())["born"]
    try:
        assert (birth_of(other.pid), process_alive(other.pid, born)) == (None, None)
        owner = living_owner(lock)
        assert owner is not None and owner.pid == other.pid
        # Other users' processes may not even be sent a signal; with hidepid=1 they are seen, but cannot be read.
        monkeypatch.setattr(os, "kill", refuse_permission)
        (hidden / str(other.pid) / "stat").mkdir(parents=True)
        assert process_alive(other.pid, born) is None
        monkeypatch.undo()
        assert process_alive(other.pid, born) is True
    finally:
        other.kill()
        other.wait()


def test_an_owner_that_has_ended_is_dead_though_proc_hides_much(tmp_path: Path, hidden: Path) -> None:
    lock = tmp_path / "LOCK"
    other = start_holder(lock)
    other.kill()
    other.wait()
    assert living_owner(lock) is None
    with hold(lock, "me"):
        owner = living_owner(lock)
        assert owner is not None and owner.pid == os.getpid()


def refuse_permission(*_: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_silent_owner_on_another_host_becomes_stale(tmp_path: Path) -> None:
    lock = tmp_path / "LOCK"
    lock.write_text(json.dumps({"host": "node-far-away", "pid": 1, "born": "", "what": "train"}))
    assert living_owner(lock) is not None
    past = time.time() - STALE_SECONDS - CLOCK_SECONDS - 5
    os.utime(lock, (past, past))
    assert living_owner(lock) is None, "as far as one look can tell"


def test_a_torn_lock_file_is_no_owner(tmp_path: Path) -> None:
    lock = tmp_path / "LOCK"
    lock.write_text('{"host": "x"')
    with hold(lock, "me"):
        assert living_owner(lock) is not None


OLD_START = """
import os, sys, time
from pathlib import Path
import urbanvlm.lock as lock
from urbanvlm.lock import follow, hold
how, path, node = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
lock.HEARTBEAT_SECONDS = 0.2
lock._host = lambda: node
held = hold(path, "train") if how == "hold" else follow(path, "train", lambda: False)
with held:
    print("works", flush=True)
    for number in range(100000):
        path.with_name(f"written-{os.getpid()}").write_text(str(number))
        time.sleep(0.01)
"""


def in_job(job: str, restart: int) -> dict[str, str]:
    return {"URBANVLM_JOB": job, "URBANVLM_RESTART": str(restart)}


def start_in_job(how: str, lock: Path, node: str, job: str, restart: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OLD_START, how, str(lock), node],
        env=os.environ | in_job(job, restart),
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "works\n"
    return process


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urbanvlm.lock.HEARTBEAT_SECONDS", 0.2)


def become(monkeypatch: pytest.MonkeyPatch, job: str, restart: int) -> None:
    for name, value in in_job(job, restart).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("quick")
class TestRequeued:
    """Starts of one job of Slurm, of which the earlier may be on a node that was cut off."""

    def test_all_processes_of_the_start_before_have_ended_when_the_next_begins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lock = tmp_path / "LOCK"
        first = start_in_job("hold", lock, "node-cut-off", "7", 0)
        second = start_in_job("follow", lock, "another-node-cut-off", "7", 0)
        become(monkeypatch, "7", 1)
        monkeypatch.setattr("urbanvlm.lock.HEARTBEAT_SECONDS", 0.5)
        with hold(lock, "train"):
            owner = living_owner(lock)
            assert owner is not None and (owner.pid, owner.job, owner.restart) == (os.getpid(), "7", 1)
            assert [first.poll(), second.poll()] == [-signal.SIGKILL] * 2
            written = {path: path.read_text() for path in tmp_path.glob("written-*")}
            assert len(written) == 2
            time.sleep(0.3)
            assert {path: path.read_text() for path in tmp_path.glob("written-*")} == written
        assert not lock.exists()
        said = capsys.readouterr().err
        assert "took over the lock of train" in said and "start 1 of job 7" in said and "may still run" in said
        for process in (first, second):
            assert "start 2 of job 7 has taken over" in process.communicate()[1]

    def test_an_earlier_start_that_comes_late_ends(self, tmp_path: Path) -> None:
        lock = tmp_path / "LOCK"
        now = start_in_job("hold", lock, "node-a", "7", 1)
        late = "from pathlib import Path; import sys; from urbanvlm.lock import hold\n\
with hold(Path(sys.argv[1]), 'train'): print('two writers')"
        done = subprocess.run(
            [sys.executable, "-c", late, str(lock)], env=os.environ | in_job("7", 0), capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
        assert "left over from before" in done.stderr
        assert now.poll() is None
        now.kill()
        now.communicate()

    def test_whoever_finds_its_lock_gone_ends(self, tmp_path: Path) -> None:
        lock = tmp_path / "LOCK"
        owner = start_in_job("hold", lock, "node-a", "7", 0)
        lock.unlink()
        assert owner.wait(timeout=60) == -signal.SIGKILL
        assert "vanished" in owner.communicate()[1]

    def test_another_job_waits_for_an_owner_that_is_ending_and_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lock = tmp_path / "LOCK"
        other = start_holder(lock)
        become(monkeypatch, "8", 0)
        monkeypatch.setattr("urbanvlm.lock.SAY_SECONDS", 0.0)
        killer = subprocess.Popen(["sh", "-c", f"sleep 1.5; kill -9 {other.pid}"])
        with hold(lock, "train", patience_seconds=0.1):
            assert other.wait() == -signal.SIGKILL
        killer.wait()
        assert capsys.readouterr().err.count("belongs to other") == 1

    def test_a_twin_leaves_its_nodes_to_others(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lock = tmp_path / "LOCK"
        first = start_in_job("hold", lock, "node-a", "7", 0)
        become(monkeypatch, "8", 0)
        monkeypatch.setattr("urbanvlm.lock.TWIN_SECONDS", 0.5)
        refusal = pytest.raises(UserError, match=r"is being written by train, .*, start 1 of job 7; wait until")
        with refusal, hold(lock, "train", patience_seconds=0.1):
            pytest.fail("two writers")
        assert first.poll() is None
        first.kill()
        first.communicate()

    def test_waiting_ends_when_the_job_is_to_stop(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lock = tmp_path / "LOCK"
        other = start_holder(lock)
        become(monkeypatch, "8", 0)
        asked = iter([None, None, "time limit near"])
        with pytest.raises(Stopped, match="time limit near"), hold(lock, "train", give_up=lambda: next(asked)):
            pytest.fail("two writers")
        owner = living_owner(lock)
        assert owner is not None and owner.pid == other.pid
        other.kill()
        other.wait()

    def test_so_it_does_while_the_start_before_may_still_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = tmp_path / "LOCK"
        fresh = {"host": "node-far-away", "pid": 1, "born": "", "what": "train", "job": "7", "restart": 0}
        lock.write_text(json.dumps(fresh))
        become(monkeypatch, "7", 1)
        with pytest.raises(Stopped, match="enough"), hold(lock, "train", give_up=lambda: "enough"):
            pytest.fail("must not begin")
        assert not lock.exists()

    def test_the_others_of_a_job_begin_with_its_first_process(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = tmp_path / "LOCK"
        become(monkeypatch, "7", 1)
        asked = iter([None, "time limit near"])
        with pytest.raises(Stopped), follow(lock, "train", lambda: False, lambda: next(asked)):
            pytest.fail("nobody holds the lock")
        with follow(lock, "train", lambda: True):
            pass  # there is nothing left to do
        first = start_in_job("hold", lock, "node-a", "7", 1)
        with follow(lock, "train", lambda: False):
            assert first.poll() is None
        first.kill()
        first.communicate()

    def test_outside_slurm_nobody_waits_for_the_first_process(self, tmp_path: Path) -> None:
        with follow(tmp_path / "LOCK", "train", lambda: False):
            pass


def test_a_file_server_that_stumbles_costs_nobody_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "LOCK"
    monkeypatch.setattr("urbanvlm.lock.HEARTBEAT_SECONDS", 0.05)

    def stumble(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with hold(lock, "me"):
        monkeypatch.setattr("os.utime", stumble)
        time.sleep(0.3)
        monkeypatch.undo()
        owner = living_owner(lock)
        assert owner is not None and owner.pid == os.getpid()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_another_users_folder_is_refused_in_one_line(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "LOCK").write_text(json.dumps({"host": "node-far-away", "pid": 1, "born": "", "what": "train"}))
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *words: Any, **options: Any) -> Any:
        if "r" not in mode:
            raise PermissionError(number, os.strerror(number), str(path))
        return opened(path, mode, *words, **options)

    with monkeypatch.context() as patch:
        # Root may write everywhere.
        patch.setattr(Path, "open", refuse)
        with pytest.raises(UserError) as caught, hold(tmp_path / "LOCK", "me"):
            pytest.fail("another's lock")
    assert str(caught.value).startswith(f"{tmp_path}: is not yours to write; ask its owner")


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with hold(tmp_path / "LOCK", "me"):
        assert living_owner(tmp_path / "LOCK") is not None
