"""What sites demand of jobs or refuse, and what of sbatch no profile may say: the batch script that comes of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_support import DevCluster
from test_batch import Site

from slurm import cluster_new
from slurm.cluster import Cluster, load_cluster, parse_cluster
from slurm.cluster_new import choose_partition, read_partitions, render
from slurm.container import command_prefix
from slurm.plan import JobSpec, Plan, make_plan
from slurm.preflight import preflight_job
from slurm.script import sbatch_text
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
FOUR_GPUS = ROOT / "experiments" / "fine-tune-llava.yaml"
NODE = "executor: slurm\npartition: gpu\ngpus_per_node: 4\n"


def cluster(text: str) -> Cluster:
    return parse_cluster(text, Path("site.yaml"))


def mistake(text: str) -> str:
    with pytest.raises(UserError) as caught:
        cluster(text)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def script(plan: Plan, job: JobSpec) -> str:
    run = RunFolder(Path("/runs/x"))
    return sbatch_text(plan, job, run, run.snapshots / "SNAPSHOT", 90)


def training(profile: Cluster) -> str:
    """The batch script of a training on four GPUs, with 16 CPUs and 128 GB."""
    plan = make_plan(load_experiment(FOUR_GPUS), profile)
    return script(plan, next(job for job in plan.jobs if job.stage.kind == "train"))


def options(text: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))


# --- options of sbatch


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("clusters: other", ["status, cancel and requeue would ask this cluster", "submit on a login node of that"]),
        ("cluster-constraint: big", ["status, cancel and requeue"]),
        ("no-requeue: true", ["are started again"]),
        ("no-kill: true", ["when a node dies"]),
        ("verbose: true", ["reads what sbatch prints"]),
        ("version: true", ["reads what sbatch prints"]),
        ("wait: true", ["reads what sbatch prints"]),
        ("uid: 1000", ["another user's"]),
        ("container: /bundle", ["give container instead"]),
        ("time-min: 5", ["resources.timeout_minutes"]),
        ("mem-per-cpu: 4G", ["memory_request", "resources.memory_gb"]),
        # What sbatch takes for one of them.
        ("cluster: other", ["sbatch may read it as clusters"]),
        ("clus: other", ["sbatch may read it as clusters"]),
        ("depend: singleton", ["sbatch may read it as dependency"]),
        ("exp: NONE", ["sbatch may read it as export"]),
    ],
)
def test_an_option_that_would_break_what_commands_rely_on_is_refused_with_the_reason(
    option: str, words: list[str]
) -> None:
    line = mistake(f"executor: slurm\nsbatch: {{{option}}}")
    assert all(word in line for word in ["site.yaml: sbatch", option.partition(":")[0], *words]), line


def test_every_option_that_a_job_sets_itself_is_refused_in_a_profile() -> None:
    plan = make_plan(load_experiment(FOUR_GPUS), cluster(f"{NODE}account: a\nqos: q\nconstraint: c\nexclude: [n1]\n"))
    ours = {option for job in plan.jobs for option in options(script(plan, job))}
    assert {"array", "signal", "requeue", "chdir", "mem", "nodes"} <= ours
    for option in sorted(ours):
        assert option in mistake(f"executor: slurm\nsbatch: {{{option}: x}}")


def test_options_that_only_ask_for_more_are_taken() -> None:
    harmless = ("begin", "comment", "contiguous", "deadline", "exclusive", "gres", "licenses", "mail-type", "nice")
    more = ("nodelist", "oversubscribe", "priority", "reservation", "switches", "threads-per-core", "tmp", "wckey")
    profile = cluster("executor: slurm\nsbatch:\n" + "".join(f"  {name}: x\n" for name in (*harmless, *more)))
    assert len(profile.sbatch) == len(harmless) + len(more)


def test_where_tasks_go_is_said_to_srun_as_well() -> None:
    text = training(cluster(f"{NODE}sbatch: {{hint: nomultithread, distribution: 'block:cyclic', nice: 5}}\n"))
    assert "srun_options=(--mpi=none --distribution=block:cyclic --hint=nomultithread)\n" in text
    assert options(text)["hint"] == "nomultithread"
    assert "srun_options=(--mpi=none)\n" in training(cluster(NODE))


# --- memory, GPUs, names


@pytest.mark.parametrize(
    ("request_", "asked"),
    [("per-node", {"mem": "128GB"}), ("per-cpu", {"mem-per-cpu": "8192MB"}), ("none", {})],
)
def test_ways_to_ask_for_memory(request_: str, asked: dict[str, str]) -> None:
    found = options(training(cluster(f"{NODE}memory_request: {request_}\n")))
    assert {name: value for name, value in found.items() if name.startswith("mem")} == asked


def test_memory_by_cpu_is_never_less_than_was_asked_for() -> None:
    profile = cluster("executor: slurm\nmemory_request: per-cpu")
    assert profile.memory_options(10, 3) == {"mem-per-cpu": "3414MB"}


def test_gpus_that_come_with_the_node_are_not_asked_for() -> None:
    text = training(cluster(f"{NODE}gpu_request: none\n"))
    assert "gpu" not in " ".join(options(text).values()).replace("gpu", "", 1), "but for the partition's name"
    assert not {"gres", "gpus-per-node"} & set(options(text))
    assert options(text)["partition"] == "gpu"
    assert "gpu_type means nothing where GPUs are not asked for" in mistake(
        f"{NODE}gpu_type: a100\ngpu_request: none\n"
    )


def test_the_name_under_which_a_node_is_reached() -> None:
    assert "\nmeeting_suffix=i\n" in training(cluster(f"{NODE}meeting_suffix: i\n"))
    assert "\nmeeting_suffix=''\n" in training(cluster(NODE))
    assert "meeting_suffix" in mistake(f"{NODE}meeting_suffix: '; rm x'\n")


# --- GPUs that are not real


def test_preflight_asks_for_stand_in_gpus_and_does_not_look_for_them() -> None:
    for profile, wanted in ((load_cluster("slurm-dev"), 0), (cluster(NODE), 4)):
        job = preflight_job(profile, 2)
        text = script(Plan("preflight", profile, (job,)), job)
        assert options(text)["gpus-per-node"] == str(profile.gpus_per_node)
        assert f" --gpus={wanted})" in text


def test_a_plan_that_would_compute_on_stand_in_gpus_is_refused() -> None:
    with pytest.raises(UserError, match=r"exist for Slurm only.*set resources.gpus_per_process=0"):
        make_plan(load_experiment(FOUR_GPUS), cluster(f"{NODE}stand_in_gpus: true\n"))


# --- what `make cluster-new` writes of it


def written(config: str, partition: str = "", node: str = "Gres=gpu:4 RealMemory=512000") -> Cluster:
    config = f"ClusterName = alpha\nSelectType = select/cons_tres\n{config}"
    partition = f"PartitionName=p State=UP MaxTime=1-00:00:00 {partition}\n"
    site = cluster_new.Site(config, partition, f"NodeName=n1 CPUTot=64 {node} Partitions=p\n")
    return cluster(render(site, choose_partition(read_partitions(site), None, lambda *_: "p"), None))


@pytest.mark.parametrize(
    ("config", "partition", "request_"),
    [
        ("SelectTypeParameters = CR_CORE_MEMORY\nMaxMemPerNode = UNLIMITED\n", "", "per-node"),
        ("SelectTypeParameters = CR_CORE_MEMORY\nMaxMemPerCPU = 4000\n", "", "per-cpu"),
        ("SelectTypeParameters = CR_CORE_MEMORY\n", "MaxMemPerCPU=4000", "per-cpu"),
        ("SelectTypeParameters = CR_CORE\n", "", "none"),
        ("SelectTypeParameters = CR_CPU\nMaxMemPerCPU = 4000\n", "", "none"),
    ],
)
def test_how_memory_is_asked_for_follows_from_what_slurm_says(config: str, partition: str, request_: str) -> None:
    profile = written(config, partition)
    assert (profile.memory_request, profile.memory_gb_per_node) == (request_, 500)


def test_nodes_whose_memory_nobody_told_slurm() -> None:
    """Slurm then takes a node to have 1 MB, and refuses whoever asks for more."""
    profile = written("SelectTypeParameters = CR_CORE_MEMORY\n", node="Gres=gpu:4 RealMemory=1")
    assert (profile.memory_request, profile.memory_gb_per_node) == ("none", None)
    assert make_plan(load_experiment(FOUR_GPUS), profile).jobs


# --- podman inside a job


TASK_V1, TASK_V2 = "/slurm/uid_0/job_7/step_0/task_0", "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0"


@pytest.mark.parametrize(
    ("user", "cgroups", "parent"),
    [
        (0, f"9:name=systemd:/slurm/x\n4:memory:{TASK_V1}\n0::/\n", TASK_V1),
        (0, f"0::{TASK_V2}\n", TASK_V2.removesuffix("/task_0")),
        (1000, f"0::{TASK_V2}\n", None),
        (0, "4:memory:/user.slice\n0::/system.slice/slurmd.service\n", None),
        (0, "0::/\n", None),
    ],
)
def test_podman_keeps_the_cgroup_of_its_job(tmp_path: Path, user: int, cgroups: str, parent: str | None) -> None:
    """The real shell, with a stand-in for podman that shows its words and its number."""
    for name, text in (("podman", 'echo "$@"; echo "$$ $URBANVLM_CLIENT"'), ("id", f"echo {user}")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "cgroup").write_text(cgroups)
    profile = cluster("executor: slurm\ncontainer: {runtime: podman, image: x}")
    words = command_prefix(profile, gpus=False, binds=[], environment_names=[], folder="/", user=(user, user))
    words[2] = words[2].replace("/proc/self/cgroup", str(tmp_path / "cgroup"))
    process = subprocess.Popen(
        [*words, "python3", "-V"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, stdout=subprocess.PIPE, text=True
    )
    shown, numbers = process.communicate(timeout=60)[0].splitlines()
    asked = f"--cgroup-parent={parent} " if parent else ""
    assert shown.startswith(f"--cgroup-manager=cgroupfs run {asked}--rm --entrypoint= ")
    assert shown.endswith(" x python3 -V")
    assert numbers.split() == [str(process.pid)] * 2
    alone = cluster("executor: local\ncontainer: {runtime: podman, image: x}")
    words = command_prefix(alone, gpus=False, binds=[], environment_names=[], folder="/", user=(user, user))
    assert words[4:7] == ["podman", "run", "--rm"], "nobody else's cgroup"


# --- what the batch script makes of it


def test_processes_meet_at_the_name_with_its_suffix(tmp_path: Path) -> None:
    site = Site(tmp_path, nodes=("n1", "n2"), values={"meeting_suffix": "i"})
    assert site.run('echo "$MASTER_ADDR" > "$SITE/met"').code == 0
    assert site.read("met") == "n1i\n"


@pytest.mark.parametrize("runtime", ["apptainer", "singularity"])
def test_a_container_that_lost_its_files_is_no_fault_of_the_tasks(tmp_path: Path, runtime: str) -> None:
    site = Site(tmp_path, values={"runtime": runtime})
    site.client(runtime, "")
    site.run("exit 135")
    assert (site.attempt / "lost-0").read_text() == "the container lost its files\n"
    assert site.requeues == 1


# --- on a real Slurm


@pytest.mark.slurm
@pytest.mark.timeout(600)
def test_the_development_cluster_is_good_though_its_gpus_are_not_real(
    slurm_cluster: DevCluster, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "slurm", "preflight", "--cluster=slurm-dev", f"--output={tmp_path}"]
    done = slurm_cluster.call(*command, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "preflight: 2 nodes good\n" in done.stdout
    assert "stand_in_gpus" in done.stdout
