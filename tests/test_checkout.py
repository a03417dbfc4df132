"""Which commit a run's code is of; where git does not say, the record says why, and so does one note at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.snapshot import take_snapshot
from urbanvlm.checkout import ROOT, Revision, revision
from urbanvlm.run_folder import RunFolder

DUBIOUS = "echo \"fatal: detected dubious ownership in repository at '/x'\" >&2; echo 'To add' >&2; exit 128"
ELSEWHERE = "echo /elsewhere; echo 0123456789"
HERE = f"case $* in *rev-parse*) echo '{ROOT}'; echo 0123456789 ;; *) echo ' M slurm/job.py' ;; esac"
NO_STATUS = f"case $* in *rev-parse*) echo '{ROOT}'; echo 0123456789 ;; *) echo 'fatal: index' >&2; exit 128 ;; esac"


def stand_in(folder: Path, body: str | None) -> str:
    """PATH with a git that does so; without any for None."""
    if body is not None:
        (folder / "git").write_text(f"#!/bin/sh\n{body}\n")
        (folder / "git").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (DUBIOUS, Revision(reason="git says: detected dubious ownership in repository at '/x'")),
        (None, Revision(reason="there is no git here")),
        ("exit 3", Revision(reason="git says: it ended with exit code 3")),
        (ELSEWHERE, Revision(reason=f"{ROOT} is no repository of its own, but a part of /elsewhere")),
        (NO_STATUS, Revision("0123456789", None, "git says: index")),
        (HERE, Revision("0123456789", (" M slurm/job.py",))),
    ],
)
def test_the_commit_or_why_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str | None, found: Revision
) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path, body))
    assert revision("slurm") == found


def test_a_hooks_variables_lead_to_no_other_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path, '[ -z "$GIT_DIR" ] || exit 9; ' + HERE))
    monkeypatch.setenv("GIT_DIR", "/elsewhere/.git")
    assert revision("slurm").commit == "0123456789"


def test_the_record_says_why_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", stand_in(tmp_path, DUBIOUS))
    copy = take_snapshot(RunFolder(tmp_path / "run"))
    record = json.loads(copy.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["commit"] is None and record["changed"] is None
    assert "dubious ownership" in record["reason"]


def slurm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "slurm", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_a_note_stands_after_a_plan_and_never_beside_a_refusal(tmp_path: Path) -> None:
    demo = "experiments/demo.yaml"
    shown = slurm(tmp_path, "plan", demo)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.splitlines()[-1].startswith("note: the run's record cannot name the code's commit: there is no")
    for words in (
        ("plan", demo, "--set", "nonsense=1"),
        ("submit", demo, "--cluster", "slurm-example", "--set", f"output={tmp_path}"),
    ):
        refused = slurm(tmp_path, *words)
        assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1, refused.stderr
