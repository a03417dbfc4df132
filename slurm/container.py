"""A cluster's container section -> what stands before a task's command, and what srun is told. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from slurm.cluster import Bind, Cluster
from urbanvlm.errors import UserError

TASK_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    *("MASTER_ADDR", "OMP_NUM_THREADS"),
    *(f"URBANVLM_{name}" for name in (
        "ATTEMPT", "CLIENT", "END_TIME", "JOB", "MEET_SECONDS", "RENDEZVOUS", "RESTART", "SUBMITTER",
    )),
    "SLURMD_NODENAME",
    *(
        f"SLURM_{name}"
        for name in (
            "ARRAY_JOB_ID", "ARRAY_TASK_ID", "CPUS_PER_TASK", "JOB_ID", "JOB_NODELIST", "JOB_NUM_NODES", "LOCALID",
            "NNODES", "NODEID", "NTASKS", "PROCID", "RESTART_COUNT", "STEP_ID",
        )
    ),
    "SUBMITIT_EXECUTOR",
    *(f"SUBMITIT_LOCAL_{name}" for name in ("GLOBALID", "JOB_ID", "JOB_NUM_NODES", "LOCALID", "NODEID", "NTASKS")),
)  # fmt: skip
"""What a task must know of its job; no other variable of the host comes in but those that somebody names."""

CACHES = {
    "XDG_CACHE_HOME": "cache",
    "MPLCONFIGDIR": "cache/matplotlib",
    "TRITON_CACHE_DIR": "cache/triton",
    "TORCHINDUCTOR_CACHE_DIR": "cache/inductor",
    "TORCH_EXTENSIONS_DIR": "cache/extensions",
    "CUDA_CACHE_PATH": "cache/cuda",
}
"""Variable -> its folder in the job's TMPDIR, or in the attempt where there is none: what libraries
keep in the home folder else, which is not there inside."""

SIF_RUNTIMES = ("apptainer", "singularity")
"""one program under two names, with variables of each name's own; both run the same files"""

ONLY_NAMED = """\
inside=$1
shift
for name in "$@"; do
    shift
    [ "$name" != -- ] || break
    eval "[ -z \\"\\${$name+set}\\" ] || export $inside$name=\\"\\$$name\\""
done
exec "$@"
"""
"""Apptainer takes values, not names, and a task's rank is only known where the task starts."""

NAMING_ITSELF = """\
export URBANVLM_CLIENT=$$
exec "$@"
"""
"""The client of docker or podman is this process; the task inside, which is not its child, ends when it is gone."""

IN_ITS_CGROUP = """\
export URBANVLM_CLIENT=$$
below='s|^[0-9]*:memory:\\(.*/job_.*\\)|\\1|p'
beside='s|^0::\\(.*/job_.*\\)/[^/]*$|\\1|p'
own=$(sed -n -e "$below" -e "$beside" /proc/self/cgroup | head -n 1)
[ "$(id -u)" != 0 ] || [ -z "$own" ] || set -- "--cgroup-parent=$own" "$@"
exec podman --cgroup-manager=cgroupfs run "$@"
"""
"""The same in a job of Slurm's: podman must not have systemd make a cgroup elsewhere, where Slurm neither counts the
task's memory nor bounds it. For root, podman makes one inside the job's own: with cgroups of version 1 below the
task's, with version 2 beside it, as one that holds processes can have none below. Others may make none: the task stays
where it is.
"""


