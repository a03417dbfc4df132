"""Where the processes of a job meet: a store that all of them share, found through the environment."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic

if TYPE_CHECKING:
    from torch.distributed import Store

MEET_SECONDS = 600.0
"""How long to wait for the others unless URBANVLM_MEET_SECONDS says otherwise: nodes start minutes apart where the
container or the file system is slow."""
LONGEST_MEET_SECONDS = 7 * 24 * 3600.0
PORTS = range(10_000, 32_768)
"""Above the ports of services, below those that Linux gives to outgoing connections."""
LINGER_SECONDS = 10.0
UNKNOWN_NAME_SECONDS = 20.0
"""A name that is still unknown after this is a mistake; before, it may be a name server that stumbles."""


@dataclass(frozen=True)
class Peer:
    """What a process tells the others of itself."""

    world_size: int
    node: str
    machine: str
    """the same for processes that reach each other at the loopback address"""


@dataclass(frozen=True)
class Met:
    """All processes of the job, come together."""

    store: Store
    peers: tuple[Peer, ...]
    """by rank"""

    @classmethod
    def alone(cls) -> Met:
        """Of a job of one process."""
        from torch.distributed import HashStore

        return cls(HashStore(), (Peer(1, node_name(), _machine()),))

    @property
    def on_one_machine(self) -> bool:
        return len({peer.machine for peer in self.peers}) == 1


@dataclass(frozen=True)
class Patience:
    """How long this process waits for the others in all."""

    seconds: float
    end: float

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Patience:
        text = environment.get("URBANVLM_MEET_SECONDS") or str(MEET_SECONDS)
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        # One that is too great for a timeout of torch's, or no number, ended in a traceback.
        if not 0 < seconds <= LONGEST_MEET_SECONDS:
            raise UserError(f"URBANVLM_MEET_SECONDS={text}", "is not a number of seconds above 0, a week at most")
        return cls(seconds, time.monotonic() + seconds)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end

    @property
    def left(self) -> timedelta:
        return timedelta(seconds=max(1.0, self.end - time.monotonic()))

    @property
    def for_gloo(self) -> timedelta:
        """A timeout for making a group of it: gloo waits five times as long for a process that does not connect."""
        return self.left / 5

    def __str__(self) -> str:
        return f"{self.seconds:g} s"


def meet(rank: int, world_size: int, environment: Mapping[str, str]) -> Met:
    """Wait until every process of the job is there. They meet, by the first of these that `environment` has,

    at MASTER_ADDR and MASTER_PORT: torchrun's way, or any launcher's. Rank 0 serves unless torchrun does;
    at MASTER_ADDR, where rank 0 finds a free port and writes it into the file URBANVLM_RENDEZVOUS for the others;
    at the file URBANVLM_RENDEZVOUS itself, on one machine.
    The file must be new at each start of the job: one that a killed job left names processes that are gone.

    Raises UserError where there is nowhere to meet, and where somebody does not come.
    """
    if not 0 <= rank < world_size:
        raise UserError(f"rank {rank}", f"the job counts {world_size} processes", "ranks begin with 0")
    patience = Patience.of(environment)
    try:
        store = _open(rank, world_size, environment, patience)
        return Met(store, _roll_call(store, rank, Peer(world_size, node_name(), _machine()), patience))
    except RuntimeError as error:
        # torch's errors of a connection that broke.
        what = f"lost the process of rank 0 while all were meeting ({first_line(error)})"
        raise UserError(_me(rank), what, "look at the log of rank 0") from error


def check_gloo_interface(met: Met, environment: Mapping[str, str]) -> str | None:
    """The network interface to tell gloo, None to let it choose. Raises UserError if its choice would be wrong.

    Untold, gloo listens at the address that the host's own name has, which is often one that only this host reaches.
    """
    if "GLOO_SOCKET_IFNAME" in environment:
        return environment["GLOO_SOCKET_IFNAME"]
    if met.on_one_machine:
        # Must not depend on whether the host's name resolves.
        return "lo" if Path("/sys/class/net/lo").exists() else None
    name = socket.gethostname()
    try:
        addresses = _addresses(name)
    except OSError:
        what = f"its own name, {name}, has no address here"
    else:
        if not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses):
            return None
        what = f"its own name, {name}, means {' and '.join(addresses)}, where no other node can reach it"
    raise UserError(
        f"node {node_name()}",
        what,
        "set GLOO_SOCKET_IFNAME (in the cluster profile: environment) to the interface that the nodes share",
    )


def node_name() -> str:
    """As Slurm calls this node, else as it calls itself."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def listen(ports: Iterable[int]) -> socket.socket:
    """A listening socket on the first of the ports that is free, on every address. Raises UserError if none is."""
    tried = []
    for port in ports:
        tried.append(port)
        # A port taken by somebody else, or one that only root may have.
        with suppress(OSError):
            return _listen(port)
    which = f"port {tried[0]} is" if len(tried) == 1 else f"all {len(tried)} ports from {min(tried)} on are"
    raise UserError(f"node {node_name()}", f"{which} taken or forbidden", "choose another MASTER_PORT")


