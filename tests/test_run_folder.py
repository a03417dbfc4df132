"""Markers, progress and attempts: what a reader may trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm.attempts import newest_logs
from slurm.submit import _new_attempt
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.progress import Progress, read_progress
from urbanvlm.run_folder import RunFolder, completion_facts, is_complete, mark_complete, resolve_folder
from urbanvlm.stages import Stage

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    experiment = load_experiment(ROOT / "experiments" / "photos.yaml", [f"output={tmp_path}"])
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    return run


def test_a_marker_counts_only_beside_what_it_marks(tmp_path: Path) -> None:
    file, folder = tmp_path / "scores.json", tmp_path / "export"
    assert not is_complete(file) and not is_complete(folder)
    file.write_text("[]")
    folder.mkdir()
    mark_complete(file, {"rows": 0})
    mark_complete(folder)
    assert is_complete(file) and is_complete(folder) and completion_facts(file) == {"rows": 0}
    file.unlink()
    assert not is_complete(file)


def test_a_run_folder_reads_back_its_experiment(run: RunFolder) -> None:
    assert run.experiment == load_experiment(ROOT / "experiments" / "photos.yaml", [f"output={run.path.parent}"])
    assert run.id == run.experiment.run_id
    with pytest.raises(UserError, match="is not a run folder"):
        _ = RunFolder(run.path.parent).experiment
    with pytest.raises(UserError, match=r"data\.train_file is not given"):
        run.split_file("train")


def test_a_folder_inside_a_package_never_leaves_it() -> None:
    assert (resolve_folder("package:sklearn/datasets/images") / "china.jpg").is_file()
    for name in ("package:no_such_package/x", "package:sklearn/../numpy", "package:os/x", "package:../x"):
        with pytest.raises(UserError, match="package"):
            resolve_folder(name)


def test_progress_counts_from_where_it_went_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "p.json"
    assert read_progress(path) is None
    progress = Progress(path, total=0, unit="steps")
    progress.update(90, total=100, force=True)
    progress.update(95, force=True, loss=0.5)
    snapshot = read_progress(path)
    assert snapshot is not None
    assert (snapshot.done, snapshot.total, snapshot.unit, snapshot.figures) == (95, 100, "steps", {"loss": 0.5})
    assert snapshot.seconds_left == pytest.approx(5 / snapshot.rate, rel=0.05, abs=0.1)
    path.write_text("{torn")
    assert read_progress(path) is None


def test_attempts_are_numbered_whatever_lies_beside_them(run: RunFolder) -> None:
    job = type("Job", (), {"name": "report", "stage": Stage("report")})()
    assert [_new_attempt(run, job).name for _ in range(2)] == ["attempt-001", "attempt-002"]
    (run.jobs / "report" / "attempt-002.bak").mkdir()
    newest = _new_attempt(run, job)
    assert newest.name == "attempt-003"
    (newest / "9_0_log.out").write_text("hello")
    assert [log.read_text() for log in newest_logs(run, "report")] == ["hello"]
