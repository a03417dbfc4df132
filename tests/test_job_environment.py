"""The variables of a job's tasks: a login's on the node, and nothing of the shell that submitted."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from slurm_support import ROOT, DevCluster
from test_queue import stand_in
from test_slurm import ON_ONE_NODE, Case, checkout

from slurm import queue
from slurm.cluster import Cluster
from slurm.plan import make_plan
from slurm.script import sbatch_text
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder

LOGIN = ROOT / "slurm" / "login.sh"
SECRET = "word-that-nobody-else-may-know"
FOREIGN = {
    "HF_TOKEN": SECRET, "SLURM_JWT": SECRET, "WANDB_API_KEY": SECRET, "PYTHONPATH": "/foreign", "PYTHONOPTIMIZE": "2",
    "LD_PRELOAD": "", "LC_ALL": "C", "MASTER_PORT": "1", "VIRTUAL_ENV": "/foreign", "CONDA_PREFIX": "/foreign",
}  # fmt: skip
OF_ANOTHER_JOB = {
    "SLURM_MEM_PER_CPU": "500", "SLURM_CPU_BIND": "quiet,mask_cpu:0x1", "SLURM_CPU_BIND_TYPE": "mask_cpu:",
    "SLURM_MEM_BIND": "local", "SLURM_HINT": "nomultithread", "SLURM_DISTRIBUTION": "cyclic", "SRUN_DEBUG": "3",
    "SLURM_EXPORT_ENV": "NONE", "SBATCH_EXPORT": "NONE", "SLURM_THREADS_PER_CORE": "1", "SLURM_STEP_ID": "0",
    "SLURM_GPUS": "2", "SLURM_GPUS_PER_TASK": "1", "SLURM_CPUS_PER_GPU": "4", "SLURM_NTASKS_PER_GPU": "1",
}  # fmt: skip
OF_THIS_JOB = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_CPUS_PER_TASK": "3", "SLURM_JOB_USER": "me", "SLURM_CONF": "/etc/slurm.conf", "LOCAL_SCRATCH": "/local/7",
    "CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_PER_NODE": "a100:2", "SLURM_GPUS_ON_NODE": "2",
}  # fmt: skip


def login(folder: Path, profile: str, after: str, variables: Mapping[str, str]) -> str:
    """What `after` prints in a shell with these variables after a login whose /etc/profile is `profile`."""
    script, system = folder / "login.sh", folder / "profile"
    system.write_text(profile)
    script.write_text(LOGIN.read_text().replace("/etc/profile", shlex.quote(str(system))))
    done = subprocess.run(
        ["bash", "-c", f"umask 027; source {shlex.quote(str(script))}; {after}"],
        env={"PATH": os.environ["PATH"], **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def variables_after(folder: Path, profile: str, variables: Mapping[str, str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in login(folder, profile, "env -0", variables).split("\0")[:-1])


def test_sbatch_gets_what_a_login_has_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "sbatch", 'env -0 > "$0.env"; echo 77', monkeypatch)
    for name, value in (FOREIGN | OF_ANOTHER_JOB | {"KRB5CCNAME": "FILE:/tmp/krb5cc_1", "LANG": "C.UTF-8"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    queue.sbatch(tmp_path / "job.sbatch")
    text = (tmp_path / "bin" / "sbatch.env").read_text()
    seen = {line.split("=", 1)[0] for line in text.split("\0")[:-1]} - {"PWD", "SHLVL", "_"}
    login_sets = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "KRB5CCNAME", "LD_LIBRARY_PATH"}
    # A client that knows nobody but by a token needs it; the job drops it.
    assert seen <= login_sets | {"SLURM_JWT", "SLURM_TIME_FORMAT"}, seen
    assert {"PATH", "KRB5CCNAME", "LANG"} <= seen


def test_a_job_begins_as_a_login_and_keeps_what_slurm_says_of_it(tmp_path: Path) -> None:
    profile = "umask 077\nmodule() { echo module $*; }\nexport SITE=here PATH=/site/bin:$PATH\nfalse\n"
    seen = variables_after(tmp_path, profile, FOREIGN | OF_ANOTHER_JOB | OF_THIS_JOB)
    assert not ({*FOREIGN, *OF_ANOTHER_JOB} - {"HF_TOKEN", "WANDB_API_KEY", "CONDA_PREFIX"}) & {*seen}
    assert {name: seen[name] for name in OF_THIS_JOB} == OF_THIS_JOB
    assert (seen["SITE"], seen["USER"]) == ("here", "me")
    assert login(tmp_path, profile, "module load x; umask", {}).split() == ["module", "load", "x", "0027"]


def test_the_systems_login_does_not_move_the_job(tmp_path: Path) -> None:
    assert login(tmp_path, "cd /", "pwd", {}) == login(tmp_path, "", "pwd", {})


def test_no_client_in_the_job_asks_for_other_clusters(tmp_path: Path) -> None:
    assert "SLURM_CLUSTERS" not in variables_after(tmp_path, "", {"SLURM_CLUSTERS": "alpha"})


def test_a_profile_whose_path_has_no_slurm_loses_none(tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "srun").write_text("#!/bin/sh\necho ours\n")
    (tmp_path / "slurm" / "srun").chmod(0o755)
    path = f"{tmp_path / 'slurm'}:/usr/bin:/bin"
    assert login(tmp_path, f"PATH={tmp_path}", "srun", {"PATH": path}) == "ours\n"


def test_what_setup_loads_or_sets_leads_neither_python_nor_us_astray(tmp_path: Path) -> None:
    cluster = Cluster(
        name="c",
        executor="slurm",
        setup=("set -euo pipefail", "export PYTHONPATH=/module PYTHONHOME=/module TOOL=1"),
        environment={"PYTHONFAULTHANDLER": "1"},
    )
    plan = make_plan(load_experiment(ROOT / "experiments" / "demo.yaml"), cluster)
    run = RunFolder(tmp_path / "run")
    scripts = run.snapshots / "SNAPSHOT" / "slurm"
    scripts.mkdir(parents=True)
    (scripts / "login.sh").write_text("export LOGGED_IN=1\n")
    (scripts / "batch.sh").write_text("env\nfalse | true\nfalse\necho $unset GOT_ON=1\n")
    text = sbatch_text(plan, plan.jobs[0], run, run.snapshots / "SNAPSHOT", 90)
    shown = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True).stdout
    seen = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert {name for name in seen if name.startswith("PYTHON")} == {"PYTHONFAULTHANDLER"}
    assert (seen["LOGGED_IN"], seen["TOOL"], seen["GOT_ON"]) == ("1", "1", "1")


TELL = """
import json
import os

