"""The command that submits the check of nodes: what it says of a job whose nodes or whose Slurm say odd things."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from slurm import preflight as command
from slurm import queue
from slurm.cluster import parse_cluster
from slurm.preflight import preflight
from urbanvlm.errors import UserError

CLUSTER = parse_cluster("executor: slurm\npartition: gpu\ngpus_per_node: 4\n", Path("site.yaml"))


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "take_snapshot", lambda run: run.snapshots / "abc")
    monkeypatch.setattr(queue, "jobs", lambda ids: {})


@pytest.mark.parametrize("exit_code", [0, 3])
def test_what_a_nodes_login_prints_hides_no_verdict(
    exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sbatch(script: Path) -> str:
        attempt = script.parent / "attempt-7-0"
        attempt.mkdir()
        (attempt / "exit").write_text(f"{exit_code}\n")
        (script.parent / "batch-7.txt").write_bytes(b"Gr\xfc\xdfe von \xff\npreflight: 2 nodes looked at\n")
        return "7"

    monkeypatch.setattr(queue, "sbatch", sbatch)
    out = io.StringIO()
    assert preflight(CLUSTER, 2, tmp_path, Console(file=out, width=200)) == (1 if exit_code else 0)
    assert out.getvalue().splitlines()[-1] == "preflight: 2 nodes looked at"


def test_a_job_that_slurm_may_have_taken_is_not_promised_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sbatch(script: Path) -> str:
        raise queue.Unanswered("Slurm", "sbatch got no answer in 60 s", queue.UNANSWERED)

    monkeypatch.setattr(queue, "sbatch", sbatch)
    with pytest.raises(UserError) as caught:
        preflight(CLUSTER, 2, tmp_path, Console(file=io.StringIO()))
    (line,) = str(caught.value).splitlines()
    assert line.startswith("Slurm: sbatch got no answer in 60 s: ") and "`squeue --me` shows it" in line
    assert queue.UNANSWERED not in line
