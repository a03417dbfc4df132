"""`python -m urbanvlm doctor`: the packages, GPUs and disks that jobs would find here, and what is wrong with them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import urbanvlm
from urbanvlm import packages
from urbanvlm.checkout import ROOT, git
from urbanvlm.errors import UserError
from urbanvlm.locks import LOCKS_FILE, check_image, has_lock_files, image_facts, known_locks
from urbanvlm.models.hub import cache_folder
from urbanvlm.packages import CORE, Package

DRIVERS = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> the oldest driver that it works with (NVIDIA, CUDA Compatibility, table 1)"""
SHARED_MEMORY_MB = 256
"""docker gives 64 where nobody asks for more"""
SCRATCH_GB = 1.0
TRY_GPUS = """\
import torch
torch.cuda.init()
for number in range(torch.cuda.device_count()):
    assert float(torch.ones(8, device=f"cuda:{number}").sum()) == 8, f"GPU {number} computes wrongly"
print(torch.cuda.device_count())
"""
TRY_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """Something that is wrong."""

    where: str
    what: str
    fix: str


@dataclass(frozen=True)
class Gpus:
    """What the driver says of the GPUs, and whether torch can use them."""

    names: tuple[str, ...] = ()
    driver: str = ""
    problem: str = ""
    """why they cannot be used; empty if they can, or if there are none"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Exit code 0 if nothing is wrong, 1 if something is, 2 if it cannot be told."
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=doctor)


def doctor(options: argparse.Namespace) -> int:
    """1 if something is wrong. Raises UserError where the locks or the container image's facts cannot be read."""
    facts, findings = examine()
    if options.json:
        print(json.dumps(facts | {"findings": [asdict(one) for one in findings]}, indent=1, default=str))
    else:
        _show(facts, findings)
    return 1 if findings else 0


def examine() -> tuple[dict[str, Any], list[Finding]]:
    """Everything that is known, by name, and what is wrong of it."""
    image, cuda = image_facts(), packages.torch_cuda()
    flavour = image["flavour"] if image is not None else packages.torch_flavour()
    locked = packages.locked_versions(ROOT, flavour) if has_lock_files() else {}
    found = packages.look_at(list(dict.fromkeys((*CORE, *locked))), locked)
    gpus = _gpus(cuda)
    shared, scratch, hub = _shared_memory_mb(), _scratch(), cache_folder()
    findings = [
        *_image_findings(image),
        *_package_findings(found, image),
        *gpu_findings(gpus, cuda, image),
        *memory_findings(shared),
        *_scratch_findings(scratch),
    ]
    facts = {
        "urbanvlm": {"version": urbanvlm.__version__, "folder": ROOT} | _commit(),
        "python": {"version": platform.python_version(), "prefix": sys.prefix},
        "platform": platform.platform(),
        "image": image,
        "locks": known_locks(),
        "flavour": flavour,
        "packages": [asdict(one) for one in found],
        "hidden_in_home": packages.hidden_in_home([one.name for one in found]),
        "cuda": cuda,
        "gpus": asdict(gpus),
        "deepspeed_ops": packages.deepspeed_ops(),
        "shared_memory_mb": shared,
        "scratch": scratch,
        "hub": {
            "cache": hub,
            "checkpoints": len(list(hub.glob("models--*"))),
            "offline": os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"),
        },
    }
    return facts, findings


# ---- the code, its packages, the container image --------------------------------------------------------------------


