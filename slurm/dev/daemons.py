"""Starting and ending the daemons of a cluster, and what may happen to its nodes."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slurm.dev import config, isolation, processes
from slurm.dev.isolation import run_client
from slurm.dev.settings import Settings, save_settings
from urbanvlm.errors import UserError

MUNGE, CONTROLLER, DATABASE, ACCOUNTING = "munge", "controller", "database", "accounting"
START_SECONDS = 60.0
"""More than a loaded machine needs; it takes 1 s otherwise."""
CLIENT_SECONDS = 5.0
NUDGE_SECONDS = 2
"""A job that starts within the second of its end fails with `Job credential revoked`."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """One command at a time may start or end a cluster's daemons."""
    folder.mkdir(parents=True, exist_ok=True)
    # The folder itself is locked: a lock file would have to outlive the wiping of the folder.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def start(settings: Settings) -> None:
    """Start what is not running. Raises UserError, and then nothing of it runs."""
    check_root()
    _check_programs(settings)
    isolation.check_isolation(settings)
    _write_files(settings)
    try:
        _start_daemons(settings)
    except BaseException:
        end_daemons(settings)
        raise


def _start_daemons(settings: Settings) -> None:
    _start_munge(settings)
    isolation.start_network(settings)
    if settings.accounting:
        _start_accounting(settings)
    start_controller(settings)
    for number in range(1, settings.nodes + 1):
        start_node(settings, number)
    _wait(settings, lambda: _all_are_ready(settings), "the nodes did not come up", "slurmctld.log")


def stop(settings: Settings) -> None:
    """Cancel all jobs and end the daemons; start goes on with the same job numbers."""
    check_root()
    if processes.find(settings, CONTROLLER):
        # A controller that does not answer is ended all the same.
        with suppress(subprocess.TimeoutExpired, UserError):
            cancel_all(settings)
    end_daemons(settings)


def cancel_all(settings: Settings) -> None:
    """Every job of every user."""
    for state in ("PENDING", "RUNNING", "SUSPENDED"):
        run_client(settings, ["scancel", f"--state={state}"], timeout=CLIENT_SECONDS)


def end_daemons(settings: Settings) -> None:
    for name in settings.node_names:
        processes.kill(settings, name)
    for role in (CONTROLLER, ACCOUNTING, DATABASE, MUNGE):
        processes.end(settings, role)
    processes.kill(settings)
    isolation.restore_hosts(settings)


def wipe(settings: Settings) -> None:
    """End everything at once and remove the folder."""
    check_root()
    processes.kill(settings)
    isolation.restore_hosts(settings)
    shutil.rmtree(settings.folder)


def check_root() -> None:
    if os.geteuid():
        raise UserError("slurm.dev", "Slurm's daemons need root", "put sudo before the same command")


def needed_programs(settings: Settings) -> dict[str, str]:
    """Program -> Debian package that has it."""
    needed = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "srun": "slurm-wlm", "munged": "munge"}
    if settings.isolation == "net":
        needed["ip"] = "iproute2"
    if settings.accounting:
        needed |= {
            "slurmdbd": "slurmdbd",
            "mariadbd": "mariadb-server-core",
            "mariadb-install-db": "mariadb-server-core",
            "mariadb": "mariadb-client-core",
        }
    return needed


def _check_programs(settings: Settings) -> None:
    missing = [program for program in needed_programs(settings) if not shutil.which(program)]
    if missing:
        raise UserError("slurm.dev", f"{missing[0]} is not installed", "`python -m slurm.dev install` does that")


def _write_files(settings: Settings) -> None:
    folder = settings.folder
    for name in ("etc", "gpu", "local", "log", "munge", "run", "spool", "state"):
        (folder / name).mkdir(exist_ok=True)
    if not settings.file.exists():
        save_settings(settings)
    for name in settings.node_names:
        (settings.spool(name) / "local").mkdir(parents=True, exist_ok=True)
    key = folder / "munge" / "key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
    for number in range(settings.gpus):
        gpu = folder / "gpu" / f"gpu{number}"
        if not gpu.is_symlink():
            gpu.symlink_to(os.devnull)
    hostname = config.CONTROLLER if settings.isolation == "net" else socket.gethostname().partition(".")[0]
    settings.slurm_conf.write_text(config.slurm_conf(settings, hostname), encoding="utf-8")
    (folder / "etc" / "gres.conf").write_text(config.gres_conf(settings), encoding="utf-8")
    (folder / "etc" / "cgroup.conf").write_text(config.CGROUP_CONF, encoding="utf-8")
    if settings.accounting:
        slurmdbd_conf = folder / "etc" / "slurmdbd.conf"
        slurmdbd_conf.touch(mode=0o600)
        slurmdbd_conf.write_text(config.slurmdbd_conf(settings, hostname), encoding="utf-8")
    isolation.write_hosts(settings)


def _start_munge(settings: Settings) -> None:
    if processes.find(settings, MUNGE):
        return
    folder = settings.folder / "munge"
    # A socket that a killed munged left behind is in the way of the next.
    for name in ("socket", "socket.lock"):
        (folder / name).unlink(missing_ok=True)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    processes.start(settings, MUNGE, ["munged", "--foreground", "--num-threads=4", *options])
    _wait(settings, settings.munge_socket.is_socket, "munged did not start", "munge.out")


