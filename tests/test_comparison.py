"""The comparison of a sweep: what it says of made scores, of seeds, and of runs that are not there."""

from __future__ import annotations

import csv
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from report_support import make_run, score, scores

from urbanvlm.errors import UserError
from urbanvlm.evaluate.compare import gain
from urbanvlm.evaluate.scores_file import write_scores
from urbanvlm.records import Score
from urbanvlm.report.comparison import compare_runs, write_comparison
from urbanvlm.run_folder import RunFolder, is_complete, mark_complete
from urbanvlm.sweep import Point, Sweep, SweepFolder, load_sweep
from urbanvlm.yaml_text import dump_yaml

GOLDEN = Path(__file__).parent / "golden"
BASE = {
    "name": "made",
    "question": "Which is better?",
    "mode": "fine-tune",
    "data": {"scenes": {"places": 8}},
    "models": [{"family": "llava"}],
    "train": {"max_steps": 3, "train_batch_size": 8, "micro_batch_size": 8},
}


def make_sweep(folder: Path, swept: dict[str, Any], **keys: Any) -> Sweep:
    path = folder / "made.yaml"
    path.write_text(dump_yaml({**BASE, **keys, "output": str(folder / "runs"), "sweep": swept}), encoding="utf-8")
    sweep = load_sweep(path)
    sweep.folder.write(sweep)
    return sweep


def finish(point: Point, *, shift: float = 0.0) -> list[Score]:
    """A run as a finished one leaves it, every score moved by `shift`; MAE's ten times as much."""
    run = RunFolder.of(point.experiment)
    run.create()
    run.write_experiment(point.experiment)
    labels = [model.label for model in point.experiment.models]
    rows = [moved(row, shift) for row in scores(labels, point.experiment.phases)]
    write_scores(run.scores, rows)
    mark_complete(run.scores)
    return rows


def moved(score: Score, shift: float) -> Score:
    error = score.lower_is_better
    most, shift = (math.inf, 10 * shift) if error else (1.0, shift)
    values = {name: getattr(score, name) for name in ("value", "low", "high", "blind_baseline")}
    return replace(score, **{name: None if v is None else min(most, v + shift) for name, v in values.items()})


def agreed(text: str) -> str:
    """Without what differs from one machine, or one state of the code, to another."""
    return re.sub(r"-[0-9a-f]{8}\b", "-HASH", text.partition("\n## How the numbers were made")[0])


def page(sweep: Sweep) -> str:
    return sweep.folder.comparison.read_text(encoding="utf-8")


