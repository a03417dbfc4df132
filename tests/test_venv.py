"""How `.venv` comes to be: which build of torch, what happens when it is interrupted, stale, or impossible.

The real script with a stand-in for the Python interpreter, which notes what it is asked to do; a real installation of
gigabytes is what `make test` itself has already done.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
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
    *requirements.lock*) env | grep ^PIP_ > "$NOTES.pip"; [ -z "${SHARED_FAILS:-}" ] ;;
    "-m pip index versions torch") [ -n "${VERSIONS:-}" ] && echo "Available versions: $VERSIONS" ;;
    "-m pip download"*) mkdir -p .venv/wheels; echo "$WHEEL" > .venv/wheels/torch-1.whl; [ -n "${WHEEL:-}" ] ;;
    "-c "?"import ast"*) shift; exec "$REAL" -c "$(cat "$NOTES.config" 2> /dev/null || echo pass)" ;;
    "-c import torch"*) [ -z "${CANNOT_IMPORT:-}" ] ;;
esac
"""
NO_WHEEL = "ResolutionImpossible: or any other words"
VERSION = (ROOT / "containers" / "torch-cpu.lock").read_text().split("torch==")[1].split()[0]
OTHER_VERSIONS = "2.99.0, 2.98.0"


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

    def pip_settings(self) -> dict[str, str]:
        """Those of the environment in which the shared packages were installed."""
        lines = self.notes.with_name("notes.pip").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def start(
        self, *arguments: str, cwd: Path | None = None, script: str | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("TORCH", "PYTHON")}
        inherited["PATH"] = f"{self.programs}:{inherited['PATH']}"
        return subprocess.Popen(
            [script or self.folder / "containers" / "venv.sh", *arguments],
            env=inherited | {"NOTES": str(self.notes), "REAL": sys.executable} | environment,
            cwd=cwd,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def make(
        self, *arguments: str, cwd: Path | None = None, script: str | None = None, **environment: str
    ) -> tuple[int, str]:
        process = self.start(*arguments, cwd=cwd, script=script, **environment)
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
    assert asked[-2] == "-m pip check" and asked[-1].startswith("-c import torch")


@pytest.mark.parametrize(
    "there",
    [{"VERSIONS": OTHER_VERSIONS}, {"VERSIONS": f"{OTHER_VERSIONS}, {VERSION}", "WHEEL": "of a hash of its own"}],
)
def test_the_cuda_build_where_pip_finds_no_such_cpu_wheel_and_it_says_so(
    checkout: Checkout, there: dict[str, str]
) -> None:
    """Whatever words pip has for it: it is asked what is there."""
    code, said = checkout.make(CPU_ERROR=NO_WHEEL, **there)
    assert (code, checkout.flavour) == (0, "cuda")
    assert installs(checkout.asked())[1:] == ["requirements.lock", "torch-cpu.lock", "torch-cuda.lock"]
    assert "no CPU wheel of torch" in said


def test_the_cuda_build_where_nvidia_smi_answers(checkout: Checkout) -> None:
    checkout.program("nvidia-smi", "#!/bin/sh\nexit 0\n")
    assert checkout.make()[0] == 0
    assert checkout.flavour == "cuda"
    assert "torch-cpu.lock" not in installs(checkout.asked())


def test_an_error_that_is_not_about_the_wheel_is_shown_and_takes_nothing_else(checkout: Checkout) -> None:
    for there in ({}, {"VERSIONS": f"{VERSION}, {OTHER_VERSIONS}"}):
        code, said = checkout.make(CPU_ERROR="No space left on device", **there)
        assert code == 2
        assert "No space left on device" in said
        assert checkout.flavour is None
        assert not (checkout.folder / ".venv" / "wheels").exists()


def test_the_hash_of_the_lock_makes_a_wheel_the_right_one(checkout: Checkout) -> None:
    lock = checkout.folder / "containers" / "torch-cpu.lock"
    lock.write_text(f"torch=={VERSION} \\\n    --hash=sha256:{sha256(b'known' + bytes([10])).hexdigest()}\n")
    code, said = checkout.make(CPU_ERROR="No space left on device", VERSIONS=VERSION, WHEEL="known")
    assert (code, checkout.flavour) == (2, None), said


def test_what_cannot_be_imported_is_not_taken_for_made(checkout: Checkout) -> None:
    code, said = checkout.make(CANNOT_IMPORT="1")
    assert (code, checkout.flavour) == (2, None)
    assert "cannot be imported" in said


def test_the_size_is_said_before_anything_is_fetched(checkout: Checkout) -> None:
    code, said = checkout.make(SHARED_FAILS="1")
    assert code == 2
    assert "1.5 GB" in said.splitlines()[0] and "5 GB" in said.splitlines()[0]


def test_pips_settings_say_where_from_and_not_what_or_where_to(checkout: Checkout) -> None:
    unwanted = (
        "TARGET",
        "PREFIX",
        "ROOT",
        "USER",
        "DRY_RUN",
        "CONSTRAINT",
        "REQUIRE_VIRTUALENV",
        "NO_DEPS",
        "NO_BINARY",
    )
    checkout.make(**{f"PIP_{name}": "1" for name in unwanted}, PIP_INDEX_URL="https://left.example")
    assert checkout.pip_settings() == {"PIP_CONFIG_FILE": "/dev/null"}, "what pip does not tell of is gone"


def test_of_pips_files_and_variables_the_sources_are_kept(tmp_path: Path) -> None:
    """With the real pip."""
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://file.example/simple\ntarget = /elsewhere\nproxy = http://file.example\n"
        "[install]\nconstraint = /nowhere\nuse-feature = fast-deps\nextra-index-url =\n    https://a.example/it's\n    https://b.example\n"
    )
    script = f'set -eu; source "{ROOT}/containers/locks.sh"; keep_pip_sources "{sys.executable}"; env -0'
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": str(settings), "PIP_PROXY": "http://variable.example", "PIP_DRY_RUN": "1"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line.startswith("PIP_"))
    assert found["PIP_INDEX_URL"] == "https://file.example/simple"
    assert found["PIP_PROXY"] == "http://variable.example"
    assert found["PIP_EXTRA_INDEX_URL"].split() == ["https://a.example/it's", "https://b.example"]
    assert found["PIP_CONFIG_FILE"] == "/dev/null"
    assert not found.keys() & {"PIP_TARGET", "PIP_CONSTRAINT", "PIP_DRY_RUN", "PIP_USE_FEATURE"}
    settings.write_text("[global]\nuse-feature = fast-deps truststore\n")
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert "PIP_USE_FEATURE=truststore" in done.stdout.split("\0"), done.stderr


def test_settings_that_pip_cannot_read_are_said_and_nothing_is_installed(checkout: Checkout, tmp_path: Path) -> None:
    script = "import sys; sys.exit('pip: what it has against it')"
    checkout.notes.with_name("notes.config").write_text(script)
    code, said = checkout.make()
    assert (code, checkout.flavour, installs(checkout.asked())) == (2, None, [])
    assert "what it has against it" in said
    settings = tmp_path / "pip.conf"
    settings.write_text("no section\n")
    script = f'set -eu; source "{ROOT}/containers/locks.sh"; keep_pip_sources "{sys.executable}"; echo got on'
    environment = os.environ | {"PIP_CONFIG_FILE": str(settings)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(settings) in done.stderr and "pip cannot read its settings" in done.stderr


def test_a_script_is_found_whatever_cdpath_says(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "containers").mkdir(parents=True)
    environment = {"CDPATH": str(tmp_path / "elsewhere")}
    assert checkout.make(cwd=checkout.folder, script="containers/venv.sh", **environment)[0] == 0
    assert checkout.flavour == "cpu"


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
