"""The development cluster behaves as a real one does, can be broken on command, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from slurm_support import ROOT, DevCluster, dev_cluster, slurm_dev

from slurm.cluster import load_cluster
from slurm.dev import config, processes
from slurm.dev import settings as dev_settings
from slurm.dev.__main__ import main
from slurm.dev.daemons import needed_programs
from slurm.dev.packages import missing_packages
from slurm.dev.settings import Settings, check, make_settings, ports_of, save_settings
from urbanvlm.errors import UserError

SETTINGS = Settings(Path("/run/dev"), port=11000, first_job_id=1000)


# Pure


def entries(text: str) -> dict[str, list[str]]:
    """Slurm's configuration: key -> the words after it, of each of its lines."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("isolation", ["none", "host", "net"])
def test_every_node_has_a_name_an_address_and_a_port_of_its_own(isolation: str) -> None:
    settings = replace(SETTINGS, nodes=3, isolation=isolation)
    nodes = entries(config.slurm_conf(settings, "here"))["NodeName"]
    assert [node.split()[0] for node in nodes] == ["node1", "node2", "node3"]
    for word in ("NodeAddr", "Port"):
        assert len({part for node in nodes for part in node.split() if part.startswith(f"{word}=")}) == 3
    assert all(f"NodeHostname={'here' if isolation == 'none' else node.split()[0]}" in node for node in nodes)


def test_a_configuration_names_its_own_folder_only_and_each_key_once() -> None:
    text = config.slurm_conf(SETTINGS, "here")
    keys = entries(text)
    assert all(len(values) == 1 for key, values in keys.items() if key not in ("NodeName", "PartitionName"))
    assert keys["FirstJobId"] == ["1000"]
    assert keys["SlurmctldPort"] == ["11000"]
    paths = [word for line in text.splitlines() for word in line.split("=") if word.startswith("/")]
    assert paths
    assert all(path.startswith("/run/dev/") or path == "/bin/true" for path in paths)


def test_accounting_and_gpus_only_where_asked_for() -> None:
    plain = config.slurm_conf(replace(SETTINGS, gpus=0), "here")
    assert "slurmdbd" not in plain
    assert "Gres=" not in plain
    assert config.gres_conf(replace(SETTINGS, gpus=0)) == ""
    assert "Gres=gpu:3" in config.slurm_conf(replace(SETTINGS, gpus=3), "here")
    assert config.gres_conf(replace(SETTINGS, gpus=3)) == "Name=gpu File=/run/dev/gpu/gpu[0-2]\n"
    assert "AccountingStoragePort=11001" in config.slurm_conf(replace(SETTINGS, accounting=True), "here")
    assert "DbdPort=11001" in config.slurmdbd_conf(replace(SETTINGS, accounting=True), "here")


def test_partitions_for_every_way_of_losing_a_job() -> None:
    partitions = {
        name: dict(word.split("=") for word in words)
        for name, *words in (line.split() for line in entries(config.slurm_conf(SETTINGS, "here"))["PartitionName"])
    }
    tier = {name: int(keys["PriorityTier"]) for name, keys in partitions.items()}
    assert [name for name, keys in partitions.items() if keys.get("Default") == "YES"] == ["main"]
    for name in ("low", "scavenge"):
        assert partitions[name]["PreemptMode"] == "REQUEUE"
        assert tier[name] < tier["main"] < tier["high"]
    assert int(partitions["low"]["GraceTime"]) > 0 == int(partitions["scavenge"]["GraceTime"])
    assert partitions["spot"]["PreemptMode"] == "CANCEL" and tier["spot"] < tier["high"]
    assert int(partitions["spot"]["GraceTime"]) > 0
    assert partitions["main"]["PreemptMode"] == partitions["high"]["PreemptMode"] == "OFF"
    assert partitions["short"]["MaxTime"] == "00:10:00"


def test_the_machine_gets_its_own_hosts_back_and_keeps_the_lines_of_another_cluster() -> None:
    machine = "127.0.0.1 localhost\n\n# a remark without an end"
    other = replace(SETTINGS, folder=Path("/run/dev2"), nodes=2)
    one = config.hosts(SETTINGS, machine)
    both = config.hosts(other, one)
    assert both.count(" node1 ") == 2
    assert config.without_ours(other, both) == one
    assert config.without_ours(SETTINGS, one) == machine
    assert config.hosts(SETTINGS, one) == one