def _commit() -> dict[str, Any]:
    """Of a checkout from git, of a snapshot from what was written down when it was taken."""
    if (ROOT / LOCKS_FILE).is_file():
        try:
            taken = json.loads(ROOT.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            taken = {}
        return {"snapshot": ROOT.name, "commit": taken.get("commit"), "changed": bool(taken.get("changed"))}
    if not (ROOT / ".git").exists():
        return {"commit": None, "changed": False}
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD") or _head(ROOT / ".git"), "changed": bool(changed)}


def _head(git: Path) -> str | None:
    """What a checkout is at where no git can be asked, as in a container image; None if it takes more than a look."""
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        return (git / head[5:]).read_text(encoding="utf-8").strip() if head.startswith("ref: ") else head
    except OSError:
        return None


def _image_findings(image: dict[str, str] | None) -> Iterator[Finding]:
    if image is None:
        return
    try:
        check_image()
    except UserError as error:
        where, _, rest = str(error).partition(": ")
        what, _, fix = rest.partition("; ")
        yield Finding(where, what, fix)


def _package_findings(found: list[Package], image: dict[str, str] | None) -> Iterator[Finding]:
    again = "make venv" if image is None else f"make image TORCH={image['flavour']}"
    for one in found:
        if one.is_foreign:
            assert one.place is not None
            what = f"is imported from {one.place}, outside of this Python"
            yield Finding(one.name, what, packages.why_seen(one.place))
        elif one.version is None and one.locked is not None:
            yield Finding(one.name, f"is not installed; the lock says {one.locked}", again)
        elif not one.is_right:
            yield Finding(one.name, f"is {one.version}, where the lock says {one.locked}", again)


# ---- GPUs -----------------------------------------------------------------------------------------------------------


def _gpus(cuda: str | None) -> Gpus:
    if shutil.which("nvidia-smi") is None:
        return Gpus()
    query = ["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, capture_output=True, encoding="utf-8", errors="replace", timeout=TRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Gpus(problem="nvidia-smi does not answer")
    if done.returncode:
        return Gpus(problem=f"nvidia-smi says: {_line(done.stdout + done.stderr)}")
    rows = [line.split(", ", 1) for line in done.stdout.splitlines() if ", " in line]
    if not rows:
        return Gpus()
    gpus = Gpus(tuple(name for _, name in rows), rows[0][0])
    return Gpus(gpus.names, gpus.driver, _try_gpus()) if cuda is not None else gpus


def _try_gpus() -> str:
    """Why torch cannot use them, from a process of its own: the only import of torch here."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", TRY_GPUS],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TRY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"torch does not come back within {TRY_SECONDS} s"
    return _line(done.stderr) or "torch cannot use them" if done.returncode else ""


def _line(text: str) -> str:
    """The last one that says something."""
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]


def gpu_findings(gpus: Gpus, cuda: str | None, image: dict[str, str] | None) -> Iterator[Finding]:
    """Pure: what is wrong with GPUs and driver, for a torch that is built for `cuda`, None of the CPU build."""
    if gpus.names and cuda is None:
        fix = "make venv TORCH=cuda" if image is None else "make image TORCH=cuda"
        yield Finding("torch", f"is the CPU build, which uses none of the {len(gpus.names)} GPUs here", fix)
    elif gpus.problem:
        oldest = DRIVERS.get(int(cuda.partition(".")[0])) if cuda is not None else None
        major = gpus.driver.partition(".")[0]
        if oldest is not None and major.isdigit() and int(major) < oldest:
            what = f"{gpus.driver} is too old for the CUDA {cuda} of this torch, which takes {oldest} or newer"
            yield Finding("GPU driver", what, "install a newer driver, or on data-centre GPUs NVIDIA's cuda-compat")
        else:
            yield Finding("GPUs", gpus.problem, "see that nvidia-smi works, and in a container that it is given GPUs")


# ---- memory and disks -----------------------------------------------------------------------------------------------


def _shared_memory_mb() -> int | None:
    try:
        return shutil.disk_usage("/dev/shm").total // 2**20  # noqa: S108 - its size is the question
    except OSError:
        return None


def memory_findings(megabytes: int | None) -> Iterator[Finding]:
    """Pure: of the size of /dev/shm, None where there is none."""
    if megabytes is None or megabytes < SHARED_MEMORY_MB:
        size = "there is none" if megabytes is None else f"{megabytes} MB are little"
        what = f"{size}, and processes of one machine exchange data through it"
        yield Finding("shared memory", what, "start the container with --ipc=host or --shm-size=8g")


def _scratch() -> dict[str, Any]:
    folder = os.environ.get("TMPDIR") or tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder):
            return {"folder": folder, "free_gb": round(shutil.disk_usage(folder).free / 1e9, 1), "problem": ""}
    except OSError as error:
        return {"folder": folder, "free_gb": None, "problem": error.strerror or "cannot be written"}


def _scratch_findings(scratch: dict[str, Any]) -> Iterator[Finding]:
    where = f"TMPDIR {scratch['folder']}"
    if scratch["problem"]:
        yield Finding(where, f"cannot be written ({scratch['problem']})", "set TMPDIR to a folder of your own")
    elif scratch["free_gb"] < SCRATCH_GB:
        yield Finding(where, f"has {scratch['free_gb']:g} GB left", "make room, or set TMPDIR to a larger disk")


# ---- words ----------------------------------------------------------------------------------------------------------


def _show(facts: dict[str, Any], findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in _rows(facts):
        table.add_row(name, escape(words))
    console.print(table)
    console.print()
    if not findings:
        console.print("nothing is wrong", style="green")
        return
    wrong = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "wrong", "mend it"):
        wrong.add_column(column, overflow="fold")
    for finding in findings:
        wrong.add_row(f"[bold red]{escape(finding.where)}[/]", escape(finding.what), escape(finding.fix))
    console.print(wrong)


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    code = facts["urbanvlm"]
    at = f", {code['commit'][:12]}{' with changes' if code['changed'] else ''}" if code["commit"] else ""
    at += f", snapshot {code['snapshot']}" if "snapshot" in code else ""
    yield "urbanvlm", f"{code['version']}{at}, in {code['folder']}"
    yield "Python", f"{facts['python']['version']} in {facts['python']['prefix']}"
    yield "machine", facts["platform"]
    yield "container image", _image_words(facts["image"])
    locks = ", ".join(f"{flavour} {lock}" for flavour, lock in facts["locks"].items())
    yield "locks of the code", locks or "unknown: it is an installed package"
    yield from _package_rows(facts)
    yield "GPUs", _gpu_words(facts["gpus"])
    ops = ", ".join(facts["deepspeed_ops"])
    yield "DeepSpeed's ops", f"{ops} are compiled" if ops else "none is compiled, and none is used"
    memory = facts["shared_memory_mb"]
    yield "shared memory", "none" if memory is None else f"{memory:,} MB"
    scratch = facts["scratch"]
    free = "" if scratch["free_gb"] is None else f", {scratch['free_gb']:g} GB free"
    yield "TMPDIR", f"{scratch['folder']}{free}"
    hub = facts["hub"]
    yield "checkpoints", f"{hub['checkpoints']} in {hub['cache']}{', offline' if hub['offline'] else ''}"


def _image_words(image: dict[str, str] | None) -> str:
    if image is None:
        return "none"
    return (
        f"{image['flavour']} {image['lock']}, of version {image['version']} ({image['commit'][:12]}) on {image['base']}"
    )


def _package_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    found = [Package(**one) for one in facts["packages"]]
    for one in found:
        if one.name in CORE or one.is_foreign or not one.is_right:
            words = one.version or "not installed"
            if one.name == "torch" and one.version:
                words += f", for CUDA {facts['cuda']}" if facts["cuda"] else ", CPU build"
            words += "" if one.is_right else f", locked {one.locked}"
            yield one.name, words + (f", from {one.place}" if one.is_foreign else "")
    if locked := [one for one in found if one.locked is not None]:
        right = sum(one.is_right and not one.is_foreign for one in locked)
        yield "packages", f"{right} of {len(locked)} are as the {facts['flavour']} locks say"
    if hidden := facts["hidden_in_home"]:
        yield "in your home", f"{', '.join(hidden)}: this Python passes them by"


def _gpu_words(gpus: dict[str, Any]) -> str:
    if not gpus["names"]:
        return "none"
    counted = {name: gpus["names"].count(name) for name in gpus["names"]}
    return ", ".join(f"{count} × {name}" for name, count in counted.items()) + f", driver {gpus['driver']}"
