"""Cluster profiles: what they may say, where they are found, what is made of them, and how one is written."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_support import DevCluster

from slurm.cluster import PROFILES, Bind, Cluster, check_fits, load_cluster, parse_cluster
from slurm.cluster_docs import DOCUMENT, fill_document
from slurm.cluster_new import (
    Site,
    choose_in_terminal,
    choose_partition,
    new_profile,
    read_fields,
    read_gpus,
    read_partitions,
    render,
)
from slurm.container import command_prefix, srun_options
from slurm.plan import make_plan
from slurm.script import sbatch_text
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
SHIPPED = sorted(path.stem for path in PROFILES.glob("*.yaml"))
HOSTILE = ["a b", "it's", 'say "hi"', "$(touch owned)", "`touch owned`", "a;b&c|d", "x:y,z", "-n", "ü", "#no", "*"]


@pytest.fixture(autouse=True)
def _own_profiles(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


def cluster(text: str) -> Cluster:
    return parse_cluster(text, Path("site.yaml"))


def mistake(text: str) -> str:
    with pytest.raises(UserError) as caught:
        cluster(text)
    return str(caught.value)


# --- what a profile may say


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_profile_makes_a_plan(name: str) -> None:
    profile = load_cluster(name)
    assert profile.name == name
    assert make_plan(load_experiment(ROOT / "experiments" / "demo.yaml"), profile).jobs
    if profile.gpus_per_node >= 4:
        plan = make_plan(load_experiment(ROOT / "experiments" / "fine-tune-llava.yaml"), profile)
        assert any(job.gpus_per_node == 4 for job in plan.jobs)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("executor: slurm\npartion: gpu", ["site.yaml: partion", "unknown key", "did you mean partition?"]),
        (
            "executor: slurm\npreemption: {mode: requeue, grace_second: 5}",
            ["preemption.grace_second:", "did you mean grace_seconds"],
        ),
        ("executor: slurm\ncontainer: {runtim: docker, image: x}", ["container.runtim:", "did you mean runtime"]),
        ("executor: slurm\nname: x", ["site.yaml: name", "is the file's name"]),
        ("partition: gpu", ["executor", "is missing"]),
        ("executor: slurm\naccount: 123", ["account", "must be text (got 123)", "quotes"]),
        ("executor: slurm\naccount: no", ["site.yaml:2", "no is false to some", "in quotes"]),
        ("executor: slurm\naccount: ''", ["account", "is empty"]),
        ("executor: slurm\nsetup: module load cuda", ["setup", "must be a list", "- …"]),
        ("executor: slurm\npreemption: requeue", ["preemption", "must be a section"]),
        ("executor: slurm\npreemption: {grace_seconds: 5}", ["means nothing without a mode"]),
        ("executor: slurm\ngpus_per_node: -1", ["gpus_per_node", "greater than or equal to 0 (got -1)"]),
        ("executor: slurm\ngpu_type: a100", ["gpu_type means nothing without GPUs"]),
        ("executor: slurm\ngpus_per_node: 1\ngpu_type: 'a:1'", ["gpu_type", "(got 'a:1')"]),
        ("executor: slurm\nmax_timeout_minutes: 24h", ["max_timeout_minutes", "is no time", "as Slurm does"]),
        ('executor: slurm\npartition: "a\\nb"', ["partition", "line break", "remove it"]),
        ('executor: slurm\npartition: "a\\eb"', ["partition", "control character"]),
        ("executor: slurm\nqos: 'a\\b'", ["qos", "backslash"]),
        ("executor: slurm\nsetup: ['#SBATCH --nice']", ["would be ignored", "sbatch"]),
        ('executor: slurm\nsetup: ["a\\nb"]', ["setup.0", "line break"]),
        ("executor: slurm\nexclude: ['gpu01 gpu02']", ["exclude", "'gpu01 gpu02' is not a node's name"]),
        ("executor: slurm\nnode_scratch: tmp", ["node_scratch", "absolute"]),
        ("executor: slurm\nnode_scratch: /tmp/$(id)", ["node_scratch", "only $NAME"]),
        ("executor: slurm\nenvironment: {NCCL_DEBUG: 1}", ["environment.NCCL_DEBUG", "must be text", "quotes"]),
        ("executor: slurm\nenvironment: {TMPDIR: /x}", ["TMPDIR is ours to set", "node_scratch"]),
        ("executor: slurm\nenvironment: {SLURM_JOB_ID: '1'}", ["SLURM_JOB_ID is ours to set"]),
        ("executor: local\naccount: x", ["executor local has no account"]),
        ("executor: local\ngpus_per_node: 0", ["executor local has no gpus_per_node"]),
        ("executor: local\ncontainer: {runtime: pyxis, image: x}", ["pyxis is a part of Slurm"]),
    ],
)
def test_a_mistake_is_one_line_that_names_file_key_and_remedy(text: str, words: list[str]) -> None:
    line = mistake(text)
    assert len(line.splitlines()) == 1
    assert all(word in line for word in ["site.yaml", *words]), line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("partition: gpu", ["give partition instead"]),
        ("gres: 'gpu:4'", ["gpus_per_node"]),
        ("gres: 'nvme:1,gpu:a100:4'", ["gpu_request"]),
        ("time: '1:00'", ["resources.timeout_minutes"]),
        ("mem-per-gpu: 4G", ["resources.memory_gb"]),
        ("export: ALL", ["environment"]),
        ("signal: USR1", ["signal_delay_seconds"]),
        ("container-image: x", ["container"]),
        ("array: 1-4", ["array"]),
        ("--mail-type: FAIL", ["without dashes", "mail-type?"]),
        ("mail_type: FAIL", ["mail-type?"]),
        ("p: gpu", ["long name"]),
        ("exclusive: false", ["exclusive must be", "true"]),
        ("comment: 1.5", ["comment must be"]),
        ('comment: "a\\nb"', ["comment", "line break"]),
        ("comment: 'a\\b'", ["comment", "backslash"]),
    ],
)
def test_sbatch_options_that_are_ours_are_refused_with_the_key_that_says_them(options: str, words: list[str]) -> None:
    line = mistake(f"executor: slurm\nsbatch: {{{options}}}")
    assert all(word in line for word in ["site.yaml: sbatch", *words]), line


@pytest.mark.parametrize(
    "text",
    [
        *(f"environment: {{{name}: x}}" for name in ("HF_TOKEN", "WANDB_API_KEY", "DB_PASSWORD", "my_secret", "KEY_1")),
        "environment: {http_proxy: 'http://me:hunter2@proxy:80'}",
        "environment: {X: hf_abcdefghijklmnopqrstuvwxyz}",
        "setup: ['export HF_TOKEN=abc']",
        "setup: ['export HF_TOKEN=\"abc\"']",
        "sbatch: {comment: hf_abcdefghijklmnopqrstuvwxyz}",
    ],
)
def test_what_looks_like_a_secret_is_refused_and_told_where_to_go(text: str) -> None:
    line = mistake(f"executor: slurm\n{text}")
    assert "looks like a secret" in line
    assert "a file of your home folder" in line
    assert "setup" in line


def test_what_only_resembles_a_secret_is_taken() -> None:
    profile = cluster(
        "executor: slurm\n"
        "environment: {TOKENIZERS_PARALLELISM: 'false', KEYBOARD: de, http_proxy: 'http://proxy:3128'}\n"
        "setup: ['export HF_TOKEN=$(cat ~/.config/urbanvlm/HF_TOKEN)', 'export HF_TOKEN=\"$(< ~/t)\"']\n"
    )
    assert len(profile.setup) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{runtime: [apptainer, docker], image: x}", ["one runtime"]),
        ("{runtime: rkt, image: x}", ["runtime", "'apptainer'"]),
        ("{runtime: docker, image: --privileged}", ["image", "begins with '-'"]),
        ("{runtime: pyxis}", ["container", "pyxis needs an image"]),
        ("{runtime: any}", ["container.runtime any is for executor local"]),
        ("{runtime: any, image: x}", ["runtime any takes the image that `make image` makes"]),
        ("{runtime: podman, image: x, binds: ['/a:/b:ro,rw']}", ["neither ro nor rw"]),
        ("{runtime: apptainer, image: x, binds: [data]}", ["'data' is not an absolute path"]),
        ("{runtime: apptainer, image: x, binds: ['/a:/b:rx']}", ["neither ro nor rw"]),
    ],
)
def test_a_mistake_in_the_container_section(text: str, words: list[str]) -> None:
    line = mistake(f"executor: slurm\ncontainer: {text}")
    assert all(word in line for word in words), line


def test_two_runtimes_as_two_keys() -> None:
    line = mistake("executor: slurm\ncontainer:\n  runtime: docker\n  runtime: apptainer\n  image: x")
    assert "site.yaml:4: key 'runtime' is given twice" in line


# --- where profiles are found


def test_the_users_profile_wins_and_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "urbanvlm" / "clusters"
    own.mkdir(parents=True)
    (own / "a100.yaml").write_text("executor: slurm\npartition: mine\n")
    assert load_cluster("a100").partition == "mine"
    assert load_cluster("h100").partition == "h100"
    (tmp_path / "a100.yaml").write_text("executor: slurm\npartition: third\n")
    assert load_cluster(str(tmp_path / "a100.yaml")).partition == "third"


def test_without_xdg_config_home_the_profiles_are_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".config/urbanvlm/clusters").mkdir(parents=True)
    (tmp_path / ".config/urbanvlm/clusters/site.yaml").write_text("executor: slurm\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert load_cluster("site").executor == "slurm"


def test_an_unknown_name_lists_both_kinds() -> None:
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "urbanvlm" / "clusters"
    own.mkdir(parents=True)
    (own / "mysite.yaml").write_text("executor: slurm\n")
    for name in ("nothing-like-it", "../clusters/local", ""):
        with pytest.raises(UserError, match=r"no such profile; yours in .*: mysite; shipped: a100,") as caught:
            load_cluster(name)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match=r"did you mean mysite\?"):
        load_cluster("mysit")
    with pytest.raises(UserError, match=r"nowhere\.yaml.*no such file"):
        load_cluster("nowhere.yaml")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"just text", b"", b"a: [", b"executor: slurm\nexecutor: local\n"])
def test_a_file_that_is_no_profile_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"site\.yaml") as caught:
        load_cluster(str(path))
    assert len(str(caught.value).splitlines()) == 1


# --- what is made of one


def test_options_of_a_job_with_gpus_and_of_one_without() -> None:
    profile = cluster(
        "executor: slurm\npartition: gpu\ncpu_partition: cpu\naccount: me\nqos: long\nconstraint: a100&ib\n"
        "exclude: [n1, 'n[3-4]']\ngpus_per_node: 4\ngpu_type: a100\nsbatch: {exclusive: true, nice: 5}\n"
    )
    both = {"account": "me", "qos": "long", "exclude": "n1,n[3-4]", "exclusive": True, "nice": 5}
    assert profile.sbatch_options(0) == {**both, "partition": "cpu"}
    with_gpus = {**both, "partition": "gpu", "constraint": "a100&ib"}
    assert profile.sbatch_options(2) == {**with_gpus, "gpus-per-node": "a100:2"}


@pytest.mark.parametrize(
    ("keys", "option", "value"),
    [
        ("", "gpus-per-node", "4"),
        ("gpu_type: h100", "gpus-per-node", "h100:4"),
        ("gpu_request: gres", "gres", "gpu:4"),
        ("gpu_request: gres\ngpu_type: h100", "gres", "gpu:h100:4"),
        ("gpu_request: gres\nsbatch: {gres: 'nvme:1'}", "gres", "gpu:4,nvme:1"),
    ],
)
def test_ways_to_ask_for_gpus(keys: str, option: str, value: str) -> None:
    profile = cluster(f"executor: slurm\ngpus_per_node: 8\n{keys}")
    assert profile.sbatch_options(4)[option] == value
    assert "gpu" not in str(profile.sbatch_options(0))


def test_a_job_without_gpus_runs_on_the_only_partition() -> None:
    assert cluster("executor: slurm\npartition: all").sbatch_options(0) == {"partition": "all"}


FITS = {"job": "train-x", "gpus_per_node": 4, "cpus_per_node": 16, "memory_gb": 128, "timeout_minutes": 600}
NODE = "executor: slurm\npartition: gpu\ngpus_per_node: 4\ncpus_per_node: 16\nmemory_gb_per_node: 128\n"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"gpus_per_node": 5}, ["5 GPUs on a node", "has 4 (gpus_per_node)", "lower resources.processes"]),
        ({"cpus_per_node": 17}, ["17 CPUs", "has 16 (cpus_per_node)", "resources.cpus_per_process"]),
        ({"memory_gb": 129}, ["129 GB of memory", "(memory_gb_per_node)", "resources.memory_gb"]),
        ({"timeout_minutes": 601}, ["601 minutes", "(max_timeout_minutes)", "set resources.timeout_minutes=600"]),
    ],
)
def test_a_job_that_asks_for_more_than_there_is(more: dict[str, int], words: list[str]) -> None:
    profile = cluster(f"{NODE}max_timeout_minutes: 600\ncpu_partition: cpu\n")
    check_fits(profile, **FITS)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        check_fits(profile, **{**FITS, **more})  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in ["job train-x", "cluster site", *words]), caught.value


def test_only_what_the_profile_says_is_checked() -> None:
    huge = {"cpus_per_node": 10**6, "memory_gb": 10**6, "timeout_minutes": 10**6}
    check_fits(cluster("executor: slurm\ngpus_per_node: 4"), **{**FITS, **huge})  # type: ignore[arg-type]
    check_fits(cluster("executor: local"), **{**FITS, **huge})  # type: ignore[arg-type]
    other = cluster(f"{NODE}cpu_partition: cpu")
    check_fits(other, **{**FITS, **huge, "gpus_per_node": 0})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="1000000 CPUs"):
        check_fits(cluster(NODE), **{**FITS, **huge, "gpus_per_node": 0})  # type: ignore[arg-type]


def test_a_missing_account_is_named_where_one_is_required() -> None:
    with pytest.raises(UserError, match=r"cluster site: account: is missing.*add it to the profile"):
        check_fits(cluster(f"{NODE}account_required: true"), **FITS)  # type: ignore[arg-type]
    check_fits(cluster(f"{NODE}account_required: true\naccount: me"), **FITS)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*HOSTILE, "$USER", "${USER}/x", "$USER.$ID", "it's * $USER; &c"])
def test_a_nodes_own_folder_has_variables_replaced_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = f"/disk/{name}"
    if "$(" in name:
        assert "only $NAME" in mistake(f"executor: slurm\nnode_scratch: {json.dumps(path)}")
        return
    words = cluster(f"executor: slurm\nnode_scratch: {json.dumps(path)}").node_scratch_words
    shown = subprocess.run(
        ["bash", "-c", f"printf %s {words}"],
        env={"PATH": os.environ["PATH"], "USER": "m e", "ID": "7"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    replaced = path.replace("${USER}", "m e").replace("$USER", "m e").replace("$ID", "7")
    assert shown.stdout == replaced
    assert list(tmp_path.iterdir()) == []


def test_a_variable_that_is_not_set_ends_the_script() -> None:
    words = cluster("executor: slurm\nnode_scratch: /disk/$NO_SUCH_VARIABLE").node_scratch_words
    done = subprocess.run(["bash", "-c", f"export TMPDIR={words}; echo on"], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "NO_SUCH_VARIABLE" in done.stderr


# --- containers


def with_container(runtime: str, more: str = "") -> Cluster:
    return cluster(
        f"executor: slurm\nnode_scratch: /local/$USER\nenvironment: {{NCCL_DEBUG: INFO}}\n"
        f"container:\n  runtime: {runtime}\n  image: 'my image.sif'\n  binds: ['/data:/inside:ro']\n{more}"
    )


def prefix(profile: Cluster, *binds: Bind, gpus: bool = False, names: Sequence[str] = ()) -> list[str]:
    return command_prefix(profile, gpus=gpus, binds=binds, environment_names=names, folder="/work", user=(1000, 100))


def options(profile: Cluster, *binds: Bind) -> list[str]:
    return srun_options(profile, binds=binds, environment_names=[], folder="/work")


def test_no_container_no_prefix() -> None:
    plain = cluster("executor: slurm")
    assert prefix(plain, gpus=True) == []
    assert options(plain) == []


@pytest.mark.parametrize("runtime", ["apptainer", "singularity", "docker", "podman", "pyxis"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folders_reach_the_runtime_as_one_word_each(runtime: str, name: str) -> None:
    profile, bind = with_container(runtime), Bind(f"/runs/{name}", f"/runs/{name}", read_only=True)
    if runtime == "pyxis":
        assert prefix(profile, bind, gpus=True) == []
        if ":" in name or "," in name:
            with pytest.raises(UserError, match="pyxis cannot bind"):
                options(profile, bind)
            return
        (mounts,) = (o for o in options(profile, bind) if o.startswith("--container-mounts"))
        assert mounts.split("=", 1)[1].split(",") == [
            f"/runs/{name}:/runs/{name}:ro", "/data:/inside:ro", "/local:/local:rw",
        ]  # fmt: skip
        return
    words = prefix(profile, bind, gpus=True)
    rows = [next(csv.reader([word.removeprefix("--mount=")])) for word in words if word.startswith("--mount=")]
    target, flag = ("destination", "ro") if runtime in ("apptainer", "singularity") else ("target", "readonly")
    assert rows == [
        ["type=bind", f"source=/runs/{name}", f"{target}=/runs/{name}", flag],
        ["type=bind", "source=/data", f"{target}=/inside", flag],
        ["type=bind", "source=/local", f"{target}=/local"],
    ]
    assert words[-1] == "my image.sif"


@pytest.mark.parametrize("runtime", ["apptainer", "docker", "podman"])
def test_a_folder_is_mounted_before_what_lies_in_it(runtime: str) -> None:
    binds = [Bind("/x", f"/{path}") for path in ("data/runs", "data!", "data", "data/runs/a/b", "data/runs/a")]
    words = prefix(with_container(runtime), *binds)
    targets = [word.rpartition("=")[2] for word in words if word.startswith("--mount=") and "source=/x" in word]
    assert [t for t in targets if t != "/data!"] == ["/data", "/data/runs", "/data/runs/a", "/data/runs/a/b"]


def test_gpus_come_in_only_where_there_are_some() -> None:
    for runtime, word in (("apptainer", "--nv"), ("docker", "--gpus=all"), ("podman", "--device=nvidia.com/gpu=all")):
        for gpus in (True, False):
            assert (word in prefix(with_container(runtime), gpus=gpus)) == gpus


@pytest.mark.parametrize("runtime", ["apptainer", "singularity"])
def test_only_named_variables_come_in(tmp_path: Path, runtime: str) -> None:
    """The real shell in front of a stand-in for the runtime that shows its words and what it would hand on."""
    stand_in, mark = tmp_path / runtime, f"{runtime.upper()}ENV_"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\nenv -0 | grep -z "^[A-Z]*ENV_"\n')
    stand_in.chmod(0o755)
    words = prefix(with_container(runtime), names=["OURS", "ABSENT"])
    hostile = "a 'b' \"c\" $(touch owned)\n`x`"
    done = subprocess.run(
        [*words, "python", "-c", "print('a b')"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "OURS": hostile, "SLURM_PROCID": "3", "NCCL_DEBUG": "INFO",
             "HF_TOKEN": "secret", "PYTHONPATH": "/host"},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    shown = done.stdout.split("\0")[:-1]
    assert shown[:3] == ["exec", "--cleanenv", "--no-eval"]
    assert [word for word in shown if not word.startswith(mark)][-4:] == [
        "my image.sif", "python", "-c", "print('a b')",
    ]  # fmt: skip
    assert {word for word in shown if word.startswith(mark)} == {
        f"{mark}OURS={hostile}", f"{mark}SLURM_PROCID=3", f"{mark}NCCL_DEBUG=INFO",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [runtime]


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_docker_and_podman_get_names_not_values(runtime: str) -> None:
    words = prefix(with_container(runtime), names=["OURS"])
    assert {"--env=OURS", "--env=NCCL_DEBUG", "--env=SLURM_PROCID", "--env=TMPDIR", "--rm", "--pid=host"} <= set(words)
    assert ("--user=1000:100" in words) == (runtime == "docker")
    assert ("--userns=keep-id" in words) == (runtime == "podman")


def test_tmpdir_of_the_host_comes_in_only_where_the_profile_says_which_disk_that_is() -> None:
    profile = cluster("executor: slurm\ncontainer: {runtime: podman, image: x}")
    assert "--env=TMPDIR" not in prefix(profile)
    assert "--env=XDG_CACHE_HOME" in prefix(profile)


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_the_client_tells_its_number_and_stays_that_process(tmp_path: Path, runtime: str) -> None:
    """A task in its container looks whether that process is still there."""
    stand_in = tmp_path / runtime
    stand_in.write_text('#!/bin/sh\necho "$$ $URBANVLM_CLIENT"\n')
    stand_in.chmod(0o755)
    process = subprocess.Popen(
        prefix(with_container(runtime)),
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.communicate(timeout=60)[0].split() == [str(process.pid)] * 2


def test_a_disk_that_no_container_could_see_is_refused() -> None:
    text = "executor: slurm\nnode_scratch: $LOCAL/x\n"
    assert cluster(text).node_scratch_root is None
    assert "must begin with a plain folder" in mistake(f"{text}container: {{runtime: podman, image: x}}")


# --- the document


def test_the_table_of_keys_is_what_the_code_says() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert fill_document(text) == text, "run `.venv/bin/python -m slurm cluster-docs`"


# --- writing one

CONFIG = """\
Configuration data as of 2024-05-01T10:00:00
AccountingStorageEnforce = associations,limits
ClusterName             = alpha
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
SelectType              = select/cons_tres
TmpFS                   = /tmp
"""


def partition(name: str, **fields: object) -> str:
    known = {
        "AllowGroups": "ALL", "Default": "NO", "GraceTime": 0, "Hidden": "NO", "MaxTime": "1-00:00:00",
        "MaxCPUsPerNode": "UNLIMITED", "Nodes": "n[1-9]", "PriorityTier": 1, "RootOnly": "NO", "PreemptMode": "OFF",
        "State": "UP", "MaxMemPerNode": "UNLIMITED", "TRES": "cpu=16,mem=62G,node=4",
    }  # fmt: skip
    return " ".join(f"{key}={value}" for key, value in {"PartitionName": name, **known, **fields}.items())


def node(name: str, partitions: str, gres: str = "(null)", cpus: int = 64, memory: int = 512000, more: str = "") -> str:
    return (
        f"NodeName={name} Arch=x86_64 CoresPerSocket=32  CPUAlloc=0 CPUTot={cpus} CPULoad=0.00 Gres={gres} "
        f"OS=Linux 5.14.0 #1 SMP PREEMPT Mon=1  RealMemory={memory} AllocMem=0 State=IDLE{more} "
        f"Partitions={partitions}  Reason=bad disk [root@2024-05-01T10:00:00]"
    )


def never(question: str, answers: Sequence[str]) -> str:
    raise AssertionError(f"asked for {question} of {answers}")


def written(site: Site, name: str | None = None, account: str | None = None) -> Cluster:
    """What is written, after it has been read as any profile is."""
    chosen = choose_partition(read_partitions(site), name, never)
    return cluster(render(site, chosen, account))


def site(partitions: list[str], nodes: list[str], config: str = CONFIG, accounts: str = "") -> Site:
    return Site(config, "\n".join(partitions) + "\n", "\n".join(nodes) + "\n", accounts)


def test_h100_with_a_type_sockets_and_a_partition_for_the_rest() -> None:
    profile = written(
        site(
            [
                partition("batch", Default="YES"),
                partition("h100", MaxTime="2-12:30:00"),
                partition("old", State="DOWN"),
            ],
            [
                *(node(f"c{i}", "batch") for i in range(4)),
                node("g1", "h100,old", "gpu:nvidia_h100_80gb_hbm3:8(S:0-1,3),nvme:1", 192, 2_000_000),
                node("g2", "h100", "gpu:nvidia_h100_80gb_hbm3:8(S:0-1,3)", 192, 1_900_000, "+DRAIN"),
            ],
            accounts="vision\nvision\ncourse\n",
        )
    )
    assert (profile.partition, profile.cpu_partition, profile.account) == ("h100", "batch", "vision")
    assert profile.sbatch_options(8)["gpus-per-node"] == "nvidia_h100_80gb_hbm3:8"
    assert (profile.gpus_per_node, profile.cpus_per_node, profile.memory_gb_per_node) == (8, 192, 1855)
    assert profile.max_timeout_minutes == 60 * 60 + 30
    assert profile.preemption.mode == "none"


def test_a_cluster_without_gpus_or_limits_or_accounts() -> None:
    profile = written(
        site(
            [partition("all", Default="YES", MaxTime="UNLIMITED")],
            [node("n1", "all")],
            CONFIG.replace("associations,limits", "none"),
        )
    )
    assert profile.model_dump(exclude_unset=True) == {
        "name": "site", "executor": "slurm", "partition": "all", "gpus_per_node": 0, "cpus_per_node": 64,
        "memory_gb_per_node": 500,
    }  # fmt: skip


def test_several_kinds_of_nodes_in_one_partition_give_the_most_frequent_with_gpus() -> None:
    nodes = [
        node("c1", "gpu"), node("c2", "gpu"), node("c3", "gpu"), node("c4", "gpu"),
        node("a1", "gpu", "gpu:a100:4", 64, 512_000), node("a2", "gpu", "gpu:a100:4", 128, 256_000),
        node("v1", "gpu", "gpu:v100:2", 32, 128_000),
    ]  # fmt: skip
    given_site = site([partition("gpu")], nodes)
    profile = written(given_site)
    assert (profile.gpu_type, profile.gpus_per_node) == ("a100", 4)
    assert (profile.cpus_per_node, profile.memory_gb_per_node) == (64, 250), "what every such node has"
    text = render(given_site, choose_partition(read_partitions(given_site), None, never), None)
    assert "also there, and not asked for by this profile: 1 node with 2 × v100" in text
    assert "4 nodes with 64 CPUs" in text


def test_limits_of_the_partition_and_the_system_count() -> None:
    profile = written(
        site(
            [partition("gpu", MaxCPUsPerNode=48, MaxMemPerNode=204800)],
            [node("a1", "gpu", "gpu:2", more=" MemSpecLimit=2048 CPUEfctv=60")],
        )
    )
    assert (profile.cpus_per_node, profile.memory_gb_per_node) == (48, 200)
    profile = written(site([partition("gpu")], [node("a1", "gpu", "gpu:2", more=" MemSpecLimit=2048 CPUEfctv=60")]))
    assert (profile.cpus_per_node, profile.memory_gb_per_node) == (60, 498)


def test_a_preemptible_partition_is_written_as_one() -> None:
    shared = [node("a1", "gpu,scavenge", "gpu:4")]
    partitions = [
        partition("gpu", PriorityTier=10),
        partition("scavenge", PreemptMode="REQUEUE", GraceTime=120),
    ]
    weak = written(site(partitions, shared), "scavenge")
    assert (weak.preemption.mode, weak.preemption.grace_seconds) == ("requeue", 120)
    assert written(site(partitions, shared), "gpu").preemption.mode == "none"
    apart = [node("a1", "gpu", "gpu:4"), node("a2", "scavenge", "gpu:4")]
    assert written(site(partitions, apart), "scavenge").preemption.mode == "none", "nobody stronger on its nodes"
    cancel = CONFIG.replace("partition_prio", "qos").replace("REQUEUE", "GANG,CANCEL")
    assert written(site(partitions, shared, cancel), "gpu").preemption.mode == "cancel"
    off = CONFIG.replace("partition_prio", "none")
    assert written(site(partitions, shared, off), "scavenge").preemption.mode == "none"


def test_what_slurm_cannot_do_or_say_is_written_so_that_it_still_works() -> None:
    config = CONFIG.replace("cons_tres", "linear").replace("TmpFS                   = /tmp", "TmpFS = /scratch/local")
    profile = written(site([partition("gpu")], [node("a1", "gpu", "gpu:4")], config))
    assert profile.sbatch_options(2)["gres"] == "gpu:2"
    assert profile.node_scratch == "/scratch/local"
    assert profile.account is None
    assert profile.account_required, "this Slurm takes no job without an account"
    assert written(site([partition("gpu")], [node("a1", "gpu")]), account="me").account == "me"


@pytest.mark.parametrize(
    "name", ["on", "123", "1e4", "null", "0x1F", "12:30", "a b", "ü", "no # comment", "'", '"', "~"]
)
def test_names_that_yaml_would_read_as_something_else(name: str) -> None:
    profile = written(site([partition("p")], [node("a1", "p")]), account=name)
    assert profile.account == name


def test_which_partition_is_asked_only_where_there_is_a_choice() -> None:
    gpus = [node("a1", "a,b,c", "gpu:4"), node("c1", "cpu")]
    partitions = read_partitions(site([partition(name) for name in ("a", "b", "c", "cpu")], gpus))
    asked: list[object] = []

    def answer(question: str, answers: Sequence[str]) -> str:
        asked.append((question, list(answers)))
        return "b"

    gpu, cpu = choose_partition(partitions, None, answer)
    assert (gpu.name, cpu and cpu.name) == ("b", "cpu")
    assert asked == [("partition", ["a", "b", "c"])]
    assert choose_partition(partitions, "cpu", never)[0].name == "cpu"
    with pytest.raises(UserError, match=r"PARTITION 'cpuu'.*did you mean cpu\?"):
        choose_partition(partitions, "cpuu", never)
    with pytest.raises(UserError, match="no partition that is up"):
        choose_partition(read_partitions(site([partition("a", State="DRAIN")], gpus)), None, never)


def test_without_a_terminal_the_choice_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(UserError, match="2 would do; add PARTITION=a, or b"):
            choose_in_terminal("partition", ["a", "b"])


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", (None, 0)),
        ("", (None, 0)),
        ("gpu:4", (None, 4)),
        ("gpu", (None, 1)),
        ("gpu:tesla", ("tesla", 1)),
        ("gpu:a100:4(S:0-1)", ("a100", 4)),
        ("gpu:no_consume:2", (None, 2)),
        ("nvme:1,gpu:a100_1g.5gb:7(S:0,1),gpu:a100:2(S:1)", ("a100_1g.5gb", 7)),
        ("craynetwork:4,lustre:9", (None, 0)),
    ],
)
def test_gpus_of_a_node(gres: str, gpus: tuple[str | None, int]) -> None:
    assert read_gpus(gres) == gpus


KEYS = st.text("ABCabc", min_size=1, max_size=6)
VALUES = st.lists(st.text("abz019,():", max_size=4), max_size=3).map(" ".join)


@given(st.dictionaries(KEYS, VALUES))
def test_fields_of_a_line_are_read_back(fields: dict[str, str]) -> None:
    wanted = {key: value.strip() for key, value in fields.items()}
    assert read_fields(" ".join(f"{key}={value}" for key, value in wanted.items())) == wanted


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slurm", *words],
        cwd=ROOT, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_without_slurm_it_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    done = command("cluster-new", "mysite", PATH=str(tmp_path))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "scontrol" in done.stderr
    assert not list(Path(os.environ["XDG_CONFIG_HOME"]).rglob("*.yaml"))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "-x", "$(id)", ".hidden", "a\nb"])
def test_a_name_that_is_no_files_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is not a profile's name"):
        new_profile(name, partition=None, account=None, force=False, choose=never)


# --- on a real Slurm


@pytest.mark.slurm
def test_a_profile_written_on_a_login_node_loads_and_plans(slurm_cluster: DevCluster) -> None:
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "urbanvlm" / "clusters"
    here = {"XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"]}
    new = [sys.executable, "-m", "slurm", "cluster-new", "mysite"]
    done = slurm_cluster.call(*new, environment=here)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "would do; add PARTITION=main, or" in done.stderr
    assert not own.exists()
    done = slurm_cluster.call(*new, "--partition=low", environment=here)
    assert done.returncode == 0, done.stderr
    profile, settings = load_cluster("mysite"), slurm_cluster.settings
    assert (profile.partition, profile.gpus_per_node, profile.gpu_type) == ("low", settings.gpus, None)
    assert (profile.cpus_per_node, profile.memory_gb_per_node) == (settings.cpus, settings.memory_mb // 1024)
    assert profile.max_timeout_minutes == 24 * 60
    assert (profile.preemption.mode, profile.preemption.grace_seconds) == ("requeue", 30)
    done = slurm_cluster.call(
        sys.executable, "-m", "slurm", "plan", "experiments/demo.yaml", "--cluster=mysite", environment=here
    )
    assert done.returncode == 0, done.stderr
    assert "--partition=low" in done.stdout
    done = slurm_cluster.call(*new, "--partition=main", environment=here)
    assert done.returncode == 2
    assert "mysite.yaml: is already there" in done.stderr
    assert load_cluster("mysite").partition == "low"
    assert slurm_cluster.call(*new, "--partition=main", "--force", environment=here).returncode == 0
    assert load_cluster("mysite").partition == "main"
    assert load_cluster("mysite").preemption.mode == "none"


@pytest.mark.slurm
def test_the_account_is_the_one_that_accounting_knows(slurm_accounting: DevCluster) -> None:
    here = {"XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"]}
    new = [sys.executable, "-m", "slurm", "cluster-new", "mysite", "--partition=main"]
    assert slurm_accounting.call(*new, environment=here).returncode == 0
    assert load_cluster("mysite").account == "root"
    assert slurm_accounting.call(*new, "--account=other", "--force", environment=here).returncode == 0
    assert load_cluster("mysite").account == "other"


@pytest.mark.slurm
def test_hostile_values_reach_slurm_unharmed(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    for number, value in enumerate(HOSTILE):
        text = json.dumps(value, ensure_ascii=False)
        profile = cluster(f"executor: slurm\npartition: main\nsbatch: {{comment: {text}, hold: true}}\n")
        experiment = load_experiment(ROOT / "experiments" / "demo.yaml")
        plan = make_plan(experiment, profile)
        script = tmp_path / f"{number}.sbatch"
        script.write_text(sbatch_text(plan, plan.jobs[0], RunFolder(tmp_path / "run"), ROOT, 60), encoding="utf-8")
        job = slurm_cluster.sbatch(script)
        assert slurm_cluster.run("squeue", "-h", "-j", job, "-O", "Comment:80").strip() == value
    assert not list(tmp_path.glob("owned*"))
    assert not (ROOT / "owned").exists()


def test_a_profile_says_what_finds_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site.yaml").write_text("executor: slurm\npartition: p\n")
    monkeypatch.chdir(tmp_path)
    given = load_cluster("site.yaml")
    monkeypatch.chdir("/")
    assert load_cluster(given.called) == given
    assert load_cluster("local").called == "local"
