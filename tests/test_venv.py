"""How `.venv` comes to be: which build of torch, what happens when it is interrupted, stale, or impossible.

The real script with a stand-in for the Python interpreter, which notes what it is asked to do; a real installation of
gigabytes is what `make test` itself has already done.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STAND_IN = """#!/bin/sh
echo "$*" >> "$NOTES"
case "$*" in
    *version_info*) exit "${IS_OLD:-0}" ;;
    *ensurepip*) exit "${LACKS_VENV:-0}" ;;
    --version) echo Python 3.11.0 ;;
    "-m venv .venv") sleep "${SLOW:-0}"; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *torch-cpu.lock*) echo "ERROR: ${CPU_ERROR:-}" >&2; [ -z "${CPU_ERROR:-}" ] ;;
    *requirements.lock*) [ -z "${SHARED_FAILS:-}" ] ;;
esac
"""
NO_WHEEL = "No matching distribution found for torch==2.13.0+cpu"


class Checkout:
    """A checkout with nothing but the locks and the script, beside a stand-in interpreter and a fake nvidia-smi."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "with a space"
        self.notes = folder / "notes"
        self.programs = folder / "programs"
        self.programs.mkdir()
        shutil.copytree(ROOT / "containers", self.folder / "containers")
        self.program("python3", STAND_IN)
        self.program("nvidia-smi", "#!/bin/sh\nexit 9\n")

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("TORCH", "PYTHON")}
        inherited["PATH"] = f"{self.programs}:{inherited['PATH']}"
        return subprocess.Popen(
            [self.folder / "containers" / "venv.sh", *arguments],
            env=inherited | {"NOTES": str(self.notes)} | environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def make(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        _, said = process.communicate(timeout=60)
        return process.returncode, said

    @property
    def flavour(self) -> str | None:
        stamp = self.folder / ".venv" / "made-from"
        words = stamp.read_text().split() if stamp.exists() else []
        return words[1] if words else None

    def asked(self) -> list[str]:
        """What the interpreter was asked since the last call."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def installs(asked: list[str]) -> list[str]:
    return [line.rpartition("-r ")[2].removeprefix("containers/") for line in asked if "pip install" in line]


def test_the_cpu_build_where_pip_finds_it_and_every_install_checks_hashes(checkout: Checkout) -> None:
    assert checkout.make()[0] == 0
    asked = checkout.asked()
    assert checkout.flavour == "cpu"
    assert installs(asked)[1:] == ["requirements.lock", "torch-cpu.lock"]
    assert all("--require-hashes" in line for line in asked if "pip install" in line)
    assert asked[-1] == "-m pip check"


@pytest.mark.parametrize("error", [NO_WHEEL, "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."])
def test_the_cuda_build_where_pip_finds_no_such_cpu_wheel_and_it_says_so(checkout: Checkout, error: str) -> None:
    code, said = checkout.make(CPU_ERROR=error)
    assert (code, checkout.flavour) == (0, "cuda")
    assert installs(checkout.asked())[1:] == ["requirements.lock", "torch-cpu.lock", "torch-cuda.lock"]
    assert "no CPU wheel of torch" in said


def test_the_cuda_build_where_nvidia_smi_answers(checkout: Checkout) -> None:
    checkout.program("nvidia-smi", "#!/bin/sh\nexit 0\n")
    assert checkout.make()[0] == 0
    assert checkout.flavour == "cuda"
    assert "torch-cpu.lock" not in installs(checkout.asked())


def test_an_error_that_is_not_about_the_wheel_is_shown_and_takes_nothing_else(checkout: Checkout) -> None:
    code, said = checkout.make(CPU_ERROR="No space left on device")
    assert code == 2
    assert "No space left on device" in said
    assert checkout.flavour is None


def test_who_names_the_build_gets_it_or_an_error(checkout: Checkout) -> None:
    assert checkout.make(TORCH="cpu", CPU_ERROR=NO_WHEEL)[0] == 2
    assert checkout.make(TORCH="cuda")[0] == 0
    assert checkout.flavour == "cuda"
    assert checkout.make(TORCH="cpu")[0] == 0
    assert checkout.flavour == "cpu"
    assert checkout.make(TORCH="rocm")[0] == 2


def test_made_once_then_only_looked_at(checkout: Checkout) -> None:
    checkout.make()
    checkout.asked()
    assert checkout.make() == (0, "")
    assert [line for line in checkout.asked() if "-m" in line] == []


def test_made_anew_when_a_lock_changes_or_its_python_is_gone(checkout: Checkout) -> None:
    checkout.make()
    left_over = checkout.folder / ".venv" / "left-over"
    left_over.touch()
    with (checkout.folder / "containers" / "requirements.lock").open("a") as lock:
        lock.write("# another line\n")
    checkout.make()
    assert not left_over.exists()
    left_over.touch()
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    checkout.make()
    assert not left_over.exists()


def test_what_developers_need_comes_on_top_and_follows_its_lock(checkout: Checkout) -> None:
    checkout.make()
    checkout.asked()
    assert checkout.make("dev")[0] == 0
    assert installs(checkout.asked()) == ["dev.lock"]
    assert checkout.make("dev") == (0, "")
    with (checkout.folder / "containers" / "dev.lock").open("a") as lock:
        lock.write("# another line\n")
    checkout.asked()
    assert checkout.make()[0] == 0
    assert installs(checkout.asked()) == []
    assert checkout.make("dev")[0] == 0
    assert installs(checkout.asked()) == ["dev.lock"]


def test_half_made_is_made_again(checkout: Checkout) -> None:
    (checkout.folder / ".venv").mkdir()
    assert checkout.make(SHARED_FAILS="1")[0] == 2
    assert checkout.flavour is None
    assert checkout.make()[0] == 0
    shutil.rmtree(checkout.folder / ".venv")
    process = checkout.start(SLOW="30")
    while "-m venv .venv" not in "".join(checkout.asked()):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert checkout.make()[0] == 0
    assert checkout.flavour == "cpu"


def test_two_at_once_make_it_once(checkout: Checkout) -> None:
    together = [checkout.start(SLOW="0.5") for _ in range(3)]
    for process in together:
        process.communicate(timeout=60)
    assert [process.returncode for process in together] == [0, 0, 0]
    assert checkout.asked().count("-m venv .venv") == 1


def test_an_environment_of_somebody_else_is_left_alone(checkout: Checkout) -> None:
    own = checkout.folder / ".venv" / "own"
    own.parent.mkdir()
    own.touch()
    code, said = checkout.make()
    assert code == 2
    assert "not made by make" in said
    assert own.exists()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"IS_OLD": "1"}, "is not Python 3.10 or newer"),
        ({"LACKS_VENV": "1"}, "lacks venv"),
        ({"PYTHON": "python-of-nowhere"}, "no python-of-nowhere here"),
    ],
)
def test_a_python_that_will_not_do_is_one_line_and_nothing_made(
    checkout: Checkout, environment: dict[str, str], words: str
) -> None:
    code, said = checkout.make(**environment)
    assert code == 2
    assert len(said.splitlines()) == 1
    assert words in said
    assert not (checkout.folder / ".venv").exists()
