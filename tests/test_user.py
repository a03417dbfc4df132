"""A user whom the system does not know, without HOME, meets no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from urbanvlm.user import settle_user

ROOT = Path(__file__).parent.parent
UNKNOWN = """
import os, pwd, sys
def unknown(_):
    raise KeyError("no such user")
pwd.getpwuid = unknown
"""
SHOW = """
from slurm.__main__ import main
code = main(["plan", "experiments/demo.yaml"])
import getpass
from pathlib import Path
from torch._inductor.runtime.cache_dir_utils import cache_dir
import matplotlib
matplotlib.get_cachedir()
print(getpass.getuser(), Path.home(), os.path.expanduser("~"), Path(cache_dir()).name)
sys.exit(code)
"""


def test_a_user_without_entry_and_home_sees_a_plan(tmp_path: Path) -> None:
    gone = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")
    gone += ("TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    environment |= {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", UNKNOWN + SHOW], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    name, home = f"user{os.getuid()}", str(tmp_path / f"urbanvlm-home-{os.getuid()}")
    assert done.stdout.splitlines()[-1] == f"{name} {home} {home} torchinductor_{name}"


def test_what_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"HOME": "/somewhere", "USER": "me", "LOGNAME": "me too"}
    settle_user(environment)
    assert environment == {"HOME": "/somewhere", "USER": "me", "LOGNAME": "me too"}


def test_a_folder_of_somebody_else_is_not_taken_for_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"urbanvlm-home-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    environment = {"HOME": ""}
    settle_user(environment)
    home = Path(environment["HOME"])
    assert home.parent == tmp_path and home.is_dir() and not home.is_symlink()
