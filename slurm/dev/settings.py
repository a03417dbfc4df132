"""What a development cluster was started with, kept in its folder until it is wiped."""

from __future__ import annotations

import json
import os
import re
import socket
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic

DEFAULT_FOLDER = Path("/run/slurm-dev")
ISOLATIONS = {
    "none": "nodes are daemons side by side (where namespaces are not allowed)",
    "host": "each node has its own hostname, processes and mounts",
    "net": "and its own network, whose cable can be pulled",
}
SOCKET_PATH_LIMIT = 107
"""characters of a Unix socket's path that the kernel takes"""
MAX_NODES = 90
PORTS = range(11000, 32700, 100)
"""Where a cluster's block of 100 ports may begin: below the ports that the kernel hands out by itself."""
MAX_FIRST_JOB_ID = 60_000_000
"""Slurm counts job ids up to 67,043,328."""


@dataclass(frozen=True)
class Settings:
    """A cluster. `port` is the first of its block of 100: controller, database daemon, then from 11 on the nodes."""

    folder: Path
    port: int
    first_job_id: int
    nodes: int = 4
    cpus: int = 4
    memory_mb: int = 16000
    gpus: int = 2
    isolation: str = "host"
    accounting: bool = False
    node_tmp: bool = False

    @property
    def file(self) -> Path:
        return self.folder / "settings.json"

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "socket"

    @property
    def mysql_socket(self) -> Path:
        return self.folder / "mysql.sock"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def local(self) -> Path:
        return self.folder / "local"

    @property
    def node_names(self) -> list[str]:
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def spool(self, node: str) -> Path:
        return self.folder / "spool" / node

    def slurmd_log(self, node: str) -> Path:
        return self.logs / f"slurmd.{node}.log"

    def node_number(self, name: str) -> int:
        """Of `node3` or `3`. Raises UserError."""
        number = name.removeprefix("node")
        if not number.isdecimal() or not 1 <= int(number) <= self.nodes:
            raise UserError(f"node {name!r}", "there is no such node", f"known: {', '.join(self.node_names)}")
        return int(number)


def load_settings(folder: Path) -> Settings:
    """Of a cluster that was started there once. Raises UserError."""
    file = folder / "settings.json"
    if not file.is_file():
        raise UserError(folder, "there is no cluster", "`python -m slurm.dev start` makes one")
    tree = json.loads(file.read_text(encoding="utf-8"))
    return Settings(**{**tree, "folder": folder})


def make_settings(folder: Path, given: Mapping[str, Any]) -> Settings:
    """The cluster that lives in the folder, or a new one with the values given. Raises UserError."""
    if (folder / "settings.json").is_file():
        settings = load_settings(folder)
        for name, value in given.items():
            if getattr(settings, name) != value:
                raise UserError(
                    f"--{name.replace('_', '-').removesuffix('-mb')} {value}",
                    f"the cluster in {folder} was started with {getattr(settings, name)}",
                    "wipe it first, or take another --folder",
                )
        return settings
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(folder, "holds something else than a cluster", "take an empty --folder")
    # Ids must not begin at 1 again after a wipe: a run folder that remembers a job of the old cluster would take
    # another job's state for its own.
    settings = Settings(folder, port=0, first_job_id=int(time.time()) % MAX_FIRST_JOB_ID + 1)
    settings = replace(settings, **given)
    check(settings)
    return settings if settings.port else replace(settings, port=free_block(settings))


def save_settings(settings: Settings) -> None:
    tree = {name: value for name, value in asdict(settings).items() if name != "folder"}
    write_atomic(settings.file, json.dumps(tree, indent=2) + "\n")


def check(settings: Settings) -> None:
    """Raises UserError for what Slurm would refuse later, and less clearly."""
    if not settings.folder.is_absolute() or not re.fullmatch(r"[A-Za-z0-9/._+-]+", str(settings.folder)):
        raise UserError(f"--folder {settings.folder}", "must be a full path of letters, digits and /._+-")
    longest = settings.spool(f"node{settings.nodes}") / f"node{settings.nodes}_{MAX_FIRST_JOB_ID}.4294967291"
    if len(str(longest)) > SOCKET_PATH_LIMIT:
        raise UserError(
            f"--folder {settings.folder}",
            f"is too long: sockets in it would have a path of {len(str(longest))} characters, {SOCKET_PATH_LIMIT} is"
            " what the kernel allows",
            "take a shorter one, such as /tmp/slurm",
        )
    limits = {"nodes": (1, MAX_NODES), "cpus": (1, 1024), "memory_mb": (100, 10**8), "gpus": (0, 64)}
    for name, (least, most) in limits.items():
        if not least <= getattr(settings, name) <= most:
            raise UserError(f"--{name.removesuffix('_mb')} {getattr(settings, name)}", f"must be {least} to {most}")
    if settings.port and not 1024 <= settings.port <= 65000:
        raise UserError(f"--port {settings.port}", "must be 1024 to 65000")
    if settings.isolation not in ISOLATIONS:
        raise UserError(f"--isolation {settings.isolation}", f"must be one of {', '.join(ISOLATIONS)}")
    if settings.isolation == "none" and settings.node_tmp:
        raise UserError("--node-tmp", "nodes without isolation have no mounts of their own", "use --isolation host")


def ports_of(settings: Settings) -> list[int]:
    return [settings.port, settings.port + 1, *(settings.port + 10 + n for n in range(1, settings.nodes + 1))]


def free_block(settings: Settings) -> int:
    """A port base that follows from the folder; the next one where something else listens. Raises UserError."""
    start = zlib.crc32(os.fsencode(settings.folder)) % len(PORTS)
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        if all(_is_free(number) for number in ports_of(replace(settings, port=port))):
            return port
    raise UserError("--port", "no block of free ports found", "choose one yourself")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


FIELDS = {field.name for field in fields(Settings)} - {"folder", "first_job_id"}
"""What `start` may be told."""
