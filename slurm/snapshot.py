"""The code of a run, copied into its folder at submit: what is edited later does not reach a job that waits."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from urbanvlm.checkout import ROOT, revision
from urbanvlm.locks import LOCKS_FILE, known_locks
from urbanvlm.packages import CORE, installed_version
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder

PACKAGES = ("slurm", "urbanvlm")
LAUNCHER = '''"""Runs a module of this copy, wherever it is called from: `python THIS_FOLDER MODULE ARGUMENTS`."""

import runpy
import sys

if __name__ == "__main__":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
'''


def take_snapshot(run: RunFolder) -> Path:
    """Copy the code into the run folder, or find the same code there already. Returns the copy's folder.

    The copy also says which locks the code wants, so that a task in a container can tell whether the image has them.
    Beside it, `<copy>.json` says what it is: commit, whether files differed from it, or why that is not known, Python,
    versions of packages. No variable of the environment and no address of a remote is written.
    """
    # None of an installed package: only a container image asks for them.
    sources, locks = _sources(), json.dumps(known_locks()) + "\n"
    copy = run.snapshots / _digest(sources, locks)
    if copy.is_dir():
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=copy.parent) as making:
        for source in sources:
            target = Path(making) / "copy" / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        (Path(making) / "copy" / "__main__.py").write_text(LAUNCHER, encoding="utf-8")
        (Path(making) / "copy" / LOCKS_FILE).write_text(locks, encoding="utf-8")
        write_atomic(copy.with_suffix(".json"), json.dumps(_facts(), indent=1) + "\n")
        try:
            (Path(making) / "copy").rename(copy)
        except OSError:
            # Another submit was first with the same code.
            if not copy.is_dir():
                raise
    return copy


def _sources() -> list[Path]:
    return sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def _digest(sources: list[Path], locks: str) -> str:
    digest = hashlib.sha256(locks.encode())
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{source.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _facts() -> dict[str, Any]:
    found = revision(*PACKAGES)
    return {
        "commit": found.commit,
        "changed": list(found.changed) if found.changed is not None else None,
        **({"reason": found.reason} if found.reason else {}),
        "taken": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "packages": {name: installed_version(name) for name in CORE},
    }
