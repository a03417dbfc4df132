"""A disk that is full, or refuses in another way, ends a job or a command with one line that names it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm import job
from slurm.attempts import attempts_of, failure_of
from urbanvlm.disk import mistake_of
from urbanvlm.experiment import load_experiment
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
WORDS = {
    errno.ENOSPC: "no space left on device",
    errno.EDQUOT: "disk quota exceeded",
    errno.EROFS: "read-only file system",
    errno.EIO: "input/output error",
}
TORCH = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
SAFETENSORS = Exception("Error while serializing: I/O error: No space left on device (os error 28)")


def caused(outer: Exception, inner: BaseException) -> Exception:
    outer.__context__ = inner
    return outer


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Call it with a folder whose disk is to look full; all others have room."""
    real = os.statvfs
    folders: list[Path] = []

    def statvfs(path: Path) -> os.statvfs_result:
        values = list(real("/"))
        free = 0 if Path(path) in folders else 10**12 // values[1]
        values[3:5] = [free, free]
        values[5:8] = [10**6] * 3
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return folders.append


@pytest.mark.parametrize("number", WORDS)
def test_each_refusal_names_the_folder_and_the_next_step(number: int, tmp_path: Path) -> None:
    error = OSError(number, os.strerror(number), str(tmp_path / "weights.bin"))
    (line,) = str(mistake_of(error)).splitlines()
    assert line.startswith(f"{tmp_path}: cannot be written: {WORDS[number]}") and "goes on from what is saved" in line
    # Whoever gives no number passes on the system's words.
    said = str(mistake_of(RuntimeError(f"cannot save: {os.strerror(number)}"), tmp_path))
    assert str(tmp_path) in said and WORDS[number] in said


def test_a_library_that_says_nothing_of_the_disk_is_understood_where_one_is_full(
    tmp_path: Path, full: Callable[[Path], None]
) -> None:
    run, scratch = tmp_path / "run", tmp_path / "scratch"
    assert mistake_of(TORCH, run, scratch) is None, "there is room: it is something else"
    full(scratch)
    for error in (TORCH, SAFETENSORS, caused(ValueError("while saving"), TORCH), OSError(errno.ENOSPC, "x")):
        assert str(mistake_of(error, run, scratch)).startswith(
            f"{scratch}: cannot be written: no space left on device (0.0"
        )
    assert mistake_of(RuntimeError("a bug of ours"), run, scratch) is None


def test_no_disk_is_blamed_that_nobody_named(tmp_path: Path, full: Callable[[Path], None]) -> None:
    for number in WORDS:
        line = str(mistake_of(OSError(number, os.strerror(number)), tmp_path / "run", tmp_path / "scratch"))
        assert line.startswith(f"{tmp_path}/run or {tmp_path}/scratch: cannot be read or written: {WORDS[number]}")
    assert mistake_of(PermissionError(errno.EACCES, "Permission denied", "/x")) is None
    copied = shutil.Error([("/from/a", str(tmp_path / "to" / "a"), "[Errno 28] No space left on device")])
    assert str(mistake_of(copied)).startswith(f"{tmp_path}/to: cannot be written: no space")


def test_what_could_not_be_written_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_atomic(tmp_path / "a.json", "before")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError) as caught:
        write_atomic(tmp_path / "a.json", "after")
    assert caught.value.filename == str(tmp_path / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_text() == "before"


def test_a_job_says_it_though_its_own_folder_has_no_room_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = load_experiment(ROOT / "experiments" / "demo.yaml", [f"output={tmp_path}", "name=some"])
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    attempt = run.jobs / "train-llava" / "attempt-001"
    attempt.mkdir(parents=True)
    monkeypatch.setenv("URBANVLM_ATTEMPT", str(attempt))
    for name in ("URBANVLM_JOB", "SUBMITIT_EXECUTOR", "TORCHELASTIC_RUN_ID", "URBANVLM_SUBMITTER", "URBANVLM_CLIENT"):
        monkeypatch.delenv(name, raising=False)

    def train(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(run.path / "models" / "weights.bin"))

    def no_room(path: Path, text: str) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))

    monkeypatch.setattr(job, "run_stage", train)
    monkeypatch.setattr(job, "write_atomic", no_room)
    assert job.main([str(run.path), "train-llava"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"{run.path / 'models'}: cannot be written: disk quota exceeded")
    (found,) = attempts_of(run, "train-llava")
    assert failure_of(found) == line
    assert not list(attempt.glob(".room-*"))


def test_a_command_whose_output_finds_no_room_says_so_in_one_line() -> None:
    command = [sys.executable, "-m", "slurm", "plan", "experiments/demo.yaml"]
    with Path("/dev/full").open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    # Before it there may be a note on what was looked at.
    assert done.stderr.strip().splitlines()[-1].startswith("a file: cannot be read or written: no space left on device")
