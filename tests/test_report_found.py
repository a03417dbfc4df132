"""Finding the result, and telling results apart: status, logs, labels, and what stands where a number is missing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from report_support import make_run, score

from slurm.__main__ import main
from urbanvlm.report.comparison import compare_runs
from urbanvlm.report.document import Document, Section
from urbanvlm.report.facts import gather
from urbanvlm.report.gains import gain_words, gains_section
from urbanvlm.report.labels import RUN, labels_of
from urbanvlm.report.markdown import render_markdown
from urbanvlm.report.scores import scores_section
from urbanvlm.run_folder import RunFolder, mark_complete
from urbanvlm.stages import results_of, stages_of

ROOT = Path(__file__).parent.parent


def text_of(section: Section | None) -> str:
    assert section is not None
    return render_markdown(Document("", (), (section,)), "")


def labels(*runs: RunFolder) -> list[str]:
    return [one[RUN] for one in labels_of(runs)]


# ---- where the report is --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose report a job has written."""
    run = make_run(tmp_path_factory.mktemp("runs"), models=("llava",), mode="zero-shot")
    for stage in stages_of(run.experiment)[:-1]:
        for result in results_of(run, run.experiment, stage):
            mark_complete(result)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "URBANVLM"))}
    done = subprocess.run(
        [sys.executable, "-m", "slurm.job", str(run.path), "report"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (run.path / "said.txt").write_text(done.stdout)
    return run


def test_the_log_of_the_report_says_what_it_wrote(finished: RunFolder) -> None:
    said = (finished.path / "said.txt").read_text()
    assert said.startswith("report is done: ")
    assert all(str(path) in said for path in (finished.page, finished.report, finished.scores))


def test_the_status_of_a_finished_run_names_its_report(
    finished: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A path longer than its column is folded.
    monkeypatch.setattr("slurm.__main__.LOG_WIDTH", 400)
    for of_one in ([], [finished.id]):
        assert main(["status", "--output", str(finished.path.parent), *of_one]) == 0
        assert str(finished.page) in capsys.readouterr().out
    assert main(["status", "--output", str(finished.path.parent), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert (told["state"], told["report"]) == ("finished", str(finished.page))


def test_a_run_that_goes_on_has_no_report_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, models=("llava",))
    run.page.write_text("of before")
    assert main(["status", "--output", str(tmp_path), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert told["report"] is None


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_runs_are_called_by_what_differs(tmp_path: Path) -> None:
    runs = [score(make_run(tmp_path, models=("llava",), seed=seed)) for seed in (0, 1)]
    folder, _ = compare_runs(runs)
    text = folder.comparison.read_text(encoding="utf-8")
    assert "| blind | seed=0 | seed=1 |" in text and "**seed=1** against **seed=0**" in text
    assert "| seed | run |" in text and f"| 0 | [{runs[0].id}]" in text
    assert "seed=0" in folder.page.read_text(encoding="utf-8") and "seed=1" in folder.latex.read_text()
    with folder.table.open(encoding="utf-8", newline="") as lines:
        assert {row["run"] for row in csv.DictReader(lines)} == {run.id for run in runs}


def test_no_label_hides_a_difference(tmp_path: Path) -> None:
    alike = {"models": ("llava",), "seed": 3}
    one, other = (make_run(tmp_path, checkpoints=[name], **alike) for name in ("org/first", "org/second"))
    assert labels(one, other) == ["checkpoint=org/first", "checkpoint=org/second"]
    far = make_run(tmp_path, models=("llava",), checkpoints=["org/second"], seed=4, limit=9)
    assert labels(one, other, far) == [
        "seed=3, checkpoint=org/first, max_examples=none",
        "seed=3, checkpoint=org/second, max_examples=none",
        "seed=4, checkpoint=org/second, max_examples=9",
    ]


def test_one_run_in_two_folders_has_two_labels(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first = score(make_run(tmp_path / "a", models=("llava",)))
    second = RunFolder(tmp_path / "b" / first.id)
    shutil.copytree(first.path, second.path)
    names = labels(first, second)
    assert names == [str(first.path), str(second.path)]
    folder, _ = compare_runs([first, second], tmp_path / "out")
    text = folder.comparison.read_text(encoding="utf-8")
    assert "no difference larger than chance" in text and all(str(run.path) in text for run in (first, second))


def test_where_too_much_differs_the_id_stands_for_it(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, models=(name,), seed=n, checkpoints=[f"{name}/of-a-name-as-long-as-hubs-have-{n}"])
        for n, name in enumerate(("llava", "blip2"))
    ]
    found = labels_of(runs)
    assert [one[RUN] for one in found] == [run.id for run in runs]
    assert [one["seed"] for one in found] == ["0", "1"], "the table of runs says what differs"


def test_a_run_that_cannot_be_read_is_called_by_its_id(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, models=("llava",), seed=seed) for seed in (0, 1)]
    runs[1].experiment_file.write_text("seed: [")
    assert labels(*(RunFolder(run.path) for run in runs)) == [run.id for run in runs]


# ---- what stands where a number is missing --------------------------------------------------------------------------


def test_a_report_says_when_blind_learnt_from_the_test_rows(tmp_path: Path) -> None:
    facts = gather(make_run(tmp_path, models=("llava",)))
    words = "there is no training split to learn that answer from"
    assert words not in text_of(scores_section(facts))
    known = facts.run.experiment
    data = known.data.model_copy(update={"scenes": None, "test_file": "t.jsonl", "images": "pictures"})
    alone = known.model_copy(update={"mode": "zero-shot", "train": None, "data": data})
    run = RunFolder(tmp_path / "alone")
    run.create()
    run.write_experiment(alone)
    assert words in text_of(scores_section(replace(facts, run=run)))


def test_missing_intervals_and_no_gain_are_explained(tmp_path: Path) -> None:
    facts = gather(make_run(tmp_path, models=("llava",)))
    assert "None stands where fewer than two places" in text_of(scores_section(facts))
    words = text_of(gains_section(facts)).replace("\\", "")
    assert f"{gain_words(0.0)} is no change" in words and "no interval where fewer than two places" in words
