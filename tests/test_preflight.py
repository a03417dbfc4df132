"""The check of a job's nodes before it begins: the verdict as a table, and real processes that play nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from slurm_support import DevCluster, slurm_clusters, slurm_network  # noqa: F401

from urbanvlm.runtime.verdict import PREFIX, Verdict, verdict

ROOT = Path(__file__).parent.parent
NODES = ("a", "b", "c", "d")


def answers(count: int, **changes: dict[str, Any] | None) -> list[str]:
    """What `count` good nodes say, some of them with changes; None says nothing."""
    names = NODES[:count]
    lines = ["Lmod is loading modules", PREFIX + '{"node": "a", "ra', ""]
    for rank, name in enumerate(names):
        good = {
            "node": name,
            "rank": rank,
            "wrote": f"word of {name}",
            "sees": {other: f"word of {other}" for other in names},
            "versions": {"Python": "3.11.7", "torch": "2.9.0", "code": "abc"},
            "all_reduce": {"gloo": "ok"},
            "a fact of a later version": 1,
        }
        change = changes.get(name, {})
        if change is not None:
            lines.append("0: " + PREFIX + json.dumps(good | change))
    return lines


def judge(count: int, **changes: dict[str, Any] | None) -> Verdict:
    return verdict(NODES[:count], answers(count, **changes))


def faulty(kind: str, text: str) -> dict[str, Any]:
    return {"faults": {kind: text}, "all_reduce": {}}


def other(**versions: str) -> dict[str, Any]:
    return {"versions": {"Python": "3.11.7", "torch": "2.9.0", "code": "abc"} | versions}


def sees(*names: str) -> dict[str, Any]:
    return {"sees": {name: f"word of {name}" for name in names}, "all_reduce": {}}


NOT_TRIED: dict[str, Any] = {"all_reduce": {}}
WAITED: dict[str, Any] = {"all_reduce": {"gloo": "waited in vain (timed out)"}}
UNKNOWN = {"unreachable": "MASTER_ADDR=x has no address here", "unknown_name": True, "all_reduce": {}}


class TestVerdict:
    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_all_is_well(self, count: int) -> None:
        assert judge(count) == Verdict()
        assert judge(count).is_good

    @pytest.mark.parametrize(
        ("count", "changes", "bad"),
        [
            (2, {"b": None, "a": NOT_TRIED}, {"b": "gave no answer"}),
            (4, {"a": None, "c": None}, {"a": "gave no answer", "c": "gave no answer"}),
            (2, {"b": {"doing": "to import torch"}}, {"b": "did not finish to import torch"}),
            (1, {"a": faulty("gpu", "GPU 3: Xid")}, {"a": "GPU 3: Xid"}),
            (2, {"b": faulty("gpus", "shows 3 GPUs of 4"), "a": NOT_TRIED}, {"b": "shows 3 GPUs of 4"}),
            (
                4,
                {"a": sees("a"), "b": sees("b", "c", "d"), "c": sees("b", "c", "d"), "d": sees("b", "c", "d")},
                {"a": "does not see the folder of the others"},
            ),
            (
                4,
                {"d": {"wrote": "", "sees": {}, "folder_error": "/x: no such folder", "all_reduce": {}}},
                {"d": "/x: no such folder"},
            ),
            (2, {"a": sees("a")}, {"b": "came too late"}),
            (4, {"c": other(torch="2.8.0")}, {"c": "has torch 2.8.0, the others 2.9.0"}),
            (4, {"a": other(code="old")}, {"a": "has code old, the others abc"}),
            (2, {"b": {"clock_ahead": 31.0}}, {"b": "its clock is 31 s ahead of a's"}),
            (4, {"b": {"clock_ahead": -500.0}}, {"b": "its clock is 500 s behind a's"}),
            (
                4,
                {name: {"clock_ahead": 60.0} for name in "bcd"},
                {"a": "its clock differs from that of most nodes"},
            ),
            (2, {"b": {"unreachable": "refused", **NOT_TRIED}, "a": NOT_TRIED}, {"b": "refused"}),
            (4, {name: {"unreachable": "refused", **NOT_TRIED} for name in "bcd"}, {"a": "most cannot reach it"}),
            (4, {"c": {"all_reduce": {"gloo": "no ib0"}}, "a": WAITED, "b": WAITED, "d": WAITED}, "c"),
            (2, {"a": WAITED, "b": WAITED}, "b"),
            (2, {"b": {"all_reduce": {"gloo": "ok", "nccl": "unhandled system error"}}}, "b"),
            (2, {"a": None, "b": {"unreachable": "no first", **NOT_TRIED}}, {"a": "gave no answer"}),
        ],
    )
    def test_nodes_that_are_bad(self, count: int, changes: dict[str, Any], bad: dict[str, str] | str) -> None:
        found = judge(count, **changes)
        assert found.problem is None
        if isinstance(bad, str):
            assert [*found.bad] == [bad]
        else:
            assert found.bad == bad

    @pytest.mark.parametrize(
        ("count", "changes", "words"),
        [
            (1, {"a": {"folder_error": "/x: no such folder", "wrote": "", "sees": {}}}, "a: /x: no such folder"),
            (2, {"a": None, "b": None}, "gave no answer"),
            (4, {"a": None, "b": None, "c": None}, "gave no answer"),
            (4, {name: faulty("gpus", "shows 0 GPUs of 4") for name in NODES}, "a, b, c, d of 4 nodes: shows 0 GPUs"),
            (2, {"a": sees("a"), "b": sees("b")}, "the folder is not shared: b does not see what a writes"),
            (4, {name: sees(name) for name in NODES}, "the folder is not shared"),
            (4, {"a": sees("a", "b"), "b": sees("a", "b"), "c": sees("c", "d"), "d": sees("c", "d")}, "not shared"),
            (2, {"b": {"sees": {"a": "an older word", "b": "word of b"}}, "a": sees("a")}, "not shared"),
            (2, {"b": {"wrote": "", "sees": {}, "folder_error": "/x: no such folder"}}, "(/x: no such folder)"),
            (2, {"b": other(torch="2.8.0")}, "the nodes differ in torch: "),
            (4, {"b": other(code="x"), "c": other(code="y")}, "the nodes differ in code"),
            (4, {"b": UNKNOWN, "c": UNKNOWN, "d": UNKNOWN}, "MASTER_ADDR=x has no address here"),
            (4, {name: {"all_reduce": {"gloo": "no ib0"}} for name in NODES}, "gloo all-reduce: no ib0"),
            (4, dict.fromkeys(NODES, WAITED), "all-reduce: waited in vain"),
            (2, {"a": NOT_TRIED, "b": NOT_TRIED}, "could not try an all-reduce"),
        ],
    )
    def test_nobodys_fault(self, count: int, changes: dict[str, Any], words: str) -> None:
        found = judge(count, **changes)
        assert found.bad == {}
        assert found.problem is not None
        assert words in found.problem

    def test_another_jobs_node_does_not_count(self) -> None:
        assert verdict(("a",), [*answers(1), PREFIX + json.dumps({"node": "z", "rank": 1})]) == Verdict()


def check(folder: Path, rank: int, of: int, *words: str, **variables: str) -> subprocess.Popen[str]:
    """The check of the node `node<rank>`, whose name is the environment's word."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "MASTER_", "GLOO_", "URBANVLM_"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SLURMD_NODENAME": f"node{rank}"}
    environment |= {"MASTER_ADDR": "localhost"} | variables
    command = [sys.executable, "-m", "urbanvlm.runtime.preflight", "check", str(folder)]
    return subprocess.Popen(
        [*command, "--rank", str(rank), "--of", str(of), *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(folder: Path, count: int, *processes: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and line of the verdict over what they print: a line each, whatever happens."""
    with ThreadPoolExecutor() as pool:
        printed = list(pool.map(lambda process: process.communicate(timeout=240)[0], processes))
    assert [out.count(PREFIX) for out in printed] == [1] * len(printed)
    files = []
    for number, out in enumerate(printed):
        files.append(folder / f"lines-{number}")
        files[-1].write_text(out)
    names = ",".join(f"node{rank}" for rank in range(count))
    command = [sys.executable, "-m", "urbanvlm.runtime.preflight", "verdict", folder, names, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1, done
    return done.returncode, done.stdout.strip()


def test_two_good_nodes(tmp_path: Path) -> None:
    assert outcome(tmp_path, 2, *(check(tmp_path, rank, 2) for rank in range(2))) == (0, "preflight: 2 nodes good")
    facts = json.loads((tmp_path / "preflight.json").read_text())
    assert [answer["all_reduce"] for answer in facts["answers"]] == [{"gloo": "ok"}] * 2
    assert (tmp_path / "bad-nodes").read_text() == ""
    assert not (tmp_path / "error-0").exists()


def test_one_node_alone(tmp_path: Path) -> None:
    assert outcome(tmp_path, 1, check(tmp_path, 0, 1)) == (0, "preflight: 1 node good")


def test_a_node_that_never_comes(tmp_path: Path) -> None:
    code, line = outcome(tmp_path, 2, check(tmp_path, 0, 2, "--seconds", "16"))
    assert (code, line) == (3, "preflight: 1 of 2 nodes bad: node1: gave no answer")
    assert (tmp_path / "bad-nodes").read_text() == "node1\n"


def test_a_folder_that_is_not_shared(tmp_path: Path) -> None:
    folders = tmp_path / "here", tmp_path / "there"
    for folder in folders:
        folder.mkdir()
    checks = [check(folder, rank, 2, "--seconds", "16") for rank, folder in enumerate(folders)]
    code, line = outcome(folders[0], 2, *checks)
    assert code == 2
    assert "the folder is not shared: node1 does not see what node0 writes there" in line
    assert (folders[0] / "error-0").read_text() == f"{line}\n"
    assert (folders[0] / "bad-nodes").read_text() == ""


def test_a_check_that_hangs_still_speaks(tmp_path: Path) -> None:
    """Reading a FIFO that nobody writes hangs, as a dead file server does."""
    (tmp_path / "preflight" / "0-0").mkdir(parents=True)
    os.mkfifo(tmp_path / "preflight" / "0-0" / "0.json")
    assert outcome(tmp_path, 2, check(tmp_path, 1, 2, "--seconds", "4"))[0] == 3
    (answer,) = json.loads((tmp_path / "preflight.json").read_text())["answers"]
    assert answer["doing"] == "to look at the folder"


def test_a_node_whose_torch_is_broken(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("import os\nos._exit(7)\n")
    path = f"{tmp_path / 'broken'}{os.pathsep}{ROOT}"
    code, line = outcome(tmp_path, 1, check(tmp_path, 0, 1, PYTHONPATH=path))
    assert (code, line) == (
        3,
        "preflight: 1 of 1 node bad: node0: the check ended with exit code 7 where it wanted to import torch",
    )


def test_faults_of_a_node_that_it_finds_itself(tmp_path: Path) -> None:
    node = check(tmp_path, 0, 1, "--gpus", "99", "--scratch", "/no/such/disk")
    code, line = outcome(tmp_path, 1, node)
    assert code == 3
    assert "GPUs of the 99 that the job needs" in line
    assert "cannot write /no/such/disk (No such file or directory)" in line


def test_lines_that_are_not_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "urbanvlm.runtime.preflight", "verdict", tmp_path, "a", tmp_path / "none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"{tmp_path / 'none'}: No such file or directory\n"


BATCH = """#!/bin/bash
export PYTHONPATH={root} OMP_NUM_THREADS=1
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR=${{nodes%%$'\\n'*}}
rank=0
for node in $nodes; do
    srun --nodelist="$node" --nodes=1 --ntasks=1 --ntasks-per-node=1 {python} -m urbanvlm.runtime.preflight \\
        check {folder} --rank $rank --of "$SLURM_JOB_NUM_NODES" --seconds {seconds} >{folder}/lines-$node &
    rank=$((rank + 1))
done
wait
{python} -m urbanvlm.runtime.preflight verdict {folder} "$nodes" {folder}/lines-* >{folder}/verdict
echo $? >{folder}/exit
"""


def route(cluster: DevCluster, act: str, node: str, other: str) -> None:
    """Let `node` answer `other` no more, or again. Slurm's controller still reaches it, and takes it for good."""
    address = f"$(getent hosts {other} | cut -d' ' -f1)"
    cluster.run("srun", "--nodes=1", f"--nodelist={node}", "bash", "-c", f"ip route {act} blackhole {address}")


@pytest.mark.slurm
def test_two_jobs_of_which_one_has_a_bad_network(slurm_network: DevCluster, tmp_path: Path) -> None:  # noqa: F811
    jobs = {"good": ("node1", "node2", 180), "bad": ("node3", "node4", 60)}
    route(slurm_network, "add", "node4", "node3")
    try:
        for name, (one, other, seconds) in jobs.items():
            folder, batch = tmp_path / name, tmp_path / f"{name}.sh"
            folder.mkdir()
            batch.write_text(BATCH.format(root=ROOT, folder=folder, python=sys.executable, seconds=seconds))
            slurm_network.sbatch(f"--nodelist={one},{other}", "--nodes=2", "-o", folder / "out", batch)
        for name in jobs:
            slurm_network.wait_until((tmp_path / name / "exit").exists, 240)
    finally:
        route(slurm_network, "del", "node4", "node3")
    assert (tmp_path / "good" / "verdict").read_text() == "preflight: 2 nodes good\n"
    assert (tmp_path / "good" / "exit").read_text() == "0\n"
    assert (tmp_path / "bad" / "verdict").read_text() == "preflight: 1 of 2 nodes bad: node4: gave no answer\n"
    assert (tmp_path / "bad" / "bad-nodes").read_text() == "node4\n"
    assert (tmp_path / "bad" / "exit").read_text() == "3\n"
