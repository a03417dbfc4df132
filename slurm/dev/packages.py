"""Installing what a cluster needs from the distribution."""

from __future__ import annotations

import os
import shutil
import subprocess

from urbanvlm.errors import UserError


def missing_packages(needed: dict[str, str]) -> list[str]:
    """Packages of which a program is not on PATH; `needed` is program -> package."""
    return sorted({package for program, package in needed.items() if not shutil.which(program)})


def install(packages: list[str]) -> None:
    """Raises UserError when that is not possible here."""
    if not packages:
        return
    where = f"packages {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise UserError(where, "this machine has no apt-get to install them with", "install Slurm and munge by hand")
    if os.geteuid():
        raise UserError(
            where, "are missing, and only root can install them", f"sudo apt-get install {' '.join(packages)}"
        )
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _apt(environment, "update")
    _apt(environment, "install", "--yes", "--no-install-recommends", *packages)


def _apt(environment: dict[str, str], *words: str) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UserError(f"apt-get {' '.join(words)}", (done.stderr or done.stdout).strip())
