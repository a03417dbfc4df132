"""What a library writes for its user alone becomes readable to whom the umask allows, and to nobody else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRITE = """
import sys, tempfile
from pathlib import Path
import torch
from safetensors.torch import save_file
from urbanvlm.permissions import open_to_whom_the_umask_allows
folder = Path(sys.argv[1])
(folder / "deep").mkdir()
save_file({"x": torch.zeros(2)}, folder / "deep" / "model.safetensors")
tempfile.NamedTemporaryFile(dir=folder, delete=False, suffix=".tmpfile").close()
save_file({"x": torch.zeros(2)}, folder / "alone")
open_to_whom_the_umask_allows(folder / "alone")
open_to_whom_the_umask_allows(folder)
"""


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o027, 0o640), (0o077, 0o600)])
def test_files_get_the_mode_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    tmp_path.chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], env=environment, umask=umask, check=True, timeout=120)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3, "nothing else is left there"
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}
