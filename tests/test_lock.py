"""One writer at a time, with real processes that live, die and are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from urbanvlm.errors import UserError
from urbanvlm.lock import STALE_SECONDS, hold, living_owner

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
    with hold(lock, "me", patience_seconds=20):
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


def test_a_silent_owner_on_another_host_becomes_stale(tmp_path: Path) -> None:
    lock = tmp_path / "LOCK"
    lock.write_text(json.dumps({"host": "node-far-away", "pid": 1, "born": "", "what": "train"}))
    assert living_owner(lock) is not None
    past = time.time() - STALE_SECONDS - 5
    os.utime(lock, (past, past))
    assert living_owner(lock) is None


def test_a_torn_lock_file_is_no_owner(tmp_path: Path) -> None:
    lock = tmp_path / "LOCK"
    lock.write_text('{"host": "x"')
    with hold(lock, "me"):
        assert living_owner(lock) is not None
