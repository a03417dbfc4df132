"""The code and a container image agree on the packages by the hash of the locks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.snapshot import take_snapshot
from urbanvlm.errors import UserError
from urbanvlm.experiment import check_experiment
from urbanvlm.locks import FLAVOURS, check_image, code_locks, image_facts, known_locks, lock_hash
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
CONTAINERS = ROOT / "containers"


def facts_file(folder: Path, **changes: object) -> Path:
    facts = {"version": "0.1", "commit": "unknown", "flavour": "cpu", "lock": code_locks()["cpu"], "base": "debian"}
    file = folder / "image.json"
    file.write_text(json.dumps({k: v for k, v in (facts | changes).items() if v is not None}))
    return file


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    run = RunFolder(tmp_path / "run")
    run.create()
    return take_snapshot(run)


def run_code(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python with the packages in `folder`, and no other copy of ours."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "URBANVLM_IMAGE")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=inherited | environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_hash_is_what_the_shell_makes(flavour: str) -> None:
    formula = 'cat requirements.lock "torch-$1.lock" | sha256sum | cut -c1-12'
    shell = subprocess.run(
        ["bash", "-c", formula, "bash", flavour], cwd=CONTAINERS, capture_output=True, text=True, check=True
    )
    assert lock_hash(CONTAINERS, flavour) == shell.stdout.strip()


def test_a_lock_changes_its_own_flavours_and_no_other(tmp_path: Path) -> None:
    shutil.copytree(CONTAINERS, tmp_path / "containers")
    before = code_locks(tmp_path)
    with (tmp_path / "containers" / "torch-cuda.lock").open("a") as lock:
        lock.write("# more\n")
    after = code_locks(tmp_path)
    assert after["cpu"] == before["cpu"] and after["cuda"] != before["cuda"]
    with (tmp_path / "containers" / "requirements.lock").open("a") as lock:
        lock.write("# more\n")
    assert not set(code_locks(tmp_path).values()) & {*before.values(), *after.values()}


def test_a_lock_that_is_gone_is_named(tmp_path: Path) -> None:
    shutil.copytree(CONTAINERS, tmp_path / "containers")
    (tmp_path / "containers" / "torch-cuda.lock").unlink()
    with pytest.raises(UserError, match=r"torch-cuda\.lock: cannot be read \(No such file"):
        known_locks(tmp_path)


def test_a_snapshot_knows_the_locks_of_the_checkout_it_was_taken_from(snapshot: Path) -> None:
    code = "import json, urbanvlm.locks as l; print(l.__file__); print(json.dumps(l.code_locks()))"
    done = run_code(snapshot, code)
    file, locks = done.stdout.splitlines()
    assert Path(file).is_relative_to(snapshot), "else this shows nothing"
    assert json.loads(locks) == code_locks()


def test_other_locks_are_another_snapshot(snapshot: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("slurm", "urbanvlm", "containers"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"""
from pathlib import Path
from slurm.snapshot import take_snapshot
from urbanvlm.run_folder import RunFolder
print(take_snapshot(RunFolder(Path({str(tmp_path / "run")!r}))))
"""
    same = run_code(checkout, code)
    assert same.stdout.strip() == str(snapshot), same.stderr
    with (checkout / "containers" / "torch-cpu.lock").open("a") as lock:
        lock.write("# more\n")
    assert Path(run_code(checkout, code).stdout.strip()).parent == snapshot.parent
    assert run_code(checkout, code).stdout.strip() != str(snapshot)


def test_an_installed_package_has_no_locks_and_says_so_when_asked_for_an_image(tmp_path: Path) -> None:
    for name in ("slurm", "urbanvlm"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "__init__.py").touch()
    assert known_locks(tmp_path) == {}, "somebody else's package `containers` is not ours"
    with pytest.raises(UserError, match=r"came without its locks.*use a git checkout"):
        code_locks(tmp_path)
    code = f"""
from pathlib import Path
from slurm.snapshot import take_snapshot
from urbanvlm.run_folder import RunFolder
run = RunFolder(Path({str(tmp_path / "run")!r}))
run.create()
print((take_snapshot(run) / "locks.json").read_text())
"""
    done = run_code(tmp_path, code)
    assert json.loads(done.stdout) == {}, "a run without a container needs none: " + done.stderr
    inside = run_code(
        tmp_path, "from urbanvlm.locks import check_image; check_image()", URBANVLM_IMAGE=str(facts_file(tmp_path))
    )
    assert "came without its locks" in inside.stderr


def test_outside_of_a_container_image_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("URBANVLM_IMAGE", raising=False)
    assert image_facts() is None
    check_image()


def test_an_image_of_these_locks_is_taken_and_one_of_others_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URBANVLM_IMAGE", str(facts_file(tmp_path)))
    check_image()
    monkeypatch.setenv("URBANVLM_IMAGE", str(facts_file(tmp_path, flavour="cuda")))
    with pytest.raises(UserError, match=f"lock {code_locks()['cpu']}, but .* {code_locks()['cuda']}; make image TORCH"):
        check_image()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lock": None}, "does not say the container image's lock"),
        ({"flavour": "rocm"}, "names the flavour 'rocm'; known: cpu, cuda"),
        ({"lock": 12}, "is not an object of texts"),
    ],
)
def test_a_facts_file_that_makes_no_sense_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    monkeypatch.setenv("URBANVLM_IMAGE", str(facts_file(tmp_path, **changes)))
    with pytest.raises(UserError, match=words):
        image_facts()


@pytest.mark.parametrize("content", ["", "[1]", None])
def test_a_facts_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "image.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("URBANVLM_IMAGE", str(file))
    with pytest.raises(UserError, match=f"^{file}: .*make image"):
        image_facts()


def test_a_task_in_another_image_ends_before_it_does_anything(tmp_path: Path) -> None:
    experiment = check_experiment(
        {
            "name": "x",
            "mode": "zero-shot",
            "output": str(tmp_path),
            "data": {"scenes": {"places": 30}},
            "models": [{"family": "llava"}],
        },
        "test",
    )
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    attempt = tmp_path / "attempt"
    attempt.mkdir()
    task = [sys.executable, "-B", str(take_snapshot(run)), "slurm.job", str(run.path), "synthesize"]
    before = sorted(run.path.rglob("*"))
    image = facts_file(tmp_path, lock="0" * 12)
    environment = os.environ | {"URBANVLM_IMAGE": str(image), "URBANVLM_ATTEMPT": str(attempt)}
    done = subprocess.run(task, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert (attempt / "error-0").read_text() == done.stderr
    assert f"lock {'0' * 12}, but this code wants those of {code_locks()['cpu']}; make image TORCH=cpu" in done.stderr
    assert sorted(run.path.rglob("*")) == before