def ports_of(job: str) -> list[int]:
    """Ports to try, in an order that differs from job to job: two on one node rarely want the same."""
    first, last = _ephemeral_ports()
    ports = [port for port in PORTS if not first <= port <= last] or list(PORTS)
    start = int.from_bytes(hashlib.sha256(job.encode()).digest()[:8], "big") % len(ports)
    return ports[start:] + ports[:start]


def connect(host: str, port: int, patience: Patience, rank: int, known_as: str) -> socket.socket:
    """A connection to the process that listens at `host`:`port`, `known_as` in the error.

    Raises UserError when the time is up, and earlier for a name that nobody knows.
    """
    begin = time.monotonic()
    while True:
        try:
            return socket.create_connection((host, port), timeout=min(10.0, patience.left.total_seconds()))
        except socket.gaierror as error:
            # Some resolvers say "unknown" where they could not ask.
            if time.monotonic() - begin > UNKNOWN_NAME_SECONDS or patience.is_over:
                what = f"MASTER_ADDR={host} has no address here ({error.strerror})"
                raise UserError(_me(rank), what, "give a name that all nodes know, or an address") from None
        except OSError as error:
            if patience.is_over:
                what = f"cannot reach {known_as} at {host}, port {port}, for {patience} ({error})"
                raise UserError(
                    _me(rank), what, "is that process alive, and may the nodes talk to each other?"
                ) from None
        time.sleep(0.3)


def await_text(file: Path, is_over: Callable[[], bool]) -> str | None:
    """What another node writes into `file`, once it is there; None when the time is up."""
    round_number = 0
    while True:
        if round_number % 10 == 0:
            # A network file system answers from its memory for up to a minute. To change the folder is what makes it
            # ask the server, and the listing then shows the file.
            with suppress(OSError):
                os.utime(file.parent)
        with suppress(OSError):
            if file.name in os.listdir(file.parent) and (text := file.read_text(encoding="utf-8")):  # noqa: PTH208
                return text
        if is_over():
            return None
        round_number += 1
        time.sleep(0.2)


