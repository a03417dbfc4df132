"""Container images for tests: built once by the real tools, kept until what they are made of changes.

No registry of container images is needed: they stand on a Debian that `.ci/base` makes from this machine's packages.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from urbanvlm.locks import lock_hash

ROOT = Path(__file__).parent.parent
CONTAINERS = ROOT / "containers"
FLAVOUR = "cpu"
NEEDED = ("apptainer", "podman", "runc", "mmdebstrap", "mksquashfs", "squashfuse")
RECIPE = ("Dockerfile", "urbanvlm.def", "image.sh", "install.sh", "locks.sh", "selftest.py")

PODMAN = """\
[containers]
volumes = ["{wheels}:/wheels:ro"]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}"
runroot = "{run_root}"
"""


@dataclass(frozen=True)
class Workshop:
    """Where container images can be built. podman's are apart from those of whoever works on this machine."""

    folder: Path
    base: Path
    """Debian's files, which Apptainer builds on"""
    base_name: str
    """the same in podman"""
    environment: dict[str, str]
    """for every process that builds or runs a container"""

    def call(
        self, *command: str | Path, timeout: float = 1200, cwd: Path = ROOT, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def run(self, *command: str | Path, timeout: float = 1200, cwd: Path = ROOT, **environment: str) -> str:
        """What it prints; fails if it fails."""
        done = self.call(*command, timeout=timeout, cwd=cwd, **environment)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="session")
def workshop(pytestconfig: pytest.Config) -> Workshop:
    if os.geteuid():
        pytest.skip("missing: root, to build container images as CI does")
    if missing := [program for program in NEEDED if not shutil.which(program)]:
        pytest.skip(f"missing: {', '.join(missing)}; .ci/run installs them")
    folder = pytestconfig.cache.mkdir("container-images")
    with _alone(folder, "base"):
        wheels = folder / "wheels"
        _find_torch(wheels)
        (folder / "containers.conf").write_text(PODMAN.format(wheels=wheels))
        (folder / "storage.conf").write_text(STORAGE.format(folder=folder / "podman", run_root=_run_root(folder)))
        ours = {k: v for k, v in os.environ.items() if k not in ("TORCH", "RUNTIME", "BASE_IMAGE", "BUILD_BASE_IMAGE")}
        environment = ours | {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",  # here root may not do what a build asks of it otherwise
            "BUILDAH_LAYERS": "false",
            "APPTAINER_BIND": f"{wheels}:/wheels",
        }
        made_by = ROOT / ".ci" / "base"
        trusted = sorted(Path("/usr/local/share/ca-certificates").glob("*.crt"))
        key = _key(made_by, *trusted)
        base = folder / f"base-{key}"
        found = Workshop(folder, base, f"localhost/base:{key}", environment)
        if not base.exists():
            found.run(made_by, base)
        if found.call("podman", "image", "exists", found.base_name).returncode:
            archive = folder / "base.tar"
            found.run("tar", "-C", base, "-cf", archive, ".")
            found.run("podman", "import", "--quiet", archive, found.base_name)
            archive.unlink()
    return found


@pytest.fixture(scope="session")
def podman_image(workshop: Workshop) -> str:
    """The name of the container image that `make image` builds with podman."""
    name = f"localhost/urbanvlm:{FLAVOUR}-{lock_hash(CONTAINERS, FLAVOUR)}"
    tested = f"localhost/tested:{_recipe_key(workshop)}"
    with _alone(workshop.folder, "podman"):
        if workshop.call("podman", "image", "exists", tested).returncode:
            workshop.run("make", "image", TORCH=FLAVOUR, RUNTIME="podman", BASE_IMAGE=workshop.base_name)
            workshop.run("podman", "tag", name, tested)
    return tested


@pytest.fixture(scope="session")
def apptainer_image(workshop: Workshop) -> Path:
    """The file that `make image` builds with Apptainer; with its name in a folder that URBANVLM_IMAGES may name."""
    images = workshop.folder / f"apptainer-{_recipe_key(workshop)}"
    file = images / f"urbanvlm-{FLAVOUR}-{lock_hash(CONTAINERS, FLAVOUR)}.sif"
    with _alone(workshop.folder, "apptainer"):
        if not file.exists():
            workshop.run(
                "make", "image", TORCH=FLAVOUR, RUNTIME="apptainer", BASE_IMAGE=str(workshop.base),
                URBANVLM_IMAGES=str(images),
            )  # fmt: skip
    return file


def _run_root(folder: Path) -> Path:
    """Where podman's sockets lie: in a longer path, a socket's name would be too long."""
    return Path("/tmp") / f"urbanvlm-podman-{sha256(bytes(folder)).hexdigest()[:8]}"


def _find_torch(wheels: Path) -> None:
    """The wheel of the CPU build, from wherever pip finds it on this machine."""
    lock = CONTAINERS / f"torch-{FLAVOUR}.lock"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*download, "--dest", wheels, "-r", lock], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        pytest.skip(f"missing: the CPU build of torch, which pip does not find here: {done.stderr[-300:]}")


def _recipe_key(workshop: Workshop) -> str:
    locks = (CONTAINERS / name for name in ("requirements.lock", f"torch-{FLAVOUR}.lock"))
    return f"{workshop.base.name}-{_key(*(CONTAINERS / name for name in RECIPE), *locks)}"


def _key(*files: Path) -> str:
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


@contextmanager
def _alone(folder: Path, what: str) -> Iterator[None]:
    """Of several pytest at once, one makes it and the others find it made."""
    with (folder / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
