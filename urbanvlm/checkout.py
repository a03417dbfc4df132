"""The folder that this code lies in, and what git says of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""where the packages lie: a checkout, a run's code snapshot, or site-packages"""


def git(*arguments: str) -> str | None:
    """What git prints; None where there is no git or no repository, or git will not look at somebody else's folder."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip("\n")