def test_two_folders_have_two_blocks_of_ports_and_an_occupied_one_is_left_alone(tmp_path: Path) -> None:
    one = make_settings(Path("/tmp/slurm-a"), {})
    assert make_settings(Path("/tmp/slurm-a"), {}).port == one.port
    assert make_settings(Path("/tmp/slurm-b"), {}).port != one.port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports_of(one)[-1]))
        taken.listen()
        assert make_settings(Path("/tmp/slurm-a"), {}).port != one.port
    assert make_settings(Path("/tmp/slurm-a"), {"port": 20000}).port == 20000
    assert max(ports_of(replace(one, nodes=dev_settings.MAX_NODES))) < one.port + 101


@pytest.mark.parametrize(
    ("folder", "given", "words"),
    [
        ("/tmp/" + "long/" * 20, {}, "too long"),
        ("/tmp/a b", {}, "letters"),
        ("relative", {}, "full path"),
        ("/tmp/x", {"nodes": 0}, "--nodes 0"),
        ("/tmp/x", {"memory_mb": 1}, "--memory 1"),
        ("/tmp/x", {"gpus": -1}, "--gpus -1"),
        ("/tmp/x", {"port": 80}, "--port 80"),
        ("/tmp/x", {"isolation": "none", "node_tmp": True}, "--node-tmp"),
    ],
)
def test_what_slurm_would_refuse_less_clearly(folder: str, given: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check(replace(SETTINGS, folder=Path(folder), **given))  # type: ignore[arg-type]


def test_the_longest_folder_that_is_allowed_makes_no_path_that_is_too_long() -> None:
    fits = [n for n in range(120) if _is_allowed(Path("/" + "x" * n))]
    longest = replace(SETTINGS, folder=Path("/" + "x" * fits[-1])).spool("node4") / "node4_60000000.4294967291"
    assert len(str(longest)) == dev_settings.SOCKET_PATH_LIMIT


def _is_allowed(folder: Path) -> bool:
    with contextlib.suppress(UserError):
        check(replace(SETTINGS, folder=folder))
        return True
    return False


def test_an_existing_cluster_is_what_it_was_started_as(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "c", {"nodes": 2})
    settings.folder.mkdir()
    save_settings(settings)
    assert make_settings(settings.folder, {}) == settings
    assert make_settings(settings.folder, {"nodes": 2}) == settings
    with pytest.raises(UserError, match="was started with 2; wipe it first"):
        make_settings(settings.folder, {"nodes": 3})


def test_a_folder_with_something_else_in_it_is_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "thesis.tex").write_text("years of work")
    for command in ("start", "stop", "wipe", "status", "env", "restart"):
        assert main([command, "--folder", str(tmp_path)]) == 2, command
        assert len(capfd.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_without_root_one_line_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["start", "--folder", str(tmp_path / "c")]) == 2
    assert "root" in capfd.readouterr().err
    assert not (tmp_path / "c").exists()


def test_packages_that_are_there_are_not_installed() -> None:
    assert missing_packages({"sh": "dash", "ls": "coreutils"}) == []
    assert missing_packages({"sh": "dash", "no-such-a": "pack", "no-such-b": "pack"}) == ["pack"]
    assert "slurmdbd" not in needed_programs(SETTINGS)
    assert "slurmdbd" in needed_programs(replace(SETTINGS, accounting=True))


def test_the_profile_tells_the_truth() -> None:
    profile, settings = load_cluster("slurm-dev"), SETTINGS
    assert (profile.gpus_per_node, profile.cpus_per_node) == (settings.gpus, settings.cpus)
    assert {profile.partition, profile.cpu_partition} <= config.PARTITIONS.keys()
    assert profile.memory_gb_per_node is not None
    assert profile.memory_gb_per_node * 1024 <= settings.memory_mb
    assert config.PARTITIONS[str(profile.partition)]["MaxTime"] == "1-00:00:00"
    assert profile.max_timeout_minutes == 24 * 60


# On a cluster