def command_prefix(
    cluster: Cluster,
    *,
    gpus: bool,
    binds: Sequence[Bind],
    environment_names: Sequence[str],
    folder: str,
    user: tuple[int, int],
) -> list[str]:
    """The words before a task's command; none without a container, and with pyxis, which is a part of srun.

    `folder` is where the command starts, `user` the (user id, group id) that it runs as.

    With every runtime a task shares the host's process numbers, network and shared memory: ranks of a node meet and
    exchange data as they would outside, and a lock says who holds it to whoever looks from the host. /tmp is the host's
    with Apptainer: the one of `--contain` is 64 MB of memory, and it takes the network cards' devices away.

    How SIGUSR2 and SIGTERM reach the command inside, and how it ends with what started it:

    - apptainer: the shell in front replaces itself; what stays of Apptainer hands every signal to its child, and Slurm
      sends them to all processes of the step anyway, of which the child is one. It takes its child with it.
    - singularity: as apptainer, which was once its name.
    - podman: the client hands signals on (`--sig-proxy`, on by default without a terminal). The container is no child
      of the client: the task looks whether that is still there.
    - docker: the same, but through a daemon: Slurm neither counts the task's memory nor ends it in time. Good for one
      machine of one's own, no more.
    """
    container = cluster.container
    if container is None or container.runtime == "pyxis":
        return []
    assert container.image is not None and container.runtime != "any", "settled before"
    names = _names(cluster, environment_names)
    mounts = [f"--mount={_mount(bind, container.runtime)}" for bind in _binds(cluster, binds)]
    if container.runtime in SIF_RUNTIMES:
        inside = f"{container.runtime.upper()}ENV_"
        # The folder that it is started in would come with it, even the home folder; --no-eval: a value is no script.
        options = ["--cleanenv", "--no-eval", "--no-home", "--no-mount=cwd,hostfs", f"--pwd={folder}", *mounts]
        nv = ["--nv"] if gpus else []
        command = [container.runtime, "exec", *options, *nv, container.image]
        return ["sh", "-c", ONLY_NAMED, "task", inside, *names, "--", *command]
    client = ["sh", "-c", NAMING_ITSELF, "task", container.runtime, "run", "--rm"]
    if container.runtime == "podman" and cluster.executor == "slurm":
        client = ["sh", "-c", IN_ITS_CGROUP, "task", "--rm"]
    # A base's entrypoint may print or start things; the container image's own check would run beside the job.
    plain = ["--entrypoint=", "--no-healthcheck", "--log-driver=none"]
    shared = ["--network=host", "--ipc=host", "--pid=host"]
    within = [f"--workdir={folder}", *mounts, *(f"--env={name}" for name in names)]
    if container.runtime == "docker":
        devices = ["--gpus=all"] if gpus else []
        return [*client, *plain, *shared, f"--user={user[0]}:{user[1]}", *devices, *within, container.image]
    # For root there is nobody to keep; for others, files are theirs inside and outside.
    who = ["--userns=keep-id"] if user[0] else []
    devices = ["--device=nvidia.com/gpu=all"] if gpus else []
    return [*client, *plain, *shared, *who, *devices, *within, container.image]


def srun_options(
    cluster: Cluster, *, binds: Sequence[Bind], environment_names: Sequence[str], folder: str
) -> list[str]:
    """Options of srun: with pyxis what starts the container, else none.

    With pyxis srun's task is the command itself, inside, so signals need no help. Raises UserError for a path that
    pyxis cannot bind.
    """
    if cluster.container is None or cluster.container.runtime != "pyxis":
        return []
    mounts = [_pyxis_mount(bind) for bind in _binds(cluster, binds)]
    return [
        f"--container-image={cluster.container.image}",
        *([f"--container-mounts={','.join(mounts)}"] if mounts else []),
        # Without it, the image's value of a variable wins over the job's.
        f"--container-env={','.join(_names(cluster, environment_names))}",
        f"--container-workdir={folder}",
        "--no-container-mount-home",
        "--no-container-entrypoint",
    ]


def cache_folders(cluster: Cluster) -> Mapping[str, str]:
    """CACHES as far as the profile does not say otherwise; none without a container."""
    if cluster.container is None:
        return {}
    return {name: folder for name, folder in CACHES.items() if name not in cluster.environment}


def _names(cluster: Cluster, environment_names: Sequence[str]) -> list[str]:
    # Where the profile names no disk, TMPDIR is the host's own and may be nowhere inside.
    scratch = ["TMPDIR"] if cluster.node_scratch is not None else []
    return list(dict.fromkeys([*TASK_VARIABLES, *scratch, *CACHES, *cluster.environment, *environment_names]))


def _binds(cluster: Cluster, binds: Sequence[Bind]) -> list[Bind]:
    """The given ones, the profile's own, and the disk that TMPDIR is on; of several on one target the first counts.

    A folder comes before what lies in it: some runtimes mount in the order they are told, one over the other.
    """
    assert cluster.container is not None
    scratch = [Bind(root, root)] if (root := cluster.node_scratch_root) else []
    found: dict[str, Bind] = {}
    for bind in (*binds, *cluster.container.parsed_binds, *scratch):
        found.setdefault(bind.target, bind)
    return sorted(found.values(), key=lambda bind: sum(PurePath(bind.target).is_relative_to(other) for other in found))


def _pyxis_mount(bind: Bind) -> str:
    for path in (bind.source, bind.target):
        if ":" in path or "," in path:
            raise UserError(f"path {path!r}", "has a ':' or ',', which pyxis cannot bind", "choose another folder")
    return f"{bind.source}:{bind.target}:{'ro' if bind.read_only else 'rw'}"


def _mount(bind: Bind, runtime: str) -> str:
    """A bind as a row of CSV, which can hold any path; `source:target` cannot hold one with a colon or a comma."""
    target = "destination" if runtime in SIF_RUNTIMES else "target"
    row = ["type=bind", f"source={bind.source}", f"{target}={bind.target}"]
    if bind.read_only:
        row.append("ro" if runtime in SIF_RUNTIMES else "readonly")
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(row)
    return line.getvalue()
