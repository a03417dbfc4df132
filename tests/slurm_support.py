"""A real Slurm for tests: started once for all of them, and in order again after each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from slurm.dev import commands, daemons, isolation, processes
from slurm.dev.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
FOLDERS = Path("/tmp")
PREFIX = "slurm-test-"
SECONDS = 60.0


def slurm_dev(*words: str) -> subprocess.CompletedProcess[str]:
    """`python -m slurm.dev` as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "slurm.dev", *words], cwd=ROOT, capture_output=True, text=True, timeout=180
    )


class DevCluster:
    """A cluster that is up. Commands that need it run through `run` or `call`, or with `environment` and `prefix`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.folder

    @property
    def environment(self) -> dict[str, str]:
        """For a subprocess: nothing of another cluster, and SLURM_CONF."""
        return processes.clean_environment(self.settings)

    @property
    def prefix(self) -> list[str]:
        """Words before a command that shall reach the controller: none, but in isolation net."""
        return isolation.client_prefix(self.settings)

    def call(
        self,
        *command: str | Path,
        cwd: Path = ROOT,
        timeout: float = SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            cwd=cwd,
            env=self.environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def run(self, *command: str | Path, cwd: Path = ROOT, timeout: float = SECONDS) -> str:
        """What it prints; fails if it fails."""
        done = self.call(*command, cwd=cwd, timeout=timeout)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def sbatch(self, *options: str | Path, cwd: Path = ROOT) -> str:
        """Options and script, or a `--wrap=…`. The job's id."""
        return self.run("sbatch", "--parsable", *options, cwd=cwd).strip()

    def squeue(self, job: str, column: str = "%T") -> list[str]:
        """One line a job or array element; those that have ended are still known here."""
        return self.run("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", column).split("\n")[:-1]

    def restarts(self, job: str) -> int:
        return int(self.run("squeue", "-h", "-t", "all", "-j", job, "-O", "RestartCnt:12").split()[0])

    def wait_for(self, job: str, *states: str, seconds: float = SECONDS) -> None:
        """Until every element of the job is in one of the states."""
        self.wait_until(
            lambda: {*self.squeue(job)} <= {*states}, seconds, lambda: f"job {job} is {self.squeue(job, '%T %r')}"
        )

    @staticmethod
    def wait_until(
        condition: Callable[[], object], seconds: float = SECONDS, otherwise: Callable[[], str] = lambda: "in vain"
    ) -> None:
        assert processes.wait_until(condition, seconds), otherwise()

    def wait_for_restart(self, job: str, times: int = 1, seconds: float = SECONDS) -> None:
        """Until Slurm has started it again for the so manieth time, without the wait that Slurm gives it before."""

        def running_again() -> bool:
            self.nudge()
            return self.restarts(job) >= times and self.squeue(job) == ["RUNNING"]

        self.wait_until(running_again, seconds, lambda: self.run("scontrol", "show", "job", job))
        assert self.restarts(job) == times

    def nodes_of(self, job: str) -> list[str]:
        """Of a running job."""
        (nodes,) = self.squeue(job, "%N")
        return self.run("scontrol", "show", "hostnames", nodes).split()

    def power_off(self, node: str, *, noticed: bool = True) -> None:
        """noticed: Slurm is told at once; else it takes about half a minute."""
        daemons.power_off(self.settings, self.settings.node_number(node), noticed=noticed)

    def power_on(self, node: str) -> None:
        daemons.power_on(self.settings, self.settings.node_number(node))

    def cut(self, node: str) -> None:
        isolation.set_cable(self.settings, self.settings.node_number(node), up=False)

    def join(self, node: str) -> None:
        isolation.set_cable(self.settings, self.settings.node_number(node), up=True)

    def nudge(self, job: str | None = None) -> list[str]:
        """Requeued jobs start in two seconds. May be called again and again while a test waits."""
        return commands.nudge(self.settings, job)

    def preempt(self, job: str | None = None, seconds: int = 5) -> str:
        return commands.preempt(self.settings, job, seconds)

    def down_nodes(self) -> set[str]:
        return {*self.settings.node_names} - daemons.ready_nodes(self.settings)

    def put_in_order(self) -> None:
        """No job, and every node ready."""
        daemons.start_controller(self.settings)
        daemons.cancel_all(self.settings)
        # One that was off, or cut off, is not waited for: a fresh start is quicker.
        for name in self.down_nodes():
            self.power_off(name)
            self.power_on(name)
        self.wait_until(lambda: not self.run("squeue", "-h"), otherwise=lambda: self.run("squeue"))
        self.wait_until(lambda: not self.down_nodes(), otherwise=lambda: self.run("sinfo", "-N", "-l"))