@pytest.mark.slurm
def test_nodes_are_machines_of_their_own(slurm_cluster: DevCluster) -> None:
    names = [f"node{number}" for number in range(1, 5)]
    assert slurm_cluster.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T").split() == [
        word for name in names for word in (name, "idle")
    ]
    asks = 'echo $(hostname) $(getent hosts "$(hostname)" | wc -l) $(cat /proc/1/comm) $(env | grep -c SLURM_DEV)'
    answers = slurm_cluster.run("srun", "--nodes=4", "sh", "-c", f"{asks}; touch {slurm_cluster.folder}/local/mine")
    assert sorted(answers.splitlines()) == [f"{name} 1 sh 0" for name in names]
    assert not any((slurm_cluster.folder / "local").iterdir()), "a node's disk is its own"
    for name in names:
        assert [path.name for path in (slurm_cluster.settings.spool(name) / "local").iterdir()] == ["mine"]


@pytest.mark.slurm
def test_gpus_are_handed_out(slurm_cluster: DevCluster) -> None:
    job = ["srun", "--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2", "--gpus-per-task=1"]
    shown = slurm_cluster.run(*job, "sh", "-c", "echo $SLURM_NODEID $CUDA_VISIBLE_DEVICES $SLURM_STEP_GPUS")
    assert {tuple(line.split()[::2]) for line in shown.splitlines()} == {(node, gpu) for node in "01" for gpu in "01"}
    refused = slurm_cluster.call("sbatch", "--gpus-per-node=3", "--wrap=true")
    assert refused.returncode != 0
    assert "node configuration is not available" in refused.stderr


