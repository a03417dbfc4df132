"""Ranks come from the launcher that started us; what other programs left in the environment is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from urbanvlm.experiment import check_experiment
from urbanvlm.run_folder import RunFolder
from urbanvlm.runtime import launchers
from urbanvlm.runtime.launchers import forget_others, torchrun_ranks

ROOT = Path(__file__).parent.parent
OF_TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "3",
    "RANK": "5",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "ROLE_NAME": "default",
}
OF_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "4",
    "PMI_RANK": "3",
    "PMI_SIZE": "4",
    "PMIX_RANK": "3",
    "MV2_COMM_WORLD_LOCAL_RANK": "1",
    "MPI_LOCALRANKID": "1",
    "AZUREML_EXPERIMENT_ID": "x",
}
LEFT_OVER = OF_TORCHRUN | OF_MPI
JOB = """
import os, sys
from slurm import job
def show(run, stage, process, stop, attempt):
    left = sorted({*os.environ} & {*sys.argv[2:]})
    # One write, so that no other process's line comes between.
    os.write(1, f"{process.rank} {process.local_rank} {process.world_size} {left}\\n".encode())
job._do = show
sys.exit(job.main([sys.argv[1], "synthesize"]))
"""


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    """A script with its arguments: a task that only shows which process it takes itself for, and what is left over."""
    tree = {"name": "x", "mode": "zero-shot", "output": str(tmp_path), "models": [{"family": "llava"}]}
    experiment = check_experiment(tree | {"data": {"scenes": {"places": 30}}}, "test")
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    (tmp_path / "job.py").write_text(JOB)
    return [str(tmp_path / "job.py"), str(run.path), *LEFT_OVER]


def shown(*words: str, **variables: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("URBANVLM_", "SUBMITIT_", "MASTER_"))}
    environment |= {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_a_task_by_hand_is_alone_whatever_is_left_over(job: list[str]) -> None:
    assert shown(*job, **LEFT_OVER) == ["0 0 1 []"]
    assert shown(*job, TORCHELASTIC_RUN_ID="none") == ["0 0 1 []"]
    assert shown(*job, SUBMITIT_EXECUTOR="slurm", **LEFT_OVER) == ["0 0 1 []"]


def test_a_task_that_submit_started_has_the_rank_it_was_given(job: list[str], tmp_path: Path) -> None:
    ours = {
        "URBANVLM_ATTEMPT": str(tmp_path),
        "SUBMITIT_EXECUTOR": "local",
        "SUBMITIT_LOCAL_JOB_ID": "7",
        "SUBMITIT_LOCAL_GLOBALID": "1",
        "SUBMITIT_LOCAL_LOCALID": "1",
        "SUBMITIT_LOCAL_NTASKS": "2",
        "SUBMITIT_LOCAL_NODEID": "0",
        "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
    }
    assert shown(*job, **LEFT_OVER, **ours) == ["1 1 2 []"]


def test_torchrun_by_hand_is_believed(job: list[str]) -> None:
    kept = [name for name in OF_TORCHRUN if name != "RANK"]
    lines = shown("-m", "torch.distributed.run", "--nproc-per-node", "2", *job, **OF_MPI)
    assert [line.partition(" [")[0] for line in lines] == ["0 0 2", "1 1 2"]
    assert all(name in lines[0] for name in kept) and not any(name in lines[0] for name in OF_MPI)


@pytest.mark.parametrize(
    ("command", "ranks"),
    [
        ("/usr/bin/python3 /opt/venv/bin/torchrun --nproc-per-node=2 job.py", (5, 1, 8)),
        ("/usr/bin/python3 /opt/venv/bin/accelerate launch --multi_gpu job.py", (5, 1, 8)),
        ("python3 -m accelerate.commands.launch --multi_gpu job.py", (5, 1, 8)),
        ("bash -c exec my-torchrun.sh", None),
    ],
)
def test_a_launcher_may_be_a_containers_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, ranks: tuple[int, int, int] | None
) -> None:
    for pid, words, parent in ((1, command, 0), (8, "python3 job.py", 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_text(words.replace(" ", "\0") + "\0")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1 0\n")
    monkeypatch.setattr(launchers, "_PROCESSES", tmp_path)
    monkeypatch.setattr(os, "getppid", lambda: 8)
    assert torchrun_ranks(OF_TORCHRUN) == ranks


def test_what_is_not_about_ranks_stays() -> None:
    others = {"PATH": "/bin", "SLURM_PROCID": "1", "MASTER_ADDR": "a", "NCCL_DEBUG": "INFO", "OMP_NUM_THREADS": "2"}
    environment = others | LEFT_OVER
    forget_others(environment, is_torchrun=False)
    assert environment == others
