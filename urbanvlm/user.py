"""A user whom the system does not know has a name and a home folder all the same: libraries ask for both."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import MutableMapping
from pathlib import Path


def settle_user(environment: MutableMapping[str, str]) -> None:
    """Set HOME, USER and LOGNAME where they are missing, for this process and those it starts.

    A container or a batch system may run us as a number without an entry among the users, and without HOME. Then
    `Path.home()` and `getpass.getuser()` raise, in torch and matplotlib among others, and `~` stays a folder's name.
    """
    try:
        entry = pwd.getpwuid(os.getuid())
        name, home = entry.pw_name, entry.pw_dir
    except KeyError:
        name, home = f"user{os.getuid()}", ""
    known = environment.get("LOGNAME") or environment.get("USER") or name
    for variable in ("USER", "LOGNAME"):
        if not environment.get(variable):
            environment[variable] = known
    if not environment.get("HOME"):
        environment["HOME"] = home or str(_stand_in_home())


def _stand_in_home() -> Path:
    """The same folder each time, so that caches in it are of use; another one where somebody else has that name."""
    folder = Path(tempfile.gettempdir()) / f"urbanvlm-home-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if folder.is_dir() and not folder.is_symlink() and status.st_uid == os.getuid():
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="urbanvlm-home-"))