@contextmanager
def dev_cluster(name: str, *options: str) -> Iterator[DevCluster]:
    """A cluster of its own, gone at the end whatever happens. Skips the test where none can be."""
    if os.geteuid():
        pytest.skip("missing: root, without whom Slurm's daemons do not start")
    for program in ("slurmctld", "slurmd", "srun", "munged"):
        if not shutil.which(program):
            pytest.skip(f"missing: {program} (apt-get install slurm-wlm munge)")
    _wipe_those_of_the_dead()
    folder = FOLDERS / f"{PREFIX}{os.getpid()}-{name}"
    try:
        started = slurm_dev("start", "--folder", str(folder), *options)
        if "is not installed" in started.stderr or "not possible here" in started.stderr:
            pytest.skip(f"missing: {started.stderr.strip()}")
        assert started.returncode == 0, started.stderr
        yield DevCluster(load_settings(folder))
    finally:
        wiped = slurm_dev("wipe", "--folder", str(folder))
        assert wiped.returncode == 0, wiped.stderr


def _wipe_those_of_the_dead() -> None:
    """A test run that was killed could not wipe its clusters."""
    for folder in FOLDERS.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            slurm_dev("wipe", "--folder", str(folder))


@pytest.fixture(scope="session")
def slurm_clusters() -> Iterator[Callable[..., DevCluster]]:
    """Starts a cluster when it is asked for first, and wipes all at the end."""
    clusters: dict[str, DevCluster] = {}
    with ExitStack() as stack:

        def get(name: str, *options: str) -> DevCluster:
            if name not in clusters:
                clusters[name] = stack.enter_context(dev_cluster(name, *options))
            return clusters[name]

        yield get


def _in_order(cluster: DevCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[DevCluster]:
    # For what a test calls in its own process.
    for variable in [name for name in os.environ if name.startswith(processes.CLIENT_VARIABLES)]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("SLURM_CONF", str(cluster.settings.slurm_conf))
    yield cluster
    cluster.put_in_order()


@pytest.fixture
def slurm_cluster(slurm_clusters: Callable[..., DevCluster], monkeypatch: pytest.MonkeyPatch) -> Iterator[DevCluster]:
    """Four nodes with a hostname, processes and a disk (folder/local) of their own; SLURM_CONF is set."""
    yield from _in_order(slurm_clusters("host", "--node-tmp"), monkeypatch)


@pytest.fixture
def slurm_accounting(
    slurm_clusters: Callable[..., DevCluster], monkeypatch: pytest.MonkeyPatch
) -> Iterator[DevCluster]:
    """Two nodes, with a real sacct."""
    yield from _in_order(slurm_clusters("acct", "--accounting", "--nodes=2"), monkeypatch)


@pytest.fixture
def slurm_network(slurm_clusters: Callable[..., DevCluster], monkeypatch: pytest.MonkeyPatch) -> Iterator[DevCluster]:
    """Four nodes whose network cables can be pulled; reached through `run` and `call` only."""
    yield from _in_order(slurm_clusters("net", "--isolation=net"), monkeypatch)
