"""Asks Slurm what a cluster is like and writes a profile of it, commented, for a person to finish."""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slurm.cluster import parse_cluster, user_profiles
from slurm.queue import ask
from urbanvlm.errors import UserError, suggest
from urbanvlm.records import write_atomic
from urbanvlm.times import read_minutes
from urbanvlm.yaml_text import reads_as_itself

Fields = dict[str, str]
"""what scontrol says of one thing: key -> value"""


@dataclass(frozen=True)
class Site:
    """What Slurm said, unread."""

    config: str
    """`scontrol show config`"""
    partitions: str
    """`scontrol --oneliner show partition`"""
    nodes: str
    """`scontrol --oneliner show node`"""
    accounts: str = ""
    """of this user, one a line, the default one first; empty if nothing answers"""


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that have the same GPUs; the figures are what every one of them has."""

    count: int
    gpu_type: str | None
    gpus: int
    cpus: int
    memory_gb: int
    """0 where Slurm was not told"""

    @property
    def words(self) -> str:
        gpus = f"{self.gpus} × {self.gpu_type or 'GPU'}, " if self.gpus else ""
        nodes = f"{self.count} node{'s' if self.count > 1 else ''}"
        return f"{nodes} with {gpus}{self.cpus} CPUs" + (f", {self.memory_gb} GB" if self.memory_gb else "")


@dataclass(frozen=True)
class Partition:
    """A partition that jobs may be sent to."""

    name: str
    is_default: bool
    max_timeout_minutes: int | None
    priority: int
    preempt_mode: str
    grace_seconds: int
    most_mb_per_cpu: int
    """0 without a limit"""
    node_names: frozenset[str] = field(repr=False)
    kinds: tuple[NodeKind, ...]
    """the one that a profile is best made for first"""

    @property
    def has_gpus(self) -> bool:
        return self.kinds[0].gpus > 0


def new_profile(
    name: str, *, partition: str | None, account: str | None, force: bool, choose: Callable[[str, Sequence[str]], str]
) -> Path:
    """Write a profile of the cluster that this machine belongs to into the user's folder; returns its path.

    `choose` is asked where several partitions would do. Raises UserError.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UserError(f"NAME {name!r}", "is not a profile's name", "use letters, digits, '-', '_' and '.'")
    path = user_profiles() / f"{name}.yaml"
    if path.exists() and not force:
        raise UserError(path, "is already there", "choose another name, or add FORCE=1 to write it anew")
    site = ask_slurm()
    chosen = choose_partition(read_partitions(site), partition, choose)
    text = render(site, chosen, account)
    parse_cluster(text, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)
    return path


def ask_slurm() -> Site:
    """Raises UserError where there is no Slurm, or none that answers."""
    return Site(
        config=ask(["scontrol", "show", "config"]),
        partitions=ask(["scontrol", "--oneliner", "show", "partition"]),
        nodes=ask(["scontrol", "--oneliner", "show", "node"]),
        accounts=_ask_accounts(getpass.getuser()),
    )


def _ask_accounts(user: str) -> str:
    """Nothing where Slurm keeps no accounts."""
    parsable = ["sacctmgr", "--noheader", "--parsable2", "show"]
    try:
        default = ask([*parsable, "user", user, "format=DefaultAccount"])
        return default + ask([*parsable, "associations", f"user={user}", "format=Account"])
    except UserError:
        return ""


