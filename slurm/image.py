"""The container image that jobs run in: is it there, and does it fit the code? Looked at before they start.

A task looks again when it starts, from inside: a file may be replaced, and some cannot be looked at from here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from slurm.binds import check_binds
from slurm.cluster import Cluster
from slurm.container import SIF_RUNTIMES
from slurm.plan import Plan
from urbanvlm.checkout import ROOT
from urbanvlm.errors import UserError
from urbanvlm.locks import FLAVOURS, check_lock, code_locks

RUNTIMES = ("apptainer", "podman", "docker")
"""of one machine, in the order in which `make image` looks for one to build with"""
LABELS = {"flavour": "org.urbanvlm.flavour", "lock": "org.urbanvlm.lock"}
FACTS_FILE = "opt/urbanvlm/image.json"
SECONDS = 120
"""A runtime takes seconds; one whose daemon or file server does not answer takes for ever."""


@dataclass(frozen=True)
class Seen:
    """What a look at a container image from outside told."""

    facts: dict[str, str] | None = None
    """what it says of itself; None where that cannot be read from here"""
    missing: bool = False
    why: str = ""
    """there are no facts, in words"""


def settle(plans: Sequence[Plan]) -> tuple[list[Plan], list[str]]:
    """The plans, all for one cluster, with what `settle_cluster` says of it. Raises UserError."""
    gpus = any(job.gpus_per_task for plan in plans for job in plan.jobs)
    cluster, remarks = settle_cluster(plans[0].cluster, gpus=gpus)
    return [replace(plan, cluster=cluster) for plan in plans], remarks


def settle_cluster(cluster: Cluster, *, gpus: bool) -> tuple[Cluster, list[str]]:
    """The cluster with the runtime and the container image that its jobs get, and what one should know of it.

    Raises UserError where no job could start in it, with the command that mends it.
    """
    if cluster.container is None:
        return cluster, []
    check_binds(cluster)
    runtime, note = _runtime(cluster)
    image, seen = _image(cluster, runtime, gpus)
    remarks = [note] if note else []
    if seen.facts is not None:
        check_facts(seen.facts, f"container image {image}", gpus=gpus)
    elif seen.missing and not _is_elsewhere(cluster, runtime):
        raise UserError(f"container image {image}", seen.why, _remedy(cluster, image, gpus))
    else:
        remarks.append(f"container image {image}: {seen.why}; each job looks whether it fits the code when it starts")
    container = cluster.container.model_copy(update={"runtime": runtime, "image": image})
    return cluster.model_copy(update={"container": container}), remarks


def check_facts(facts: dict[str, str], where: str, *, gpus: bool) -> None:
    """Raise UserError unless a container image that says this of itself fits the code's locks and the jobs."""
    flavour, lock = facts.get("flavour", ""), facts.get("lock", "")
    if flavour not in FLAVOURS or not lock:
        raise UserError(where, "is none of ours: it does not say which packages it holds", "make image makes one")
    if gpus and flavour != "cuda":
        raise UserError(where, "has the CPU build of torch, and the plan needs GPUs", "make image TORCH=cuda")
    check_lock(lock, flavour, where)


def own_image(runtime: str, flavour: str, lock: str, folder: Path) -> str:
    """The name that `make image` gives to what it builds. Pure."""
    if runtime in SIF_RUNTIMES:
        return str(folder / f"urbanvlm-{flavour}-{lock}.sif")
    return f"localhost/urbanvlm:{flavour}-{lock}"


def images_folder() -> Path:
    """Where `make image` puts files."""
    return Path(os.environ.get("URBANVLM_IMAGES") or ROOT / "containers" / "images").absolute()


def read_facts(runtime: str, text: str) -> dict[str, str]:
    """What a container image says of itself, from what its runtime prints of its labels. Pure; ValueError if unread."""
    labels: Any = json.loads(text)
    if runtime in SIF_RUNTIMES:
        labels = labels.get("data", {}).get("attributes", {}).get("labels", {})
    labels = labels if isinstance(labels, dict) else {}
    return {fact: str(labels.get(label) or "") for fact, label in LABELS.items()}


