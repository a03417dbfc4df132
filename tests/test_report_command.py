"""`python -m urbanvlm report`: one run's report anew, a sweep's comparison, any runs side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from report_support import make_run, score

from urbanvlm.cli import main
from urbanvlm.run_folder import is_complete
from urbanvlm.sweep import SweepFolder
from urbanvlm.yaml_text import dump_yaml

ROOT = Path(__file__).parent.parent


def test_one_run_is_scored_and_reported_anew_without_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path, mode="zero-shot", models=("llava",))
    code = (
        "import sys; from urbanvlm.cli import main; "
        f"code = main(['report', {str(run.path)!r}]); "
        "assert not {'torch', 'transformers'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "report.md" in done.stdout and "report.html" in done.stdout
    assert all(is_complete(path) for path in (run.scores, run.report)) and run.page.is_file()
    # What is edited by hand does not stay: the report is made of the predictions.
    scores = run.scores.read_text(encoding="utf-8")
    run.scores.write_text("[]\n", encoding="utf-8")
    assert main(["report", str(run.path)]) == 0
    assert run.scores.read_text(encoding="utf-8") == scores


def test_several_runs_in_one_word_as_make_gives_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, begun = (make_run(tmp_path, mode="zero-shot", models=("llava",), seed=seed) for seed in (0, 1))
    score(done)
    out = tmp_path / "out"
    assert main(["report", "--out", str(out), "--", f"{done.path} {begun.path}"]) == 1
    shown = capsys.readouterr()
    assert "out/comparison.md" in shown.out and "out/comparison.html" in shown.out
    assert f"{begun.id} is missing" in shown.err
    score(begun)
    assert main(["report", "--out", str(out), str(done.path), str(begun.path)]) == 0


def test_a_sweep_has_its_own_comparison(tmp_path: Path) -> None:
    runs = [score(make_run(tmp_path, mode="zero-shot", models=("llava",), seed=seed)) for seed in (0, 1)]
    folder = SweepFolder(tmp_path / "x-sweep-0")
    folder.path.mkdir()
    points = [{"run": r.id, "labels": {"seed": f"seed{n}"}, "settings": {"seed": n}} for n, r in enumerate(runs)]
    folder.file.write_text(dump_yaml({"name": "x", "question": "", "points": points}), encoding="utf-8")
    assert main(["report", str(folder.path)]) == 0
    assert is_complete(folder.comparison) and "means over seeds" in folder.comparison.read_text(encoding="utf-8")
    assert not list(tmp_path.glob("compare-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing-such"], "nothing-such"),
        (["--", " "], "is empty"),
    ],
)
def test_what_is_no_run_is_said_in_a_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_an_unfinished_run_keeps_the_report_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, models=("llava",))
    run.report.write_text("old\n", encoding="utf-8")
    gone = run.shard_file("llava", "after", 1)
    gone.unlink()
    assert main(["report", str(run.path)]) == 2
    said = f"{gone}: is not there: 1 of 2 evaluations of {run.id} are finished; make submit goes on with the run\n"
    assert capsys.readouterr().err == said
    assert run.report.read_text(encoding="utf-8") == "old\n"


def test_out_is_refused_for_a_single_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, mode="zero-shot", models=("llava",))
    assert main(["report", "--out", str(tmp_path / "o"), str(run.path)]) == 2
    assert "--out" in capsys.readouterr().err
