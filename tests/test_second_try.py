"""A failing test that runs processes is tried once more; a pure one never is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent

FAILS_AT_FIRST = """
from pathlib import Path
import pytest
{imports}

@pytest.fixture(scope="session")
def number(request):
    with Path({log!r}).open("a") as log:
        print("made", file=log)
    yield Path({log!r}).read_text().count("made")
    with Path({log!r}).open("a") as log:
        print("ended", file=log)

def test_before(number):
    assert number == 1

def test_it(number, tmp_path):
    assert tmp_path.is_dir()
    assert number == {wanted}

def test_after(number):
    assert number == {wanted}
"""


def run_pytest(folder: Path, **values: object) -> tuple[int, str, list[str]]:
    """Exit code, output, and what the session's fixture wrote."""
    log = folder / "log"
    (folder / "test_one.py").write_text(FAILS_AT_FIRST.format(log=str(log), **values))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    slurm\n    container\n")
    (folder / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n"
        "from second_try import pytest_runtest_protocol, pytest_terminal_summary\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=100", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    return done.returncode, done.stdout + done.stderr, log.read_text().split()


def test_a_second_try_has_new_fixtures_and_is_listed(tmp_path: Path) -> None:
    code, output, log = run_pytest(tmp_path, imports="import subprocess", wanted=2)
    assert code == 0, output
    assert "3 passed" in output
    assert "PASSED AT THE SECOND TRY ONLY, a bug to be mended: test_one.py::test_it" in output
    assert "assert 1 == 2" in output
    assert log == ["made", "ended", "made", "ended"]


def test_what_fails_twice_has_failed(tmp_path: Path) -> None:
    code, output, _ = run_pytest(tmp_path, imports="import subprocess", wanted=77)
    assert code == 1
    assert "2 failed, 1 passed" in output
    assert "FAILED TWICE: test_one.py::test_it" in output
    assert "assert 1 == 77" in output and "assert 2 == 77" in output


def test_a_pure_test_is_never_tried_again(tmp_path: Path) -> None:
    code, output, log = run_pytest(tmp_path, imports="", wanted=2)
    assert code == 1
    assert "2 failed, 1 passed" in output
    assert "SECOND TRY" not in output
    assert log == ["made", "ended"]
