"""Where the processes of a job meet, and what each is told when they do not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from slurm_support import DevCluster, slurm_clusters, slurm_network  # noqa: F401
from torch.distributed import HashStore

from urbanvlm.errors import UserError
from urbanvlm.runtime.rendezvous import Met, Peer, check_gloo_interface, meet, ports_of

ROOT = Path(__file__).parent.parent
JOIN = """
import os, sys
from pathlib import Path
from urbanvlm.errors import UserError
from urbanvlm.runtime.process_group import process_group
rank, local_rank, size = (int(os.environ[name]) for name in sys.argv[1:])
try:
    with process_group(rank, local_rank, size) as group:
        from deepspeed import comm
        ranks = comm.get_rank(), comm.get_world_size(), comm.get_local_rank()
        line = f"{ranks} {group.sum(1.0, rank)} {os.environ.get('GLOO_SOCKET_IFNAME')}"
    left = [task for task in Path("/proc/self/task").iterdir() if "gloo" in (task / "comm").read_text()]
    # One write, so that no other process's line comes between.
    os.write(1, f"{line} {len(left)} threads left\\n".encode())
except UserError as error:
    os.write(1, f"UserError: {error}\\n".encode())
    sys.exit(2)
"""


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def here(seconds: float = 30.0, **variables: object) -> dict[str, str]:
    return {name: str(value) for name, value in variables.items()} | {"URBANVLM_MEET_SECONDS": str(seconds)}


def together(*processes: tuple[int, int, Mapping[str, str]]) -> list[Met | str]:
    """(rank, world size, environment) each, all at once: who met, or the error as it is told."""

    def one(process: tuple[int, int, Mapping[str, str]]) -> Met | str:
        try:
            return meet(*process)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(one, processes))


def start(program: str, *words: str, **variables: object) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MASTER_", "URBANVLM_", "GLOO_", "SLURM"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    environment |= {name: str(value) for name, value in variables.items()}
    command = [sys.executable, *words, program, "RANK", "LOCAL_RANK", "WORLD_SIZE"]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class TestMeeting:
    @pytest.mark.parametrize("way", ["address and port", "address and file", "file"])
    def test_all_hear_of_all(self, way: str, tmp_path: Path) -> None:
        place = {
            "address and port": {"MASTER_ADDR": "localhost", "MASTER_PORT": free_port()},
            "address and file": {"MASTER_ADDR": "localhost", "URBANVLM_RENDEZVOUS": tmp_path / "a b #é"},
            "file": {"URBANVLM_RENDEZVOUS": tmp_path / "a b #é"},
        }[way]
        found = together(*((rank, 3, here(**place)) for rank in range(3)))
        for met in found:
            assert isinstance(met, Met)
            assert [peer.world_size for peer in met.peers] == [3, 3, 3]
            assert met.on_one_machine
            met.store.add("sum", 1)
        assert isinstance(found[0], Met)
        assert found[0].store.add("sum", 0) == 3

    def test_a_given_port_comes_before_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "rendezvous"
        place = here(MASTER_ADDR="localhost", MASTER_PORT=free_port(), URBANVLM_RENDEZVOUS=file)
        assert all(isinstance(met, Met) for met in together(*((rank, 2, place) for rank in range(2))))
        assert not file.exists()

    def test_two_jobs_that_want_the_same_port_both_get_one(self, tmp_path: Path) -> None:
        places = [
            here(MASTER_ADDR="localhost", URBANVLM_JOB="17", URBANVLM_RENDEZVOUS=tmp_path / name) for name in "ab"
        ]
        found = together(*((rank, 2, place) for place in places for rank in range(2)))
        assert all(isinstance(met, Met) for met in found), found
        ports = {int(file.read_text().rpartition(":")[2]) for file in tmp_path.iterdir()}
        assert len(ports) == 2
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        assert all(10_000 <= port < 32_768 and not first <= port <= last for port in ports)

    def test_jobs_begin_at_different_ports(self) -> None:
        assert len({ports_of(str(job))[0] for job in range(100)}) > 90
        assert sorted(ports_of("1")) == sorted(ports_of("2"))


class TestNotMeeting:
    def test_who_is_missing_is_told_to_all(self, tmp_path: Path) -> None:
        place = here(3, MASTER_ADDR="localhost", URBANVLM_RENDEZVOUS=tmp_path / "file")
        told = together(*((rank, 6, place) for rank in (0, 1, 3)))
        assert [str(line).partition(";")[0] for line in told] == ["ranks 2, 4-5 of 6: have not come within 3 s"] * 3

    def test_nobody_writes_the_file(self, tmp_path: Path) -> None:
        (told,) = together((1, 2, here(1, MASTER_ADDR="first", URBANVLM_RENDEZVOUS=tmp_path / "file")))
        assert f"rank 0 should have written {tmp_path / 'file'} within 1 s" in str(told)
        assert "rank 1 on " in str(told)
        assert "on first" in str(told)

    def test_a_name_without_an_address(self, tmp_path: Path) -> None:
        (told,) = together((0, 2, here(1, MASTER_ADDR="no.such.invalid", URBANVLM_RENDEZVOUS=tmp_path / "file")))
        assert "MASTER_ADDR=no.such.invalid has no address here" in str(told)

    def test_nobody_listens(self) -> None:
        (told,) = together((1, 2, here(1, MASTER_ADDR="localhost", MASTER_PORT=free_port())))
        assert "cannot reach rank 0 at localhost" in str(told)

    def test_a_port_that_is_taken(self) -> None:
        with socket.create_server(("", 0)) as other:
            port = other.getsockname()[1]
            (told,) = together((0, 2, here(MASTER_ADDR="localhost", MASTER_PORT=port)))
        assert f"port {port} is taken" in str(told)

    def test_different_world_sizes(self, tmp_path: Path) -> None:
        place = here(MASTER_ADDR="localhost", URBANVLM_RENDEZVOUS=tmp_path / "file")
        told = together((0, 3, place), (1, 3, place), (2, 4, place))
        assert len({*map(str, told)}) == 1
        assert "counts 3 processes" in str(told[0]) or "counts 4 processes" in str(told[0])

    def test_one_that_comes_late_is_told_the_reason_too(self, tmp_path: Path) -> None:
        place = here(MASTER_ADDR="localhost", URBANVLM_RENDEZVOUS=tmp_path / "file")
        with ThreadPoolExecutor() as pool:
            first = pool.submit(together, (0, 3, place), (2, 4, place))
            while not (tmp_path / "file").exists():
                time.sleep(0.1)
            time.sleep(2)
            (late,) = together((1, 3, place))
            assert {str(late)} == {*map(str, first.result())}

    def test_two_with_one_rank(self, tmp_path: Path) -> None:
        place = here(2, MASTER_ADDR="localhost", URBANVLM_RENDEZVOUS=tmp_path / "file")
        told = [str(line) for line in together((0, 3, place), (1, 3, place), (1, 3, place))]
        assert sum("two processes call themselves rank 1" in line for line in told) == 1
        assert sum("rank 2 of 3: has not come" in line for line in told) == 2

    @pytest.mark.parametrize("way", ["file", "address and file"])
    def test_the_place_of_an_earlier_start(self, way: str, tmp_path: Path) -> None:
        place = here(2, URBANVLM_RENDEZVOUS=tmp_path / "file")
        if way == "address and file":
            place["MASTER_ADDR"] = "localhost"
        earlier = together((0, 2, place), (1, 2, place))
        assert all(isinstance(met, Met) for met in earlier)
        (told,) = together((0, 2, place))
        assert "earlier start" in str(told)

    @pytest.mark.parametrize(
        ("place", "words"),
        [
            ({}, "have nowhere to meet"),
            ({"MASTER_ADDR": "localhost"}, "have nowhere to meet"),
            ({"MASTER_ADDR": "localhost", "MASTER_PORT": "http"}, "MASTER_PORT=http: is not the number of a port"),
            ({"MASTER_ADDR": "localhost", "MASTER_PORT": "70000"}, "MASTER_PORT=70000"),
            ({"URBANVLM_RENDEZVOUS": "/no/such/folder/file"}, "there is no folder /no/such/folder on this node"),
            ({"URBANVLM_MEET_SECONDS": "soon"}, "URBANVLM_MEET_SECONDS=soon: is not a number"),
            ({"URBANVLM_MEET_SECONDS": "nan"}, "URBANVLM_MEET_SECONDS=nan: is not a number"),
            ({"URBANVLM_MEET_SECONDS": "inf"}, "URBANVLM_MEET_SECONDS=inf: is not a number"),
            ({"URBANVLM_MEET_SECONDS": "0"}, "URBANVLM_MEET_SECONDS=0: is not a number"),
        ],
    )
    def test_settings_that_cannot_be(self, place: dict[str, str], words: str) -> None:
        with pytest.raises(UserError) as error:
            meet(0, 2, place)
        assert words in str(error.value)


class TestInterface:
    @staticmethod
    def met(*machines: str) -> Met:
        return Met(HashStore(), tuple(Peer(len(machines), f"node-{machine}", machine) for machine in machines))

    def test_one_machine_needs_no_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: "no.such.invalid")
        assert check_gloo_interface(self.met("a", "a"), {}) == "lo"

    @pytest.mark.parametrize(("name", "words"), [("localhost", "127.0.0.1"), ("no.such.invalid", "has no address")])
    def test_a_name_that_other_nodes_cannot_use(self, name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: name)
        with pytest.raises(UserError, match="set GLOO_SOCKET_IFNAME") as error:
            check_gloo_interface(self.met("a", "b"), {})
        assert words in str(error.value)

    def test_what_the_user_says_counts(self) -> None:
        assert check_gloo_interface(self.met("a", "b"), {"GLOO_SOCKET_IFNAME": "ib0"}) == "ib0"


def outcome(*processes: subprocess.Popen[str]) -> list[str]:
    """What they print, sorted by line."""
    with ThreadPoolExecutor() as pool:
        printed = list(pool.map(lambda process: process.communicate(timeout=120), processes))
    assert all(process.returncode == 0 for process in processes), printed
    return sorted(line for out, _ in printed for line in out.splitlines())


@pytest.fixture
def join_script(tmp_path: Path) -> Path:
    script = tmp_path / "join.py"
    script.write_text(JOIN)
    return script


class TestProcessGroup:
    def test_torchrun(self, join_script: Path) -> None:
        run = start(str(join_script), "-m", "torch.distributed.run", "--nproc-per-node", "2")
        assert outcome(run) == ["(0, 2, 0) (2.0, 1.0) lo 0 threads left", "(1, 2, 1) (2.0, 1.0) lo 0 threads left"]

    def test_two_nodes_of_one_process_each(self, join_script: Path, tmp_path: Path) -> None:
        place = {"MASTER_ADDR": "localhost", "URBANVLM_RENDEZVOUS": tmp_path / "file", "WORLD_SIZE": 2}
        nodes = [start(str(join_script), RANK=rank, LOCAL_RANK=0, **place) for rank in range(2)]
        assert outcome(*nodes) == ["(0, 2, 0) (2.0, 1.0) lo 0 threads left", "(1, 2, 0) (2.0, 1.0) lo 0 threads left"]


@pytest.mark.slurm
def test_nodes_with_networks_of_their_own(
    slurm_network: DevCluster,  # noqa: F811
    join_script: Path,
    tmp_path: Path,
) -> None:
    batch = tmp_path / "batch.sh"
    words = f"{sys.executable} {join_script} SLURM_PROCID SLURM_LOCALID SLURM_NTASKS"
    lines = [
        "#!/bin/bash",
        f"export PYTHONPATH={ROOT} OMP_NUM_THREADS=1 URBANVLM_JOB=$SLURM_JOB_ID",
        "export MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -1)",
        f"URBANVLM_RENDEZVOUS={tmp_path}/good srun {words}",
        # The loopback is the one interface that both nodes have and do not share.
        "export GLOO_SOCKET_IFNAME=lo",
        f"URBANVLM_RENDEZVOUS={tmp_path}/bad srun --ntasks=2 --ntasks-per-node=1 --kill-on-bad-exit {words}",
    ]
    batch.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    job = slurm_network.sbatch("-N2", "--ntasks-per-node=2", "-o", out, batch)
    slurm_network.wait_for(job, "COMPLETED", "FAILED", seconds=240)
    printed = sorted(line for line in out.read_text().splitlines() if line.startswith(("(", "UserError")))
    assert printed[:4] == [
        "(0, 4, 0) (4.0, 6.0) None 0 threads left",
        "(1, 4, 1) (4.0, 6.0) None 0 threads left",
        "(2, 4, 0) (4.0, 6.0) None 0 threads left",
        "(3, 4, 1) (4.0, 6.0) None 0 threads left",
    ]
    told = printed[4:]
    assert told
    assert all("cannot connect to each" in line and "GLOO_SOCKET_IFNAME is lo" in line for line in told), told
