"""The folder that this code lies in, and what git says of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""where the packages lie: a checkout, a run's code snapshot, or site-packages"""
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
"""variables of a git hook, which make git speak of another repository than the folder's"""


@dataclass(frozen=True)
class Revision:
    """Which code a checkout holds, as far as git says."""

    commit: str | None = None
    changed: tuple[str, ...] | None = None
    """files that differ from the commit, in git's words; None where that is not known"""
    reason: str | None = None
    """why the commit, or what differs from it, is not known"""


def revision(*paths: str) -> Revision:
    """The checkout's commit, and which files below `paths` differ from it."""
    said, reason = _ask("rev-parse", "--show-toplevel", "HEAD")
    if said is None:
        return Revision(reason=reason)
    top, _, commit = said.partition("\n")
    if Path(top).resolve() != ROOT:
        return Revision(reason=f"{ROOT} is no repository of its own, but a part of {top}")
    changed, reason = _ask("status", "--porcelain", "--", *paths)
    return Revision(commit, None if changed is None else tuple(changed.splitlines()), reason)


def git(*arguments: str) -> str | None:
    """What git prints; None where there is no git or no repository, or git will not look at somebody else's folder."""
    return _ask(*arguments)[0]


def _ask(*arguments: str) -> tuple[str | None, str | None]:
    """What git prints, or why it says nothing."""
    # Its messages are kept, so they are all in one language.
    environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE} | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=20,
            check=False,
        )
    except FileNotFoundError:
        return None, "there is no git here"
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"git cannot be asked ({error})"
    if done.returncode:
        words = next(iter(done.stderr.strip().splitlines()), f"it ended with exit code {done.returncode}")
        return None, f"git says: {words.removeprefix('fatal: ')}"
    return done.stdout.rstrip("\n"), None
