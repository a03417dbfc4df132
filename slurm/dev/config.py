"""Settings -> the texts of Slurm's configuration files; pure."""

from __future__ import annotations

from collections.abc import Mapping

from slurm.dev.settings import Settings

SUBNET = "10.231.77"
CONTROLLER = "controller"
"""hostname of the controller where it has a network of its own"""

# Preempted are low and spot (SIGTERM, then 30 s; spot's jobs are cancelled then) and scavenge (at once); preempting is
# high.
PARTITIONS: Mapping[str, Mapping[str, str | int]] = {
    "main": {"Default": "YES", "PriorityTier": 10, "PreemptMode": "OFF", "MaxTime": "1-00:00:00"},
    "cpu": {"PriorityTier": 10, "PreemptMode": "OFF", "MaxTime": "1-00:00:00"},
    "short": {"PriorityTier": 10, "PreemptMode": "OFF", "MaxTime": "00:10:00"},
    "low": {"PriorityTier": 1, "PreemptMode": "REQUEUE", "GraceTime": 30, "MaxTime": "1-00:00:00"},
    "scavenge": {"PriorityTier": 1, "PreemptMode": "REQUEUE", "GraceTime": 0, "MaxTime": "1-00:00:00"},
    "spot": {"PriorityTier": 1, "PreemptMode": "CANCEL", "GraceTime": 30, "MaxTime": "1-00:00:00"},
    "high": {"PriorityTier": 100, "PreemptMode": "OFF", "MaxTime": "1-00:00:00"},
}
REQUEUE_SECONDS = 10
"""How long Slurm holds a requeued job back: AuthInfo's cred_expire, 120 by default, at least 5. It is also how long a
job may take from the decision to its start, so it must not be short for a loaded machine."""


def controller_address(settings: Settings) -> str:
    return f"{SUBNET}.1" if settings.isolation == "net" else "127.0.0.1"


def node_address(settings: Settings, number: int) -> str:
    return f"{SUBNET if settings.isolation == 'net' else '127.0.1'}.{100 + number}"


def slurm_conf(settings: Settings, hostname: str) -> str:
    """The controller refuses to start where `hostname` is not the machine's own name."""
    folder = settings.folder
    lines = {
        "ClusterName": "dev",
        "SlurmctldHost": f"{hostname}({controller_address(settings)})",
        "SlurmctldPort": settings.port,
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={settings.munge_socket},cred_expire={REQUEUE_SECONDS}",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": settings.spool("%n"),
        "SlurmctldPidFile": folder / "run/slurmctld.pid",
        "SlurmdPidFile": folder / "run/slurmd.%n.pid",
        "SlurmctldLogFile": settings.logs / "slurmctld.log",
        "SlurmdLogFile": settings.slurmd_log("%n"),
        "SlurmctldDebug": "info",
        "SlurmdDebug": "info",
        "MailProg": "/bin/true",
        # No cgroups, no systemd: what works in any container.
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "DefMemPerCPU": settings.memory_mb // settings.cpus,
        # A node may claim more CPUs and memory than this machine has.
        "SlurmdParameters": "config_overrides",
        "ReturnToService": 2,
        "FirstJobId": settings.first_job_id,
        "JobRequeue": 1,
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,bf_interval=1,sched_interval=2",
        "KillWait": 5,
        "SlurmdTimeout": 10,
        # With the default of 10 it takes twice as long until a dead node is missed.
        "MessageTimeout": 5,
        "SlurmctldTimeout": 10,
        # Ended jobs can be asked for a day: without accounting nothing else remembers them.
        "MinJobAge": 86400,
        "MaxArraySize": 10001,
        "PropagateResourceLimits": "NONE",
        "GresTypes": "gpu",
        # Kills a job that uses more than its --mem, as cgroups do elsewhere.
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": "task=1",
        "JobAcctGatherParams": "UsePss,OverMemoryKill",
    }
    if settings.accounting:
        lines |= {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": controller_address(settings),
            "AccountingStoragePort": settings.port + 1,
            "AccountingStoragePass": settings.munge_socket,
            "AccountingStorageTRES": "gres/gpu",
            "AccountingStorageEnforce": "associations",
        }
    else:
        lines |= {"AccountingStorageType": "accounting_storage/none"}
    gres = f" Gres=gpu:{settings.gpus}" if settings.gpus else ""
    nodes = [
        f"NodeName={name} NodeHostname={hostname if settings.isolation == 'none' else name}"
        f" NodeAddr={node_address(settings, number)} Port={settings.port + 10 + number}"
        f" CPUs={settings.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={settings.cpus} ThreadsPerCore=1"
        f" RealMemory={settings.memory_mb}{gres} Feature=dev State=UNKNOWN"
        for number, name in enumerate(settings.node_names, 1)
    ]
    partitions = [
        f"PartitionName={name} Nodes=ALL DefaultTime=01:00:00 State=UP " + " ".join(f"{k}={v}" for k, v in keys.items())
        for name, keys in PARTITIONS.items()
    ]
    return "".join(f"{line}\n" for line in [*(f"{k}={v}" for k, v in lines.items()), *nodes, *partitions])


CGROUP_CONF = "CgroupPlugin=cgroup/v1\n"
"""Nothing here uses cgroups, but slurmd loads a plugin for them all the same. The one for version 2 wants systemd, and
autodetection fails where there are no cgroups at all; this one asks for nothing."""


def gres_conf(settings: Settings) -> str:
    """Slurm wants a character device for each GPU; links to /dev/null are such."""
    if not settings.gpus:
        return ""
    return f"Name=gpu File={settings.folder}/gpu/gpu[0-{settings.gpus - 1}]\n"


def slurmdbd_conf(settings: Settings, hostname: str) -> str:
    lines = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={settings.munge_socket}",
        "DbdHost": hostname,
        "DbdAddr": controller_address(settings),
        "DbdPort": settings.port + 1,
        "SlurmUser": "root",
        "LogFile": settings.logs / "slurmdbd.log",
        "PidFile": settings.folder / "run/slurmdbd.pid",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm_acct",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def hosts(settings: Settings, machine: str) -> str:
    """The names of the nodes, before what the machine's /etc/hosts says."""
    names = {name: node_address(settings, number) for number, name in enumerate(settings.node_names, 1)}
    if settings.isolation == "net":
        names[CONTROLLER] = controller_address(settings)
    ours = "".join(f"{address} {name} {_hosts_mark(settings)}\n" for name, address in names.items())
    return ours + without_ours(settings, machine)


def without_ours(settings: Settings, machine: str) -> str:
    """The machine's /etc/hosts as it was before this cluster."""
    return "".join(
        line for line in machine.splitlines(keepends=True) if not line.rstrip().endswith(_hosts_mark(settings))
    )


def _hosts_mark(settings: Settings) -> str:
    return f"# slurm-dev {settings.folder}"