def choose_in_terminal(question: str, answers: Sequence[str]) -> str:
    """Ask the person at the terminal. Raises UserError where there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(question, f"{len(answers)} would do", f"add PARTITION={', or '.join(answers)}")
    while True:
        print(f"{question}? {', '.join(answers)}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise UserError(question, "no answer", f"add PARTITION={', or '.join(answers)}")
        if line.strip() in answers:
            return line.strip()


def choose_partition(
    partitions: Sequence[Partition], name: str | None, choose: Callable[[str, Sequence[str]], str]
) -> tuple[Partition, Partition | None]:
    """(for jobs with GPUs, for jobs without if that is another one). Raises UserError."""
    names = {partition.name: partition for partition in partitions}
    if not names:
        raise UserError("Slurm", "has no partition that is up and has nodes", "`scontrol show partition` shows them")
    if name is None:
        with_gpus = [p.name for p in partitions if p.has_gpus]
        fitting = with_gpus or list(names)
        name = fitting[0] if len(fitting) == 1 else choose("partition", fitting)
    if name not in names:
        raise UserError(f"PARTITION {name!r}", "is not one that is up and has nodes", suggest(name, names))
    without = [p for p in partitions if not p.has_gpus]
    cpu = min(without, key=lambda p: (not p.is_default, -sum(kind.count for kind in p.kinds)), default=None)
    return names[name], cpu if names[name].has_gpus else None


def read_partitions(site: Site) -> list[Partition]:
    """Every partition that takes jobs."""
    nodes = [read_fields(line) for line in site.nodes.splitlines() if line.startswith("NodeName=")]
    found = []
    for line in site.partitions.splitlines():
        fields = read_fields(line)
        if fields.get("State") != "UP" or fields.get("RootOnly") == "YES":
            continue
        members = [node for node in nodes if fields["PartitionName"] in node.get("Partitions", "").split(",")]
        if members:
            found.append(_partition(fields, members))
    return found


def _partition(fields: Fields, members: list[Fields]) -> Partition:
    return Partition(
        name=fields["PartitionName"],
        is_default=fields.get("Default") == "YES",
        max_timeout_minutes=_limit(fields.get("MaxTime", "UNLIMITED")),
        priority=_number(fields.get("PriorityTier"), 1),
        preempt_mode=fields.get("PreemptMode", "OFF"),
        grace_seconds=_number(fields.get("GraceTime"), 0),
        most_mb_per_cpu=_number(fields.get("MaxMemPerCPU"), 0),
        node_names=frozenset(node["NodeName"] for node in members),
        kinds=_kinds(members, _number(fields.get("MaxCPUsPerNode"), 0), _number(fields.get("MaxMemPerNode"), 0)),
    )


def _kinds(members: list[Fields], most_cpus: int, most_mb: int) -> tuple[NodeKind, ...]:
    """By GPUs: those with GPUs first, of these the most frequent. A limit of 0 is none."""
    groups: dict[tuple[str | None, int], list[tuple[int, int]]] = {}
    for node in members:
        cpus = _number(node.get("CPUEfctv"), _number(node.get("CPUTot"), 1))
        mb = _number(node.get("RealMemory"), 1) - _number(node.get("MemSpecLimit"), 0)
        groups.setdefault(read_gpus(node.get("Gres", "")), []).append(
            (min(cpus, most_cpus or cpus), min(mb, most_mb or mb))
        )
    kinds = [
        NodeKind(len(have), gpu_type, gpus, min(cpus for cpus, _ in have), _gigabytes(min(mb for _, mb in have)))
        for (gpu_type, gpus), have in groups.items()
    ]
    return tuple(sorted(kinds, key=lambda kind: (kind.gpus == 0, -kind.count, -kind.gpus, kind.gpu_type or "")))


def _gigabytes(mb: int) -> int:
    """A node's memory is 1 MB for Slurm where nobody has told it."""
    return max(1, mb // 1024) if mb > 1 else 0


def read_fields(line: str) -> Fields:
    """`A=1 B=two words C=3` as scontrol writes it; of a key that comes twice the first counts."""
    parts = re.split(r"(?:^|\s)([A-Za-z][\w:/]*)=", line.strip())
    found: Fields = {}
    for key, value in zip(parts[1::2], parts[2::2], strict=True):
        found.setdefault(key, value.strip())
    return found


def read_config(text: str) -> Fields:
    """`Key   = value` lines."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def read_gpus(gres: str) -> tuple[str | None, int]:
    """(type, count) of `gpu:a100:4(S:0-1),nvme:1`, `gpu:4`, …; of several types the most frequent."""
    counts: Counter[str | None] = Counter()
    # What is in brackets, sockets or indices, may hold commas.
    for item in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = item.split(":")
        if name == "gpu":
            count = int(rest.pop()) if rest and rest[-1].isdigit() else 1
            kind = [word for word in rest if word != "no_consume"]
            counts[kind[0] if kind else None] += count
    return counts.most_common(1)[0] if counts else (None, 0)


def render(site: Site, chosen: tuple[Partition, Partition | None], account: str | None) -> str:
    """The profile's YAML, which loads as it is."""
    partition, cpu_partition = chosen
    config, best = read_config(site.config), partition.kinds[0]
    lines = [
        _comment(f"Written by `make cluster-new` from what Slurm said of cluster {config.get('ClusterName', '')}."),
        "# Yours to edit; docs/clusters.md explains every key. `make plan EXP=… CLUSTER=…` shows what comes of it.",
        "executor: slurm",
        "",
        _entry("partition", partition.name, best.words),
    ]
    lines += [_comment(f"also there, and not asked for by this profile: {kind.words}") for kind in partition.kinds[1:]]
    if cpu_partition is not None:
        lines.append(_entry("cpu_partition", cpu_partition.name, cpu_partition.kinds[0].words))
    lines += _account_lines(config, site.accounts, account)
    lines += ["", _entry("gpus_per_node", best.gpus)]
    if best.gpu_type is not None:
        lines.append(_entry("gpu_type", best.gpu_type))
    if not best.gpus:
        lines.append("# gpu_request: none        # with gpus_per_node: where nodes have GPUs that Slurm does not count")
    elif "cons_tres" not in config.get("SelectType", "cons_tres"):
        lines.append(_entry("gpu_request", "gres", "this Slurm knows no --gpus-per-node"))
    lines += [
        _entry("cpus_per_node", best.cpus),
        *_memory_lines(config, partition),
        "# max_timeout_minutes: this partition has no limit"
        if partition.max_timeout_minutes is None
        else _entry("max_timeout_minutes", partition.max_timeout_minutes),
        *_preemption_lines(config, partition, read_partitions(site)),
        "",
        "# setup:                   # lines of shell before each job",
        "#   - module load cuda",
        "# environment:",
        "#   NCCL_SOCKET_IFNAME: ib0  # the fast network; `srun ip -brief address` shows its name on a node",
        *_scratch_lines(config),
        "# meeting_suffix: i       # where a node is reached under a longer name than its own by other nodes",
    ]
    return "\n".join(lines) + "\n"


def _memory_lines(config: Fields, partition: Partition) -> list[str]:
    """What a node has, and how it is asked for where --mem is not the way."""
    memory_gb, limit = partition.kinds[0].memory_gb, partition.most_mb_per_cpu or _number(config.get("MaxMemPerCPU"), 0)
    if not memory_gb:
        return [_entry("memory_request", "none", "Slurm does not know what its nodes have, and refuses to give any")]
    lines = [_entry("memory_gb_per_node", memory_gb)]
    counted = config.get("SelectTypeParameters")
    if counted is not None and "MEMORY" not in counted.upper():
        return [*lines, _entry("memory_request", "none", "this Slurm does not share memory out")]
    if limit:
        return [*lines, _entry("memory_request", "per-cpu", f"at most {limit} MB a CPU")]
    return lines


def _account_lines(config: Fields, answer: str, account: str | None) -> list[str]:
    accounts = list(dict.fromkeys(line.strip() for line in answer.splitlines() if line.strip()))
    chosen = account or (accounts[0] if accounts else None)
    others = [name for name in accounts if name != chosen]
    if chosen is not None:
        return [_entry("account", chosen, "also yours: " + ", ".join(others) if others else "")]
    if "associations" in config.get("AccountingStorageEnforce", ""):
        return ["# account: my-account     # Slurm did not say which is yours", "account_required: true"]
    return []


def _preemption_lines(config: Fields, partition: Partition, everything: Sequence[Partition]) -> list[str]:
    """What stands in a job's way: partitions of a higher tier on the same nodes, or a quality of service."""
    kind = config.get("PreemptType", "preempt/none").partition("/")[2]
    stronger = [p.name for p in everything if p.priority > partition.priority and p.node_names & partition.node_names]
    modes = partition.preempt_mode if kind == "partition_prio" else config.get("PreemptMode", "OFF")
    mode = next((word for word in ("requeue", "cancel") if word.upper() in modes.split(",")), None)
    if mode is None or kind == "none" or (kind == "partition_prio" and not stronger):
        return []
    why = f"by jobs of {', '.join(stronger)}" if kind == "partition_prio" else "where a stronger qos wants the nodes"
    lines = ["preemption:", _entry("  mode", mode, why)]
    return [*lines, _entry("  grace_seconds", partition.grace_seconds)] if partition.grace_seconds else lines


def _scratch_lines(config: Fields) -> list[str]:
    folder = config.get("TmpFS", "/tmp")  # noqa: S108 — Slurm's own default
    if folder.startswith("/") and folder != "/tmp":  # noqa: S108
        return [_entry("node_scratch", folder, "where Slurm says that jobs keep temporary files")]
    return ["# node_scratch: /local/$USER  # a disk of the node's own, if there is one beside /tmp"]


def _entry(key: str, value: str | int, comment: str = "") -> str:
    line = f"{key}: {_scalar(value) if isinstance(value, str) else value}"
    return f"{line}  {_comment(comment)}" if comment else line


def _scalar(text: str) -> str:
    """Plain where our loader reads it as that text, else in quotes."""
    if re.fullmatch(r"[A-Za-z0-9/][\w./-]*", text, re.ASCII) and reads_as_itself(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    return "# " + "".join(character if character.isprintable() else " " for character in text)


def _limit(text: str) -> int | None:
    try:
        return read_minutes(text)
    except ValueError:
        return None


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() else default
