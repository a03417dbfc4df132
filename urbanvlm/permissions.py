"""Who may read what a run writes: whom the umask or the folder's access list allows, whatever library wrote it."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def open_to_whom_the_umask_allows(path: Path) -> None:
    """Give a file, or every file below a folder, the permissions of a file that is simply created there.

    safetensors and tempfile make theirs for their user alone. A fresh file shows what is wanted: to ask for the umask
    is to change it for a moment, for all threads, and an access list of the folder's overrules it.
    """
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
    for folder in {file.parent for file in files}:
        trial = folder / f".mode.{os.getpid()}.tmp"
        with trial.open("wb") as fresh:
            mode = stat.S_IMODE(os.fstat(fresh.fileno()).st_mode)
        trial.unlink()
        for file in files:
            if file.parent == folder and stat.S_IMODE(file.stat().st_mode) != mode:
                file.chmod(mode)
