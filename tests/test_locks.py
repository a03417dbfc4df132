"""The locks: everything pinned with hashes, nothing that holds on one machine only, the flavours of torch alike."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
CONTAINERS = ROOT / "containers"
LOCKS = ("requirements", "torch-cpu", "torch-cuda", "dev")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@cache
def entries(lock: str) -> list[tuple[Requirement, int]]:
    """(requirement, number of hashes) of every entry. A line that is no entry, hash or comment fails."""
    text = (CONTAINERS / f"{lock}.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(Requirement(HASH.sub("", line).strip()), len(HASH.findall(line))) for line in lines]


def version_in(lock: str, name: str) -> Version:
    (specifier,) = next(r for r, _ in entries(lock) if canonicalize_name(r.name) == name).specifier
    return Version(specifier.version)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_pinned_to_one_version_and_has_hashes(lock: str) -> None:
    assert entries(lock)
    for requirement, hashes in entries(lock):
        assert [s.operator for s in requirement.specifier] == ["=="], requirement
        assert "*" not in str(requirement.specifier), requirement
        assert requirement.url is None, requirement
        assert hashes, f"{requirement} has no hash"


@pytest.mark.parametrize(
    "path", sorted(CONTAINERS.glob("*.lock")) + sorted(CONTAINERS.glob("*.in")), ids=lambda p: p.name
)
def test_no_registry_and_no_place_of_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("://", "/opt", "/home", "/root", "/tmp", "--index", "--extra-index", "--find-links", "--trusted-host"):
        assert word not in text, word


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", ["requirements", "torch-cuda", "dev"])
def test_a_package_has_at_most_one_version_for_a_python(lock: str, python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    versions = defaultdict(list)
    for requirement, _ in entries(lock):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            versions[canonicalize_name(requirement.name)].append(str(requirement.specifier))
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_torch_is_the_same_version_in_both_flavours() -> None:
    cpu, cuda = version_in("torch-cpu", "torch"), version_in("torch-cuda", "torch")
    assert cpu.public == cuda.public
    assert (cpu.local, cuda.local) == ("cpu", None), (
        "the CPU build's own version keeps pip from mistaking one for the other"
    )


def test_cuda_stays_in_its_own_lock() -> None:
    def is_cuda(name: str) -> bool:
        return name.startswith(("nvidia-", "cuda-")) or name in ("torch", "triton")

    assert [r.name for r, _ in entries("torch-cpu")] == ["torch"]
    assert all(is_cuda(r.name) for r, _ in entries("torch-cuda"))
    assert not any(is_cuda(r.name) for r, _ in entries("requirements"))


@pytest.mark.parametrize(
    ("source", "lock"), [("requirements", "requirements"), ("torch", "torch-cuda"), ("dev", "dev")]
)
def test_the_lock_is_made_from_what_is_asked_for(source: str, lock: str) -> None:
    locked = defaultdict(list)
    for requirement, _ in entries(lock):
        locked[canonicalize_name(requirement.name)].append(requirement)
    for line in (CONTAINERS / f"{source}.in").read_text(encoding="utf-8").splitlines():
        wanted = line.partition("#")[0].strip()
        if wanted:
            asked = Requirement(wanted)
            pins = [str(p.specifier).removeprefix("==") for p in locked[canonicalize_name(asked.name)]]
            assert any(asked.specifier.contains(pin) for pin in pins), f"{wanted} is not in {lock}.lock: run make lock"


def test_what_is_imported_is_asked_for_and_what_is_asked_for_is_imported() -> None:
    imported = set()
    for package in ("slurm", "urbanvlm"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
    imported -= {*sys.stdlib_module_names, "slurm", "urbanvlm"}
    distributions = packages_distributions()
    used = {canonicalize_name(name) for module in imported for name in distributions[module]}
    asked = set()
    for source in ("requirements", "torch"):
        lines = (CONTAINERS / f"{source}.in").read_text(encoding="utf-8").splitlines()
        asked |= {canonicalize_name(Requirement(w).name) for line in lines if (w := line.partition("#")[0].strip())}
    without_import = {"embreex", "tensorboard", "scikit-learn"}  # behind trimesh and torch; for its photographs
    assert used - asked == set()
    assert asked - used - without_import == set()


def test_the_running_environment_is_the_locks() -> None:
    for lock in ("requirements", "dev"):
        for requirement, _ in entries(lock):
            if requirement.marker is None or requirement.marker.evaluate():
                assert requirement.specifier.contains(version(requirement.name)), requirement
