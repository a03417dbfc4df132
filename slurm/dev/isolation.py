"""What keeps the nodes apart: namespaces, and with isolation net a bridge with a cable to each node."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from slurm.dev import processes
from slurm.dev.config import CONTROLLER, controller_address, hosts, node_address, without_ours
from slurm.dev.settings import Settings
from urbanvlm.errors import UserError

NETWORK = "network"
"""role of the process that holds the network namespace of the controller"""
UNSHARE = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
HOSTS = Path("/etc/hosts")


def check_isolation(settings: Settings) -> None:
    """Raises UserError where the kernel does not allow it."""
    if settings.isolation == "none":
        return
    net = ["--net"] if settings.isolation == "net" else []
    tried = subprocess.run(
        [*UNSHARE, *net, "true"], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if tried.returncode:
        raise UserError(
            f"--isolation {settings.isolation}",
            f"not possible here: {tried.stderr.strip() or 'unshare fails'}",
            "try --isolation none, or a container started with --privileged",
        )


def client_prefix(settings: Settings) -> list[str]:
    """What to put before a command that shall reach the controller. Raises UserError if the network is down."""
    if settings.isolation != "net":
        return []
    for holder in processes.find(settings, NETWORK):
        return ["nsenter", f"--net=/proc/{holder.pid}/ns/net", f"--uts=/proc/{holder.pid}/ns/uts", "--"]
    raise UserError(settings.folder, "the cluster is not up", "`python -m slurm.dev start`")


def node_command(settings: Settings, number: int) -> list[str]:
    """The command that is the node: when it dies, all in it dies with it."""
    name = f"node{number}"
    if settings.isolation == "none":
        return ["slurmd", "-D", "-N", name]
    own_tmp = "yes" if settings.node_tmp else "no"
    command = [str(Path(__file__).parent / "node.sh"), str(settings.folder), name, own_tmp]
    if settings.isolation == "host":
        return [*UNSHARE, "sh", *command]
    return [*UNSHARE, "--net", "sh", *command, node_address(settings, number), controller_address(settings)]


def start_network(settings: Settings) -> None:
    """The bridge and the controller's address, in a namespace of their own; the machine's network stays as it is."""
    if settings.isolation != "net" or processes.find(settings, NETWORK):
        return
    holder = processes.start(settings, NETWORK, ["unshare", "--net", "--uts", "sleep", "infinity"])
    _wait_for_namespace(psutil.Process(holder.pid))
    _run(settings, "hostname", CONTROLLER)
    _ip(settings, "link set lo up")
    _ip(settings, "link add slurmbr type bridge")
    _ip(settings, f"address add {controller_address(settings)}/24 dev slurmbr")
    _ip(settings, "link set slurmbr up")


def plug_in(settings: Settings, number: int, node: subprocess.Popen[bytes]) -> None:
    """The cable from the bridge to a node that has just started."""
    if settings.isolation != "net":
        return
    unshare = psutil.Process(node.pid)
    if not processes.wait_until(lambda: _first_child(unshare) is not None, 10):
        raise UserError(f"node{number}", "did not start", f"see {settings.logs}/node{number}.out")
    inside = _first_child(unshare)
    assert inside is not None
    _wait_for_namespace(inside)
    _ip(settings, f"link add veth{number} type veth peer name eth0 netns {inside.pid}")
    _ip(settings, f"link set veth{number} master slurmbr up")


def unplug(settings: Settings, number: int) -> None:
    """Take the cable away, so that the others hear nothing of the node's end, as after a power cut."""
    if settings.isolation == "net" and processes.find(settings, NETWORK):
        subprocess.run(
            [*client_prefix(settings), "ip", "link", "delete", f"veth{number}"], capture_output=True, check=False
        )


def set_cable(settings: Settings, number: int, *, up: bool) -> None:
    """Pull a node's network cable, or plug it in again. Raises UserError."""
    if settings.isolation != "net":
        raise UserError(
            f"node{number}", "has no network cable of its own", "start the cluster with --isolation net for that"
        )
    _ip(settings, f"link set veth{number} {'up' if up else 'down'}")


def write_hosts(settings: Settings) -> None:
    """The nodes see etc/hosts of the folder as theirs. Nodes without isolation have only the machine's file."""
    text = hosts(settings, HOSTS.read_text(encoding="utf-8") if HOSTS.is_file() else "")
    (settings.folder / "etc" / "hosts").write_text(text, encoding="utf-8")
    if settings.isolation == "none":
        # Written in place: in a container the file is a mount, which cannot be replaced.
        HOSTS.write_text(text, encoding="utf-8")


def restore_hosts(settings: Settings) -> None:
    if settings.isolation == "none":
        text = HOSTS.read_text(encoding="utf-8")
        if (restored := without_ours(settings, text)) != text:
            HOSTS.write_text(restored, encoding="utf-8")


def _first_child(unshare: psutil.Process) -> psutil.Process | None:
    with suppress(*processes.GONE):
        return next(iter(unshare.children()), None)
    return None


def _wait_for_namespace(process: psutil.Process) -> None:
    here = processes.network_namespace()

    def has_its_own() -> bool:
        with suppress(OSError):
            return processes.network_namespace(process) != here
        return False

    if not processes.wait_until(has_its_own, 10):
        raise UserError("network", "could not be set up", "try --isolation host")


def _ip(settings: Settings, words: str) -> None:
    _run(settings, "ip", *words.split())


def _run(settings: Settings, *command: str) -> None:
    done = subprocess.run(
        [*client_prefix(settings), *command], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        raise UserError(" ".join(command), done.stderr.strip() or f"failed with exit code {done.returncode}")


def run_client(settings: Settings, command: Sequence[str], timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """A client command where the controller is in reach."""
    return subprocess.run(
        [*client_prefix(settings), *command],
        env=processes.clean_environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
    )
