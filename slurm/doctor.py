"""`python -m urbanvlm doctor` as a job of a cluster would run it: in the profile's container, on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from slurm.binds import cache_of_models
from slurm.cluster import Bind, Cluster
from slurm.container import command_prefix
from slurm.image import settle_cluster
from slurm.submit import gpus_here
from urbanvlm.checkout import ROOT
from urbanvlm.errors import UserError


def doctor(cluster: Cluster, *, as_json: bool) -> int:
    """Exit code 0 if nothing is wrong, 1 if something is. Raises UserError where the container cannot be started."""
    if cluster.container is not None and cluster.container.runtime == "pyxis":
        what = "pyxis starts a container inside a job only"
        raise UserError(f"cluster {cluster.name}", what, f"make preflight CLUSTER={cluster.called}")
    gpus = bool(gpus_here())
    cluster, _ = settle_cluster(cluster, gpus=gpus)
    container = cluster.container
    hub = cache_of_models(cluster)
    variables = {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", **cluster.environment}
    command = ["-m", "urbanvlm", "doctor", *(["--json"] if as_json else [])]
    if container is None:
        return subprocess.run([sys.executable, *command], env=os.environ | variables, check=False).returncode
    assert container.image is not None
    if shutil.which(container.runtime) is None:
        what = f"{container.runtime} is not on this machine"
        raise UserError(f"cluster {cluster.name}", what, "make doctor on a machine that has it, or make preflight")
    code = str(ROOT)
    binds = [Bind(code, code, read_only=True), *([Bind(str(hub), str(hub), read_only=True)] if hub.is_dir() else [])]
    prefix = command_prefix(
        cluster,
        gpus=gpus,
        binds=binds,
        environment_names=list(variables),
        folder=code,
        user=(os.getuid(), os.getgid()),
    )
    done = subprocess.run([*prefix, "python3", "-s", *command], env=os.environ | variables, check=False).returncode
    if done not in (0, 1, 2):
        what = f"{container.runtime} could not start python3 in it (exit code {done}), see above"
        raise UserError(f"container image {container.image}", what, "build or copy it anew: make image")
    return done
