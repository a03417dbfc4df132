"""A cluster's container section -> what stands before a task's command, and what srun is told. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from slurm.cluster import Bind, Cluster
from urbanvlm.errors import UserError

TASK_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    *("MASTER_ADDR", "TMPDIR", "OMP_NUM_THREADS"),
    *(f"URBANVLM_{name}" for name in ("ATTEMPT", "END_TIME", "RENDEZVOUS", "JOB", "RESTART", "SUBMITTER")),
    *(
        f"SLURM_{name}"
        for name in (
            "ARRAY_JOB_ID", "ARRAY_TASK_ID", "CPUS_PER_TASK", "JOB_ID", "JOB_NODELIST", "JOB_NUM_NODES", "LOCALID",
            "NNODES", "NODEID", "NTASKS", "PROCID", "RESTART_COUNT", "STEP_ID",
        )
    ),
    "SUBMITIT_EXECUTOR",
    *(f"SUBMITIT_LOCAL_{name}" for name in ("GLOBALID", "JOB_ID", "LOCALID", "NNODES", "NODEID", "NTASKS")),
)  # fmt: skip
"""What a task must know of its job; no other variable of the host comes in but those that somebody names."""

ONLY_NAMED = """\
for name in "$@"; do
    shift
    [ "$name" != -- ] || break
    eval "[ -z \\"\\${$name+set}\\" ] || export APPTAINERENV_$name=\\"\\$$name\\""
done
exec "$@"
"""
"""Apptainer takes values, not names, and a task's rank is only known where the task starts."""


def command_prefix(
    cluster: Cluster,
    *,
    gpus: bool,
    binds: Sequence[Bind],
    environment_names: Sequence[str],
    user: tuple[int, int] | None = None,
) -> list[str]:
    """The words before a task's command; none without a container, and with pyxis, which is a part of srun.

    `user` is the (user id, group id) that docker's processes get: without it they are root's, and so are their files.

    How SIGUSR2 and SIGTERM reach the command inside:

    - apptainer: the shell in front replaces itself; what stays of Apptainer hands every signal to its child, and Slurm
      sends them to all processes of the step anyway, of which the child is one.
    - podman: the container is below the task, the client hands signals on (`--sig-proxy`, on by default without a
      terminal), and `--init` puts a first process in front that hands them on too. As the first process itself, a
      command would not hear a signal that it has no handler for.
    - docker: the same, but through a daemon: the container is no child of the task. Slurm neither counts nor ends it,
      and a client that is killed leaves it behind. Good for one machine of one's own, no more.
    """
    if cluster.container is None:
        return []
    all_binds, names = _binds(cluster, binds), _names(cluster, environment_names)
    mounts = [f"--mount={_mount(bind, cluster.container.runtime)}" for bind in all_binds]
    image = cluster.container.image
    if cluster.container.runtime == "apptainer":
        options = ["--cleanenv", "--no-home", *(["--nv"] if gpus else []), *mounts]
        return ["sh", "-c", ONLY_NAMED, "task", *names, "--", "apptainer", "exec", *options, image]
    # Ranks of one node exchange data through shared memory, those of several over the host's network.
    shared = ["--rm", "--init", "--network=host", "--ipc=host", *mounts, *(f"--env={name}" for name in names)]
    if cluster.container.runtime == "docker":
        who = [f"--user={user[0]}:{user[1]}"] if user is not None else []
        return ["docker", "run", *shared, *who, *(["--gpus=all"] if gpus else []), image]
    if cluster.container.runtime == "podman":
        return ["podman", "run", *shared, "--userns=keep-id", *(["--device=nvidia.com/gpu=all"] if gpus else []), image]
    return []


def srun_options(cluster: Cluster, *, binds: Sequence[Bind], environment_names: Sequence[str]) -> list[str]:
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
        "--no-container-mount-home",
        "--no-container-entrypoint",
    ]


def _names(cluster: Cluster, environment_names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*TASK_VARIABLES, *cluster.environment, *environment_names]))


def _binds(cluster: Cluster, binds: Sequence[Bind]) -> list[Bind]:
    """The given ones, the profile's own, and the disk that TMPDIR is on; of several on one target the first counts."""
    assert cluster.container is not None
    scratch = [Bind(root, root)] if (root := cluster.node_scratch_root) else []
    found: dict[str, Bind] = {}
    for bind in (*binds, *cluster.container.parsed_binds, *scratch):
        found.setdefault(bind.target, bind)
    return list(found.values())


def _pyxis_mount(bind: Bind) -> str:
    for path in (bind.source, bind.target):
        if ":" in path or "," in path:
            raise UserError(f"path {path!r}", "has a ':' or ',', which pyxis cannot bind", "choose another folder")
    return f"{bind.source}:{bind.target}:{'ro' if bind.read_only else 'rw'}"


def _mount(bind: Bind, runtime: str) -> str:
    """A bind as a row of CSV, which can hold any path; `source:target` cannot hold one with a colon or a comma."""
    target = "destination" if runtime == "apptainer" else "target"
    row = ["type=bind", f"source={bind.source}", f"{target}={bind.target}"]
    if bind.read_only:
        row.append("ro" if runtime == "apptainer" else "readonly")
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(row)
    return line.getvalue()