if "URBANVLM_ATTEMPT" in os.environ:
    rank = os.environ["SLURM_PROCID"]
    told = Path(os.environ["URBANVLM_ATTEMPT"], f"making-{rank}")
    told.write_text(json.dumps(dict(os.environ)))
    told.rename(told.with_name(f"environment-{rank}"))
    os._exit(3)
"""
"""At the end of a copy's stages.py: a task writes down its variables, and ends."""


@pytest.mark.slurm
@pytest.mark.timeout(600)
def test_a_task_on_a_real_slurm_has_nothing_of_the_submitters_shell(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    code = checkout(tmp_path / "code", urbanvlm__stages=TELL)
    case = Case(slurm_cluster, code, tmp_path / "runs", ON_ONE_NODE)
    # With that one, Slurm's clients would want a controller that takes it.
    foreign = {name: value for name, value in FOREIGN.items() if name != "SLURM_JWT"}
    submit = [sys.executable, "-m", "slurm", "submit", *case.submission]
    done = slurm_cluster.call(*submit, cwd=code, environment=foreign, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    job = case.job("synthesize")
    slurm_cluster.wait_for(job, "FAILED", seconds=240)
    tasks = [told(case, job)]
    kept = {path: contents(path) for path in (slurm_cluster.folder / "state").rglob("*")}
    assert any(path.name == "environment" and b"HOME=" in kept[path] for path in kept), "it is kept elsewhere"
    assert not [path for path, content in kept.items() if SECRET.encode() in content]

    # By hand, from inside an allocation that asked for memory in another way, and from a shell full of variables.
    script = case.run.jobs / "synthesize" / "job.sbatch"
    allocation = ["salloc", "--ntasks=1", "--mem-per-cpu=100M", "--hint=nomultithread"]
    by_hand = slurm_cluster.call(
        *allocation, "sbatch", "--parsable", "--wait", script, environment=foreign, timeout=240
    )
    assert by_hand.stdout.strip(), by_hand.stderr
    tasks.append(told(case, by_hand.stdout.split()[0]))
    for task in tasks:
        assert not {"PYTHONPATH", "PYTHONOPTIMIZE", "MASTER_PORT", "LC_ALL", "SLURM_HINT", "SLURM_EXPORT_ENV"} & {*task}
        assert task["PATH"].split(":")[0] == str(Path(sys.executable).parent) and task["HF_HUB_OFFLINE"] == "1"
    assert not [name for name, value in tasks[0].items() if SECRET in value or "/foreign" in value]


def contents(path: Path) -> bytes:
    """Nothing of a folder, nor of a file that the controller has replaced meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return b""


def told(case: Case, job: str) -> dict[str, str]:
    """The variables that the first task of a job wrote down."""
    file = case.run.jobs / "synthesize" / f"attempt-{job}-0" / "environment-0"
    log = case.run.jobs / "synthesize" / f"batch-{job}.txt"
    assert file.is_file(), log.read_text() if log.exists() else "no log"
    variables: dict[str, str] = json.loads(file.read_text())
    return variables