def look(runtime: str, image: str) -> Seen:
    """A look at a container image from this machine, outside of it."""
    if runtime == "pyxis" or runtime in SIF_RUNTIMES:
        return _look_at_file(runtime, image)
    if shutil.which(runtime) is None:
        return Seen(missing=True, why=f"cannot be looked at from here, without {runtime}")
    done = _run([runtime, "image", "inspect", "--format={{json .Config.Labels}}", image])
    if done.returncode:
        absent = any(words in done.stderr.lower() for words in ("no such image", "image not known"))
        why = f"{runtime} of this machine has none of that name" if absent else _last_line(done.stderr)
        return Seen(missing=True, why=why)
    return _read(runtime, done.stdout)


def _look_at_file(runtime: str, image: str) -> Seen:
    if "://" in image or (runtime == "pyxis" and not image.startswith(("/", "./", "../"))):
        return Seen(why="is a registry's, which is not asked from here")
    if not Path(image).exists():
        return Seen(missing=True, why="no such file")
    if runtime == "pyxis":
        program, command = "unsquashfs", ["unsquashfs", "-cat", image, FACTS_FILE]
    else:
        program, command = runtime, [runtime, "inspect", "--json", image]
    if shutil.which(program) is None:
        return Seen(why=f"cannot be read here, without {program}")
    done = _run(command)
    if done.returncode and runtime == "pyxis":
        return Seen(why=f"unsquashfs finds no {FACTS_FILE} in it ({_last_line(done.stderr)})")
    if done.returncode:
        raise UserError(
            f"container image {image}", f"cannot be read: {_last_line(done.stderr)}", "build or copy it anew"
        )
    return _read(runtime, done.stdout)


def _read(runtime: str, text: str) -> Seen:
    try:
        return Seen(json.loads(text) if runtime == "pyxis" else read_facts(runtime, text))
    except (ValueError, AttributeError) as error:
        return Seen(why=f"{runtime} says what is not understood here ({error})")


def _runtime(cluster: Cluster) -> tuple[str, str]:
    """(the runtime, what one should know of it). Raises UserError where this machine must have it and has not."""
    assert cluster.container is not None
    runtime = cluster.container.runtime
    if runtime == "any":
        for found in RUNTIMES:
            if shutil.which(found):
                return found, ""
        raise UserError(
            f"cluster {cluster.name}: container.runtime",
            "this machine has neither apptainer nor podman nor docker",
            "install one of them, or use CLUSTER=local",
        )
    if runtime == "pyxis" or shutil.which(runtime):
        return runtime, ""
    if cluster.executor == "local":
        raise UserError(
            f"cluster {cluster.name}: container.runtime",
            f"this machine has no {runtime}",
            "install it, or name another one",
        )
    return runtime, f"this machine has no {runtime}: the nodes must, by themselves or by a line of setup"


def _image(cluster: Cluster, runtime: str, gpus: bool) -> tuple[str, Seen]:
    """The profile's container image, or the first of ours for this code that is here, and what a look at it told."""
    assert cluster.container is not None
    if cluster.container.image is not None:
        return cluster.container.image, _look_once(runtime, cluster.container.image)
    locks, folder = code_locks(), images_folder()
    # For the CPU, either build of torch will do.
    names = [own_image(runtime, flavour, locks[flavour], folder) for flavour in (("cuda",) if gpus else FLAVOURS)]
    looks = [(name, _look_once(runtime, name)) for name in names]
    return next(((name, seen) for name, seen in looks if not seen.missing), looks[0])


_look_once = cache(look)


def _is_elsewhere(cluster: Cluster, runtime: str) -> bool:
    """May nodes have a container image that this machine has not? They have stores of their own; files are shared."""
    return cluster.executor == "slurm" and runtime in ("docker", "podman")


def _remedy(cluster: Cluster, image: str, gpus: bool) -> str:
    assert cluster.container is not None
    make = f"make image TORCH={'cuda' if gpus else 'cpu'}"
    if cluster.container.image is None:
        return f"{make} builds it"
    if cluster.container.runtime == "pyxis":
        return "let enroot make it (docs/containers.md), or mend container.image"
    return f"{make}, and name in container.image what it made; or copy it to {image}"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {SECONDS} s")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no word why"