def start_controller(settings: Settings) -> None:
    if processes.find(settings, CONTROLLER):
        return
    processes.start(settings, CONTROLLER, [*isolation.client_prefix(settings), "slurmctld", "-D"])
    _wait(settings, lambda: _answers(settings), "slurmctld did not start", "slurmctld.log")


def stop_controller(settings: Settings) -> None:
    """As for its maintenance: jobs go on, clients get no answer. If it were killed it would forget the newest jobs."""
    processes.end(settings, CONTROLLER)


def _answers(settings: Settings) -> bool:
    return run_client(settings, ["scontrol", "ping"]).returncode == 0


def start_node(settings: Settings, number: int) -> None:
    name = f"node{number}"
    if not processes.find(settings, name):
        node = processes.start(settings, name, isolation.node_command(settings, number))
        isolation.plug_in(settings, number, node)


def power_off(settings: Settings, number: int, *, noticed: bool = False) -> None:
    """The node is dead from one moment to the next. Slurm notices within a minute, or at once if it is told to."""
    name = f"node{number}"
    isolation.unplug(settings, number)
    # The sockets of the killed are closed, which a power cut does not do: srun can end the job over it as failed. So
    # Slurm must know before.
    processes.freeze(settings, name)
    try:
        if noticed:
            client(settings, "scontrol", "update", f"nodename={name}", "state=down", "reason=power")
    finally:
        processes.kill(settings, name)


def power_on(settings: Settings, number: int) -> None:
    start_node(settings, number)
    name = f"node{number}"
    _wait(settings, lambda: name in ready_nodes(settings), f"{name} did not come up", f"slurmd.{name}.log")


def _all_are_ready(settings: Settings) -> bool:
    if len(ready_nodes(settings)) == settings.nodes:
        return True
    for name in settings.node_names:
        if not processes.find(settings, name):
            raise UserError(name, "ended at once", _end_of(settings.logs / f"{name}.out"))
    return False


def ready_nodes(settings: Settings) -> set[str]:
    done = run_client(settings, ["sinfo", "-h", "-N", "-p", "main", "-t", "idle,mix,alloc", "-o", "%N %t"])
    # An asterisk at the state: the node does not answer.
    return {line.split()[0] for line in done.stdout.splitlines() if not line.endswith("*")}


def client(settings: Settings, *command: str) -> str:
    """What a client command prints. Raises UserError with its own words."""
    done = run_client(settings, command)
    if done.returncode:
        raise UserError(command[0], done.stderr.strip() or f"failed with exit code {done.returncode}")
    return done.stdout


def _start_accounting(settings: Settings) -> None:
    data = settings.folder / "mysql"
    if not (data / "mysql").is_dir():
        _install_database(settings, data)
    if not processes.find(settings, DATABASE):
        settings.mysql_socket.unlink(missing_ok=True)
        processes.start(settings, DATABASE, ["mariadbd", *_database_options(settings, data)])
        _wait(settings, lambda: _database_answers(settings), "mariadbd did not start", f"{DATABASE}.out")
    if not processes.find(settings, ACCOUNTING):
        # slurmdbd asks for "localhost", which is libmariadb's word for the Unix socket that this variable names.
        socket_path = {"MYSQL_UNIX_PORT": str(settings.mysql_socket)}
        processes.start(settings, ACCOUNTING, [*isolation.client_prefix(settings), "slurmdbd", "-D"], socket_path)
    _wait(settings, lambda: _cluster_is_known(settings), "slurmdbd did not start", "slurmdbd.log")


def _install_database(settings: Settings, data: Path) -> None:
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"]
    # Without --force it refuses where the machine cannot look up its own name.
    done = subprocess.run(
        [*command, "--auth-root-authentication-method=socket", "--force"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise UserError("mariadb-install-db", done.stderr.strip() or done.stdout.strip())


def _database_options(settings: Settings, data: Path) -> list[str]:
    return [
        "--no-defaults",
        "--user=root",
        f"--datadir={data}",
        f"--socket={settings.mysql_socket}",
        "--skip-networking",
        f"--pid-file={settings.folder / 'run/mariadbd.pid'}",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
        "--max-allowed-packet=16M",
    ]


def _database_answers(settings: Settings) -> bool:
    command = ["mariadb", "--no-defaults", "--user=root", f"--socket={settings.mysql_socket}", "--execute=select 1"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _cluster_is_known(settings: Settings) -> bool:
    known = run_client(settings, ["sacctmgr", "-n", "-p", "show", "cluster", "dev"])
    if known.returncode == 0 and not known.stdout.startswith("dev"):
        return run_client(settings, ["sacctmgr", "-i", "add", "cluster", "dev"]).returncode == 0
    return known.returncode == 0


def _wait(settings: Settings, condition: processes.Condition, what: str, log: str) -> None:
    if not processes.wait_until(condition, START_SECONDS):
        raise UserError("slurm.dev", what, _end_of(settings.logs / log))


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return f"{log} ends with: {' '.join(lines[-2:]) or 'nothing'}"
