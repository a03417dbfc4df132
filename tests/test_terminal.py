"""A terminal that is not UTF-8 shows plain signs; nothing ends because of a tick, and files stay UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from urbanvlm.terminal import PLAIN

ROOT = Path(__file__).parent.parent
ENCODINGS = [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]


def run(encoding: dict[str, str], code: str, folder: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "PYTHONIOENCODING")}
    environment |= {"PYTHONPATH": str(ROOT)} | encoding
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, timeout=120)


LIVE = """
from pathlib import Path
from rich.console import Console
from slurm.live import Live
from slurm.plan import make_plan
from slurm.cluster import load_cluster
from urbanvlm.experiment import load_experiment
from urbanvlm.terminal import use_plain_signs
use_plain_signs()
job = make_plan(load_experiment(Path("experiments/demo.yaml")), load_cluster("local")).jobs[0]
Path({file!r}).write_text("\\N{{CHECK MARK}}", encoding="utf-8")
for is_terminal in (False, True):
    live = Live(Console(highlight=False, force_terminal=is_terminal, color_system=None))
    live.skipped(job)
    with live.running(job):
        pass
"""


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_a_finished_stage_is_told_to_any_terminal(tmp_path: Path, encoding: dict[str, str]) -> None:
    done = run(encoding, LIVE.format(file=str(tmp_path / "file")))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.isascii() or "latin-1" in encoding.values()
    assert b"+ synthesize" in done.stdout
    assert (tmp_path / "file").read_bytes() == "✓".encode()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_a_plan_and_a_refusal_are_shown_on_any_terminal(encoding: dict[str, str]) -> None:
    command = "import sys; from slurm.__main__ import main; sys.exit(main(['plan', 'experiments/demo.yaml', *{}]))"
    shown = run(encoding, command.format(["--cluster", "slurm-example"]))
    assert shown.returncode == 0, shown.stderr.decode()
    assert shown.stdout.isascii() or "latin-1" in encoding.values()
    refused = run(encoding, command.format(r"['--set', 'nonsense=\u2192\u4e2d']"))
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    assert b"unknown key" in refused.stderr


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_a_help_is_shown_on_any_terminal(encoding: dict[str, str]) -> None:
    for module, words in (("urbanvlm.cli", ["questions", "--help"]), ("slurm.__main__", ["submit", "--help"])):
        shown = run(encoding, f"from {module} import main; main({words})")
        assert shown.returncode == 0, shown.stderr.decode()


def test_half_a_character_of_a_file_name_is_shown() -> None:
    code = "from urbanvlm.terminal import use_plain_signs; use_plain_signs(); print('caf\\udce9 ✓')"
    assert run({"PYTHONIOENCODING": "utf-8"}, code).stdout == "caf\\udce9 ✓\n".encode()
    assert run({"PYTHONIOENCODING": "ascii"}, code).stdout == b"caf\\udce9 +\n"


def test_every_plain_form_is_plain() -> None:
    assert all(plain.isascii() and plain for plain in PLAIN.values())