def rows_of(sweep: Sweep) -> list[dict[str, str]]:
    with sweep.folder.table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def check_golden(name: str, text: str) -> None:
    """Equal to the file of that name; `UPDATE_GOLDEN=1 pytest` rewrites it, for a person to look at the difference."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


FAMILIES = [[{"family": "blip2"}], [{"family": "llava"}]]
COT = {"plain": [False, 16], "cot": [True, 256]}


def test_a_whole_comparison_is_as_agreed(tmp_path: Path) -> None:
    swept = {"models": FAMILIES, "data.chain_of_thought, evaluate.max_new_tokens": COT}
    sweep = make_sweep(tmp_path, swept)
    for number, point in enumerate(sweep.points):
        finish(point, shift=0.01 * number)
    assert write_comparison(sweep.folder) == {}
    check_golden("comparison.txt", agreed(page(sweep)))
    head = sweep.folder.table.read_text(encoding="utf-8").splitlines()[:3]
    check_golden("comparison_head.csv", agreed("\n".join(head)) + "\n")
    assert is_complete(sweep.folder.comparison) and is_complete(sweep.folder.table)
    with Image.open(sweep.folder.plot) as picture:
        assert picture.width > 400


def test_means_over_seeds_with_one_missing_are_as_agreed(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"models": FAMILIES, "seed": [0, 1, 2]})
    for number, point in enumerate(sweep.points[:-1]):
        finish(point, shift=0.02 * number)
    assert list(write_comparison(sweep.folder)) == [sweep.points[-1].run_id]
    check_golden("comparison_seeds.txt", agreed(page(sweep)))


def test_seeds_are_averaged_as_numpy_does(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [3, 4, 5]})
    shifts = (0.0, 0.013, 0.031)
    runs = [finish(point, shift=shift) for point, shift in zip(sweep.points, shifts, strict=True)]
    write_comparison(sweep.folder)
    key = "object.presence"
    befores, afters = (
        np.array([row.value for rows in runs for row in rows if (row.name, row.phase) == (key, phase)], dtype=float)
        for phase in ("before", "after")
    )
    assert len(afters) == 3
    line = next(line for line in page(sweep).splitlines() if "| **object: presence** | llava | 3 |" in line)
    for values in (befores, afters):
        assert f"{values.mean():.3f}" in line
        assert f"± {values.std(ddof=1):.3f}" in line
        assert f"<br>{values.min():.3f}–{values.max():.3f}" in line
    assert f"+{100 * (afters.mean() - befores.mean()) / befores.mean():.1f} %" in line
    assert "no confidence interval" in page(sweep)


def test_a_mean_beats_blind_only_if_every_seed_does(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0, 1]}, mode="zero-shot", train=None)
    for point, value in zip(sweep.points, (0.9, 0.45), strict=True):
        run_scores(point, [one_score(value=value, blind=0.5)])
    write_comparison(sweep.folder)
    assert "✓" not in line_of(sweep, "| **object: presence** | llava | 2 |")
    run_scores(sweep.points[1], [one_score(value=0.55, blind=0.5)])
    write_comparison(sweep.folder)
    assert "**0.725** ✓" in line_of(sweep, "| **object: presence** | llava | 2 |")


def one_score(*, value: float, blind: float, metric: str = "object.presence", phase: str = "before") -> Score:
    stamp = ("llava", phase, "real", "strict", "metric", metric, "")
    return Score(*stamp, value, value - 0.2, value + 0.2, 10, 10, 0.0, blind)


def run_scores(point: Point, rows: Sequence[Score]) -> None:
    finish(point)
    write_scores(RunFolder.of(point.experiment).scores, rows)


def line_of(sweep: Sweep, words: str) -> str:
    return next(line for line in page(sweep).splitlines() if words in line)


def test_a_single_finished_seed_is_no_spread_and_no_win(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0, 1]}, mode="zero-shot", train=None)
    run_scores(sweep.points[0], [one_score(value=0.9, blind=0.5)])
    write_comparison(sweep.folder)
    line = line_of(sweep, "| **object: presence** | llava | 1 of 2 |")
    assert "0.900" in line and "±" not in line and "✓" not in line and "1.100" not in line
    # The single run keeps its interval.
    assert "**0.900** ✓<br>0.700–1.100" in line_of(sweep, "| **object: presence** | seed0 | 10 |")


def test_every_missing_run_is_named_with_its_reason(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0, 1, 2, 3]})
    fresh, begun, failed, done = sweep.points
    finish(done)
    RunFolder.of(begun.experiment).create()
    RunFolder.of(begun.experiment).write_experiment(begun.experiment)
    missing = write_comparison(sweep.folder, {failed.run_id: "train-llava: | needs <more> memory"})
    assert missing == {
        fresh.run_id: "not started",
        begun.run_id: "0 of 5 stages are done, next is synthesize",
        failed.run_id: "train-llava: | needs <more> memory",
    }
    html = MarkdownIt("commonmark").enable("table").render(page(sweep))
    assert "3 of 4 runs are missing" in html
    assert "train-llava: | needs &lt;more&gt; memory" in html
    in_table = {row["run"]: row["missing"] for row in rows_of(sweep)}
    assert in_table == {**missing, done.run_id: ""}
    assert not is_complete(sweep.folder.comparison)


def test_a_finished_run_is_not_missing_whatever_the_caller_says(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0]})
    finish(sweep.points[0])
    assert write_comparison(sweep.folder, {sweep.points[0].run_id: "another submit holds it"}) == {}


def test_broken_scores_are_a_missing_run_and_no_end_of_the_others(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0, 1]})
    for point in sweep.points:
        finish(point)
    RunFolder.of(sweep.points[0].experiment).scores.write_text("[{")
    missing = write_comparison(sweep.folder)
    assert list(missing) == [sweep.points[0].run_id] and "not JSON" in missing[sweep.points[0].run_id]
    assert sweep.points[1].run_id in page(sweep)


def test_nothing_finished_is_said_so(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0, 1]})
    assert len(write_comparison(sweep.folder)) == 2
    assert "No run has any yet" in page(sweep)
    assert not sweep.folder.plot.exists()


def test_a_run_that_is_lost_again_takes_the_marker_away(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0, 1]})
    for point in sweep.points:
        finish(point)
    write_comparison(sweep.folder)
    assert is_complete(sweep.folder.comparison)
    RunFolder.of(sweep.points[0].experiment).scores.unlink()
    write_comparison(sweep.folder)
    assert not is_complete(sweep.folder.comparison)


def test_runs_over_a_subset_are_stamped(tmp_path: Path) -> None:
    run = score(make_run(tmp_path / "runs", limit=4, models=("llava",)))
    folder = SweepFolder(tmp_path / "runs" / "x-sweep-0")
    folder.path.mkdir()
    points = [{"run": run.id, "labels": {"seed": "seed0"}, "settings": {"seed": 0}}]
    folder.file.write_text(dump_yaml({"name": "x", "question": "", "points": points}))
    write_comparison(folder)
    assert "partial: not comparable" in folder.comparison.read_text(encoding="utf-8")
    with folder.table.open(encoding="utf-8", newline="") as lines:
        assert {row["partial"] for row in csv.DictReader(lines)} == {"True"}


def test_runs_of_several_models_have_a_column_for_each(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"train.learning_rate": [1e-4, 1e-3]}, models=[*FAMILIES[0], *FAMILIES[1]])
    for point in sweep.points:
        finish(point)
    write_comparison(sweep.folder)
    header = next(line for line in page(sweep).splitlines() if line.startswith("|  | metric | blind"))
    names = [cell.strip() for cell in header.strip("|").split("|")][3:]
    assert names == [f"learning-rate{rate}<br>{model}" for rate in ("0.0001", "0.001") for model in ("blip2", "llava")]


def test_zero_shot_runs_have_no_gain(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"evaluate.max_new_tokens": [8, 16]}, mode="zero-shot", train=None)
    for point in sweep.points:
        finish(point)
    write_comparison(sweep.folder)
    details = page(sweep).partition("### Metric by metric")[2]
    assert "gain" not in details and "after" not in details and "before" in details


@pytest.mark.parametrize(
    ("metric", "before", "after", "expected"),
    [
        ("object.presence", 0.5, 0.75, 0.5),
        ("object.presence", 0.5, 0.25, -0.5),
        ("object.count", 4.0, 1.0, 0.75),
        ("object.count", 1.0, 4.0, -3.0),
        ("object.presence", 0.0, 0.5, None),
    ],
)
def test_gain_is_positive_where_training_helped(metric: str, before: float, after: float, expected: float) -> None:
    pair = [one_score(value=value, blind=0.5, metric=metric) for value in (before, after)]
    assert gain(*pair) == (None if expected is None else pytest.approx(expected))
    assert gain(None, pair[1]) is None and gain(pair[0], None) is None


def test_the_table_holds_every_score_with_all_digits(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"models": FAMILIES, "train.lora": {"full": None, "lora": {"rank": 4}}})
    expected = {}
    for number, point in enumerate(sweep.points):
        for row in finish(point, shift=0.001 * number):
            expected[point.run_id, row.model, row.phase, row.name] = row
    write_comparison(sweep.folder)
    rows = rows_of(sweep)
    assert len(rows) == len(expected)
    for row in rows:
        score = expected[row["run"], row["model"], row["phase"], row["name"]]
        if score.value is None:
            assert row["value"] == row["blind_baseline"] == ""
        else:
            assert math.isclose(float(row["value"]), score.value, abs_tol=1e-6)
            assert math.isclose(float(row["blind_baseline"]), score.blind_baseline or 0, abs_tol=1e-6)
        assert int(row["asked"]) == score.asked
    assert {row["train.lora"] for row in rows} == {"null", '{"rank": 4}'}


def test_a_folder_of_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the folder of a sweep"):
        write_comparison(SweepFolder(tmp_path))
    (tmp_path / "sweep.yaml").write_text("points: 3\n")
    with pytest.raises(UserError, match="is not as we wrote it"):
        write_comparison(SweepFolder(tmp_path))


# ---- any runs -------------------------------------------------------------------------------------------------------


def differences_of(folder: SweepFolder) -> str:
    return folder.comparison.read_text(encoding="utf-8").partition("## Differences")[2].partition("\n## ")[0]


def test_any_runs_are_compared_on_the_rows_that_both_were_asked(tmp_path: Path) -> None:
    weak, able = (make_run(tmp_path, models=("llava",), skill=skill, seed=n) for n, skill in enumerate((0.1, 0.95)))
    part = make_run(tmp_path, models=("llava",), limit=50, seed=2)
    for run in (weak, able, part):
        score(run)
    folder, missing = compare_runs([weak, able, part])
    assert missing == {} and folder.path.parent == tmp_path and is_complete(folder.comparison)
    text = differences_of(folder)
    names = [f"seed={n}, max_examples={limit}" for n, limit in enumerate(("none", "none", "50"))]
    text = text.replace("\\_", "_")
    assert re.search(rf"\*\*{names[1]}\*\* against \*\*{names[0]}\*\*: better on [1-9]", text)
    assert f"**{names[1]}** and **{names[2]}** were not asked the same questions" in text
    # Nothing is averaged: runs that are only named are no seeds of one another.
    assert "means over seeds" not in folder.comparison.read_text(encoding="utf-8")
    with folder.table.open(encoding="utf-8", newline="") as lines:
        assert {row["run"] for row in csv.DictReader(lines)} == {weak.id, able.id, part.id}
    for path in (folder.page, folder.latex, folder.plot):
        assert path.stat().st_size > 1000


def test_a_twin_is_no_different(tmp_path: Path) -> None:
    runs = [score(make_run(tmp_path, models=("llava",), seed=seed)) for seed in (0, 1)]
    folder, _ = compare_runs(runs, tmp_path / "out")
    assert "no difference larger than chance, on 9 metrics" in differences_of(folder)
    assert folder.path == tmp_path / "out"
    assert f"](../{runs[0].id}/report.md)" in folder.comparison.read_text(encoding="utf-8")


def test_a_run_without_scores_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    done, begun = (make_run(tmp_path, models=("llava",), seed=seed) for seed in (0, 1))
    score(done)
    folder, missing = compare_runs([done, begun])
    assert list(missing) == [begun.id] and "stages are done" in missing[begun.id]
    assert not is_complete(folder.comparison)
    with pytest.raises(UserError, match="named twice"):
        compare_runs([done, done])


def test_scores_whose_answers_are_gone_stand_side_by_side(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"evaluate.max_new_tokens": [8, 16]})
    for point in sweep.points:
        finish(point)
    write_comparison(sweep.folder)
    text = differences_of(sweep.folder)
    assert "cannot be compared pairwise" in text and "no such file" in text and "against" not in text


def test_a_comparison_needs_no_torch(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, {"seed": [0, 1]})
    for point in sweep.points:
        finish(point)
    code = (
        "import sys; from slurm.__main__ import main; "
        f"code = main(['compare', {str(sweep.folder.path)!r}]); "
        "assert not {'torch', 'transformers'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=GOLDEN.parent.parent)
    assert done.returncode == 0, done.stderr
    assert sweep.folder.comparison.name in done.stdout
    assert is_complete(sweep.folder.comparison)