@pytest.mark.slurm
def test_an_array_and_what_waits_for_it(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    array = slurm_cluster.sbatch("--array=0-3%2", f"--output={tmp_path}/%a", "--wrap=echo $SLURM_ARRAY_TASK_ID")
    after = slurm_cluster.sbatch(
        f"--dependency=afterok:{array}", f"--output={tmp_path}/after", f"--wrap=cat {tmp_path}/[0-3]"
    )
    slurm_cluster.wait_for(after, "COMPLETED")
    assert (tmp_path / "after").read_text().split() == ["0", "1", "2", "3"]
    never = slurm_cluster.sbatch("--wrap=exit 3", "--output=/dev/null")
    behind = slurm_cluster.sbatch(f"--dependency=afterok:{never}", "--wrap=true", "--output=/dev/null")
    slurm_cluster.wait_for(never, "FAILED")
    slurm_cluster.wait_until(lambda: slurm_cluster.squeue(behind, "%r") == ["DependencyNeverSatisfied"])


@pytest.mark.slurm
def test_a_job_that_loses_a_node_starts_again_on_others(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    job = slurm_cluster.sbatch("--nodes=2", f"--output={tmp_path}/out", "--wrap=srun sleep 300")
    slurm_cluster.wait_for(job, "RUNNING")
    lost = slurm_cluster.nodes_of(job)[-1]
    slurm_cluster.power_off(lost)
    assert lost in slurm_cluster.down_nodes()
    slurm_cluster.wait_for_restart(job)
    assert lost not in slurm_cluster.nodes_of(job)
    slurm_cluster.power_on(lost)
    assert not slurm_cluster.down_nodes()


SIGNALS = """#!/bin/bash
trap 'echo batch TERM' TERM
srun bash -c 'trap "echo task TERM; exit 0" TERM; echo begun; for i in {1..600}; do sleep 0.1; done' &
while kill -0 $! 2> /dev/null; do wait $!; done
echo over
"""


@pytest.mark.slurm
def test_preemption_with_grace_warns_the_tasks_and_without_it_starts_the_job_again(
    slurm_cluster: DevCluster, tmp_path: Path
) -> None:
    script = tmp_path / "signals.sh"
    script.write_text(SIGNALS)
    jobs = {
        partition: slurm_cluster.sbatch(
            f"--partition={partition}", f"--output={tmp_path / partition}", "--open-mode=append", script
        )
        for partition in ("low", "scavenge")
    }
    slurm_cluster.wait_until(lambda: all("begun" in _read(tmp_path / partition) for partition in jobs))
    slurm_cluster.preempt(seconds=1)
    slurm_cluster.wait_for(jobs["low"], "COMPLETED")
    # srun's own remarks stand between the lines.
    said = [
        line for line in _read(tmp_path / "low").splitlines() if line in ("begun", "task TERM", "batch TERM", "over")
    ]
    assert said == ["begun", "task TERM", "over"]
    assert slurm_cluster.restarts(jobs["low"]) == 0
    slurm_cluster.wait_for_restart(jobs["scavenge"])
    slurm_cluster.wait_until(lambda: _read(tmp_path / "scavenge").count("begun") == 2)
    assert "DUE TO PREEMPTION" in _read(tmp_path / "scavenge")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.mark.slurm
def test_more_memory_than_asked_for_is_the_end(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    greedy = "import time; memory = bytearray(400 << 20); time.sleep(60)"
    job = slurm_cluster.sbatch("--mem=100", f"--output={tmp_path}/out", f"--wrap=srun {sys.executable} -c '{greedy}'")
    slurm_cluster.wait_for(job, "FAILED")
    assert "memory limit" in _read(tmp_path / "out")


@pytest.mark.slurm
def test_a_controller_that_is_away_keeps_no_job_from_running(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    job = slurm_cluster.sbatch(f"--output={tmp_path}/out", "--wrap=sleep 2; echo done")
    slurm_cluster.wait_for(job, "RUNNING", "COMPLETED")
    folder = ("--folder", str(slurm_cluster.folder))
    assert slurm_dev("power-off", *folder, "controller").returncode == 0
    assert slurm_dev("status", *folder).returncode == 1
    assert slurm_dev("power-on", *folder, "controller").returncode == 0
    slurm_cluster.wait_for(job, "COMPLETED")
    assert _read(tmp_path / "out") == "done\n"


@pytest.mark.slurm
def test_a_cut_cable_is_noticed_and_the_job_goes_elsewhere(slurm_network: DevCluster, tmp_path: Path) -> None:
    everywhere = slurm_network.run("srun", "--nodes=4", "hostname").split()
    assert sorted(everywhere) == slurm_network.settings.node_names
    job = slurm_network.sbatch(f"--output={tmp_path}/out", "--wrap=sleep 300")
    slurm_network.wait_for(job, "RUNNING")
    (node,) = slurm_network.nodes_of(job)
    assert answers(slurm_network, node)
    slurm_network.cut(node)
    assert not answers(slurm_network, node)
    slurm_network.wait_for_restart(job)
    assert slurm_network.nodes_of(job) != [node]
    slurm_network.join(node)
    assert answers(slurm_network, node)


def answers(cluster: DevCluster, node: str) -> bool:
    """Does the node take a connection within 2 s?"""
    number = cluster.settings.node_number(node)
    door = f"/dev/tcp/{config.node_address(cluster.settings, number)}/{cluster.settings.port + 10 + number}"
    return cluster.call("timeout", "2", "bash", "-c", f"exec 3<> {door}").returncode == 0


@pytest.mark.slurm
def test_accounting_is_real(slurm_accounting: DevCluster) -> None:
    job = slurm_accounting.sbatch("--wrap=exit 3", "--output=/dev/null")
    rows = ["sacct", "-n", "-X", "-P", "-o", "State,ExitCode", "-j", job]
    slurm_accounting.wait_until(lambda: slurm_accounting.run(*rows).strip() == "FAILED|3:0")
    refused = slurm_accounting.call("sbatch", "--account=nobody", "--wrap=true")
    assert "Invalid account" in refused.stderr


# From start to wipe


@pytest.fixture
def small(request: pytest.FixtureRequest) -> Iterator[DevCluster]:
    """One node, for this test only."""
    with dev_cluster("small", "--nodes=1", *getattr(request, "param", ())) as cluster:
        yield cluster


def folder_of(cluster: DevCluster) -> tuple[str, str]:
    return "--folder", str(cluster.folder)


@pytest.mark.slurm
def test_a_second_cluster_lives_beside_the_first(slurm_cluster: DevCluster, small: DevCluster) -> None:
    assert len(slurm_cluster.run("sinfo", "-h", "-N", "-p", "main").splitlines()) == 4
    assert len(small.run("sinfo", "-h", "-N", "-p", "main").splitlines()) == 1
    assert slurm_dev("wipe", *folder_of(small)).returncode == 0
    assert slurm_cluster.run("srun", "hostname").startswith("node")


@pytest.mark.slurm
def test_stop_ends_the_jobs_and_start_goes_on_counting(small: DevCluster) -> None:
    jobs = [small.sbatch("--output=/dev/null", "--wrap=sleep 300")]
    small.wait_for(jobs[0], "RUNNING")
    for _ in range(2):
        assert slurm_dev("stop", *folder_of(small)).returncode == 0
        assert processes.find(small.settings) == []
        assert slurm_dev("stop", *folder_of(small)).returncode == 0
        assert slurm_dev("start", *folder_of(small)).returncode == 0
        small.wait_for(jobs[-1], "CANCELLED")
        jobs.append(small.sbatch("--output=/dev/null", "--wrap=sleep 300"))
        small.wait_for(jobs[-1], "RUNNING")
    assert sorted(map(int, jobs)) == [*map(int, jobs)]
    assert len({*jobs}) == 3


@pytest.mark.slurm
def test_start_again_mends_what_is_broken_and_leaves_what_runs(small: DevCluster) -> None:
    before = {process.pid for process in processes.find(small.settings)}
    assert slurm_dev("start", *folder_of(small)).returncode == 0
    assert {process.pid for process in processes.find(small.settings)} == before
    for role in ("munge", "node1", "controller"):
        for process in processes.find(small.settings, role):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    assert slurm_dev("start", *folder_of(small)).returncode == 0
    assert small.run("srun", "hostname") == "node1\n"


@pytest.mark.slurm
@pytest.mark.parametrize("small", [(), ("--isolation=none",), ("--isolation=net",)], indirect=True, ids=str)
def test_wipe_leaves_no_process_no_folder_and_the_hosts_file_as_it_was(small: DevCluster) -> None:
    hosts = Path("/etc/hosts").read_text()
    small.sbatch("--output=/dev/null", "--wrap=srun sleep 4321")
    small.wait_until(lambda: sleepers())
    assert slurm_dev("wipe", *folder_of(small)).returncode == 0
    assert processes.find(small.settings) == []
    assert not sleepers()
    assert not small.folder.exists()
    assert config.without_ours(small.settings, hosts) == Path("/etc/hosts").read_text()
    assert slurm_dev("wipe", *folder_of(small)).returncode == 0, "there is nothing to wipe, which is fine"


def sleepers() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[1:] == ["4321"]]


@pytest.mark.slurm
def test_a_start_that_is_killed_halfway_does_no_harm(small: DevCluster) -> None:
    for seconds in (0.1, 0.2, 0.3):
        assert slurm_dev("stop", *folder_of(small)).returncode == 0
        command = [sys.executable, "-m", "slurm.dev", "start", *folder_of(small)]
        half = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        half.send_signal(signal.SIGKILL)
        half.wait()
        assert slurm_dev("start", *folder_of(small)).returncode == 0
        assert len(processes.find(small.settings, "munge")) == 1
        assert small.run("srun", "hostname") == "node1\n"


@pytest.mark.slurm
def test_the_command_line_in_a_users_hands(small: DevCluster) -> None:
    folder = folder_of(small)
    shell = f'eval "$({sys.executable} -m slurm.dev env {" ".join(folder)})" && srun hostname'
    assert subprocess.run(["sh", "-c", shell], cwd=ROOT, capture_output=True, text=True).stdout == "node1\n"
    assert slurm_dev("exec", *folder, "squeue", "-h").stdout == ""
    assert slurm_dev("exec", *folder, "sh", "-c", "exit 7").returncode == 7
    for words, line in {
        ("power-off", "9"): "node '9': there is no such node; known: node1",
        ("cut", "1"): "--isolation net",
        ("exec",): "no command",
        ("exec", "no-such-command"): "No such file",
        ("nudge", "1"): "Invalid job id",
        ("start", "--nodes=2"): "was started with 1",
    }.items():
        done = slurm_dev(words[0], *folder, *words[1:])
        assert (done.returncode, done.stdout) == (2, ""), words
        assert line in done.stderr
        assert len(done.stderr.splitlines()) == 1