def _open(rank: int, world_size: int, environment: Mapping[str, str], patience: Patience) -> Store:
    from torch.distributed import FileStore, PrefixStore

    host, port, file = (environment.get(k) for k in ("MASTER_ADDR", "MASTER_PORT", "URBANVLM_RENDEZVOUS"))
    if host and port:
        if not port.isdecimal() or not 0 < int(port) < 65_536:
            raise UserError(f"MASTER_PORT={port}", "is not the number of a port")
        is_served = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        serves = rank == 0 and not is_served
        store = _serve(host, [int(port)], patience)[0] if serves else _join(host, int(port), rank, patience)
        # Where torchrun serves, the store outlives the processes that it starts anew.
        return PrefixStore(f"urbanvlm/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    if file and not Path(file).parent.is_dir():
        raise UserError(_me(rank), f"there is no folder {Path(file).parent} on this node", "is it shared by all nodes?")
    if host and file:
        return _meet_through(Path(file), host, rank, environment.get("URBANVLM_JOB", ""), patience)
    if file:
        # Not as a file:// address: torch would look for a folder named "my%20runs" instead of "my runs", for ever.
        return FileStore(str(Path(file).absolute()), world_size)
    raise UserError(
        f"{world_size} processes",
        "have nowhere to meet",
        "start them with torchrun or through `make submit`, or set MASTER_ADDR and MASTER_PORT for each",
    )


def _meet_through(file: Path, host: str, rank: int, job: str, patience: Patience) -> Store:
    if rank == 0:
        if file.exists() and file.stat().st_size:
            what = "was written by an earlier start, or by another process that calls itself rank 0"
            raise UserError(file, what, "it must be new at each start")
        store, port = _serve(host, ports_of(job), patience)
        write_atomic(file, f"{host}:{port}\n")
        return store
    text = await_text(file, lambda: patience.is_over)
    if text is None:
        what = f"rank 0 should have written {file} within {patience}"
        raise UserError(_me(rank), what, f"look at the log of rank 0 on {host}; is the folder shared by all nodes?")
    host, _, port_text = text.strip().rpartition(":")
    if not port_text.isdecimal():
        raise UserError(file, f"should say <host>:<port>, and says {text.strip()!r}", "it must be new at each start")
    return _join(host, int(port_text), rank, patience)


def _serve(host: str, ports: Sequence[int], patience: Patience) -> tuple[Store, int]:
    """Rank 0's store. The port is bound before anybody is told of it, so nobody can take it in between."""
    from torch.distributed import TCPStore

    listener = listen(ports)
    port: int = listener.getsockname()[1]
    mine = Patience(min(30.0, patience.seconds), time.monotonic() + min(30.0, patience.seconds))
    connect(host, port, mine, 0, "this process itself").close()
    descriptor = listener.detach()
    store = TCPStore(
        host, port, None, True, patience.left, wait_for_workers=False, multi_tenant=False, master_listen_fd=descriptor
    )
    return store, port


def _join(host: str, port: int, rank: int, patience: Patience) -> Store:
    from torch.distributed import TCPStore

    # torch tries as well, but tells every failure with a page of C++ frames.
    connect(host, port, patience, rank, "rank 0").close()
    return TCPStore(host, port, None, False, patience.left)


def _roll_call(store: Store, rank: int, me: Peer, patience: Patience) -> tuple[Peer, ...]:
    """Everybody's word, by rank. Whoever finds something wrong tells the others: all give up with one reason."""
    world_size = me.world_size
    if store.add(f"come/{rank}", 1) > 1:
        what = f"two processes call themselves rank {rank}, or the place was used by an earlier start"
        raise UserError(_me(rank), what, "each start needs a new place, and each process its own rank")
    store.add("come", 1)
    first = int(store.compare_set("world_size", "", str(world_size)))
    if first != world_size:
        what = f"{me.node} counts {world_size} processes in the job, another counts {first}"
        _refuse(store, rank, world_size, f"rank {rank}", what, "start all of them with the same world size")
    store.set(f"peer/{rank}", json.dumps(asdict(me)))
    keys = [f"peer/{other}" for other in range(world_size)]
    while not store.check(keys):
        if store.check(["refused"]):
            _give_up(store, rank, 0 if patience.is_over else world_size, json.loads(store.get("refused")))
        if patience.is_over:
            missing = [other for other, key in enumerate(keys) if not store.check([key])]
            who = f"rank{'s' if len(missing) > 1 else ''} {_ranges(missing)} of {world_size}"
            what = f"{'have' if len(missing) > 1 else 'has'} not come within {patience}"
            _refuse(store, rank, 0, who, what, "look at the log of the first of them, and at its node")
        # Short waits of our own: inside torch's, Python could not hear a signal.
        time.sleep(0.1)
    return tuple(Peer(**json.loads(text)) for text in store.multi_get(keys))


def _refuse(store: Store, rank: int, awaited: int, *words: str) -> NoReturn:
    # The first reason counts for all.
    first = store.compare_set("refused", "", json.dumps(words))
    _give_up(store, rank, awaited, json.loads(first))


def _give_up(store: Store, rank: int, awaited: int, words: Sequence[str]) -> NoReturn:
    heard = store.add("heard", 1)
    end = time.monotonic() + LINGER_SECONDS
    # Rank 0 serves the store: it stays until the others have read why they give up; those on the way, too.
    while rank == 0 and heard < max(awaited, store.add("come", 0)) and time.monotonic() < end:
        time.sleep(0.1)
        heard = store.add("heard", 0)
    raise UserError(*words)


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with suppress(OSError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _ephemeral_ports() -> tuple[int, int]:
    """First and last port that this system gives to outgoing connections."""
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return 32_768, 65_535


def _addresses(name: str) -> list[str]:
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})


def _machine() -> str:
    """Two hosts, or two containers with networks of their own, are two machines; host names say neither."""
    boot, network = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/net")
    if boot.is_file() and network.is_symlink():
        return f"{boot.read_text().strip()} {network.readlink()}"
    return socket.gethostname()


def _me(rank: int) -> str:
    return f"rank {rank} on {node_name()}"


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as `1-3, 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
