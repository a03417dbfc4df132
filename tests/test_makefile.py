"""The make targets hand a user's words to Python unharmed. Python is a stand-in that notes its words."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent

STAND_IN = """#!/bin/sh
[ "$1" = -c ] && exit 0
[ -z "${SLOW:-}" ] || trap 'echo interrupted > "$NOTES.signal"; exit 130' INT
printf '%s\\0' "$@" > "$NOTES"
env > "$NOTES.env"
command -v python > "$NOTES.path"
[ -z "${SLOW:-}" ] || while :; do sleep 0.05; done
exit "${CODE:-0}"
"""


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "it's a $folder"
        self.folder.mkdir()
        self.notes = folder / "notes"
        shutil.copy(ROOT / "Makefile", self.folder)
        shutil.copytree(ROOT / "containers", self.folder / "containers")
        python = self.folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(STAND_IN)
        python.chmod(0o755)
        self.stamp("made-from", "requirements", "torch-cpu", "torch-cuda", words=" cpu")
        self.stamp("made-from-dev", "dev")

    def stamp(self, name: str, *locks: str, words: str = "") -> None:
        content = b"".join((self.folder / "containers" / f"{lock}.lock").read_bytes() for lock in locks)
        (self.folder / ".venv" / name).write_text(sha256(content).hexdigest() + words + "\n")

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        self.notes.unlink(missing_ok=True)
        ours = {
            k: v
            for k, v in os.environ.items()
            if k not in "EXP SET RUN JOB CLUSTER MODEL REVISION TORCH MAKEFLAGS MAKELEVEL MFLAGS".split()
        }
        return subprocess.Popen(
            ["make", *words],
            cwd=self.folder,
            env=ours | {"NOTES": str(self.notes)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell in the background has its children ignore Ctrl-C, and a shell cannot undo that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def make(self, *words: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def heard(self) -> list[str]:
        """The words that Python got."""
        return self.notes.read_text(encoding="utf-8").split("\0")[:-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("makefile"))


# A command line cannot carry NUL, make ends a value at a line's end, and strips blanks before it.
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1).filter(lambda t: t.strip() == t)
QUIET = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(experiment=VALUES, overrides=VALUES, cluster=VALUES)
def test_any_words_reach_python_unharmed(checkout: Checkout, experiment: str, overrides: str, cluster: str) -> None:
    code, _, err = checkout.make("submit", f"EXP={experiment}", f"SET={overrides}", f"CLUSTER={cluster}")
    assert (code, err) == (0, "")
    assert checkout.heard() == ["-m", "slurm", "submit", experiment, "--cluster", cluster, "--set", overrides]


@pytest.mark.parametrize(
    "value", ["my experiment.yaml", "a'b\"c.yaml", "$HOME/$(shell touch pwned)/${x}.yaml", "`touch pwned`", "a#b;c&d|e"]
)
def test_the_words_that_shells_and_make_love(checkout: Checkout, value: str) -> None:
    assert checkout.make("plan", f"EXP={value}", f"SET=x={value}")[0] == 0
    assert checkout.heard() == ["-m", "slurm", "plan", value, "--cluster", "local", "--set", f"x={value}"]
    assert checkout.make("plan", "EXP=x", f"ALLOW={value}")[0] == 0
    assert checkout.heard()[-1] == f"--allow={value}"
    assert checkout.make("logs", f"RUN={value}")[0] == 0
    assert checkout.heard() == ["-m", "slurm", "logs", value]
    assert checkout.make("logs", "RUN=x", f"JOB={value}")[0] == 0
    assert checkout.heard() == ["-m", "slurm", "logs", "x", f"--job={value}"]
    for verb in ("status", "cancel", "requeue"):
        assert checkout.make(verb, f"RUN={value}")[0] == 0
        assert checkout.heard() == ["-m", "slurm", verb, value]
    assert checkout.make("requeue", "RUN=x", f"CLUSTER={value}")[0] == 0
    assert checkout.heard() == ["-m", "slurm", "requeue", "x", f"--cluster={value}"]
    assert checkout.make("fetch", f"MODEL={value}", f"REVISION={value}")[0] == 0
    assert checkout.heard() == ["-m", "urbanvlm", "fetch", f"--revision={value}", "--", value]
    assert checkout.make("fetch", f"EXP={value}")[0] == 0
    assert checkout.heard() == ["-m", "urbanvlm", "fetch", f"--experiment={value}"]
    assert checkout.make("doctor", f"CLUSTER={value}")[0] == 0
    assert checkout.heard() == ["-m", "slurm", "doctor", "--cluster", value]
    assert checkout.make("doctor")[0] == 0
    assert checkout.heard() == ["-m", "urbanvlm", "doctor"]
    assert checkout.make("plan", EXP=value)[0] == 0
    assert checkout.heard()[3] == value, "from the environment too"
    assert not (checkout.folder / "pwned").exists()


@pytest.mark.parametrize(
    ("target", "name"),
    [("submit", "EXP"), ("plan", "EXP"), ("logs", "RUN"), ("cancel", "RUN"), ("requeue", "RUN"), ("fetch", "MODEL")],
)
def test_a_forgotten_value_is_one_line_and_exit_2(checkout: Checkout, target: str, name: str) -> None:
    code, _, err = checkout.make(target)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert f"needs {name}=" in err
    assert not checkout.notes.exists()


def test_a_failure_below_is_a_failure_of_make(checkout: Checkout) -> None:
    assert checkout.make("submit", "EXP=x.yaml", CODE="2")[0] == 2
    assert checkout.make("submit", "EXP=x.yaml", CODE="1")[0] != 0


def test_tensorboard_over_one_run_by_id_or_folder_or_over_all(checkout: Checkout) -> None:
    run = checkout.folder / "runs" / "demo-1"
    run.mkdir(parents=True)
    for value, folder in {
        "demo-1": "runs/demo-1",
        "runs/demo-1": "runs/demo-1",
        "": "runs/",
        str(run): str(run),
    }.items():
        assert checkout.make("tensorboard", f"RUN={value}")[0] == 0
        assert checkout.heard() == ["-m", "tensorboard.main", "--logdir", folder]
    code, _, err = checkout.make("tensorboard", "RUN=nowhere")
    assert code == 2
    assert "runs/nowhere: no such folder" in err


def test_programs_of_the_environment_come_first(checkout: Checkout) -> None:
    assert checkout.make("status")[0] == 0
    assert Path(checkout.notes.with_name("notes.path").read_text().strip()) == checkout.folder / ".venv/bin/python"


def test_another_pythons_variables_do_not_reach_ours(checkout: Checkout) -> None:
    theirs = {
        "PYTHONPATH": "/theirs",
        "PYTHONHOME": "/theirs",
        "PYTHONSTARTUP": "/theirs",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert checkout.make("status", CDPATH="/", **theirs)[0] == 0
    noted = checkout.notes.with_name("notes.env").read_text(encoding="utf-8", errors="replace")
    assert not {line.partition("=")[0] for line in noted.splitlines()} & {*theirs, "CDPATH"}


def test_ctrl_c_reaches_python_and_make_waits_for_it(checkout: Checkout) -> None:
    process = checkout.start("submit", "EXP=x.yaml", SLOW="1")
    path = checkout.notes.with_name("notes.path")
    path.unlink(missing_ok=True)
    while not path.exists() or not path.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert checkout.notes.with_name("notes.signal").exists()


def test_help_is_the_default_and_lists_every_target(checkout: Checkout) -> None:
    code, out, err = checkout.make()
    assert (code, err) == (0, "")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    assert [line.split()[1] for line in out.splitlines()] == phony.split()
    assert phony.split() == re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
