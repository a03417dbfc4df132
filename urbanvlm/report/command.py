"""`python -m urbanvlm report RUN [RUN …]`: one run's report anew from its predictions, or several side by side."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from urbanvlm.errors import UserError
from urbanvlm.run_folder import RunFolder
from urbanvlm.runs import find_runs_of, find_sweep, outputs, short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "One run: score its predictions and write its report anew, without a GPU. Several: put them side by side, and "
        "say which differences are larger than chance."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="id, the beginning of one, or folder")
    parser.add_argument("--out", type=Path, help="folder for the comparison of several runs")
    parser.set_defaults(command=report)


def report(options: argparse.Namespace) -> int:
    """Exit code 0; 1 where a run that is compared has no scores. Raises UserError for what is no finished run."""
    names = [name for words in options.runs for name in _names(words)]
    if not names:
        raise UserError("RUN", "is empty", 'name runs: make report RUN="a b"')
    if len(names) == 1 and options.out is None and (sweep := find_sweep(names[0], outputs())):
        from urbanvlm.report.comparison import write_comparison

        missing = write_comparison(sweep)
        _note_changes(find_runs_of(names[0], outputs()))
        return _show(sweep.comparison, sweep.page, missing)
    runs = [run for name in names for run in find_runs_of(name, outputs())]
    if len(runs) == 1:
        return _one(runs[0], options.out)
    from urbanvlm.report.comparison import compare_runs

    folder, missing = compare_runs(runs, options.out)
    _note_changes(runs)
    return _show(folder.comparison, folder.page, missing)


def _names(words: str) -> list[str]:
    """`make report RUN="a b"` hands over all names as one word; a folder's name may have spaces."""
    return [words] if Path(words).is_dir() else words.split()


def _one(run: RunFolder, out: Path | None) -> int:
    from urbanvlm.stages import Process, Stage, needs_of, results_of, run_stage

    if out is not None:
        raise UserError("--out", "is for several runs; a single one's report lies in its folder", "leave it out")
    experiment = run.experiment
    evaluations = needs_of(experiment, Stage("report"))
    answers = [results_of(run, experiment, stage) for stage in evaluations]
    missing = [path for files in answers for path in files if not path.exists()]
    if missing:
        done = sum(not set(files).intersection(missing) for files in answers)
        what = f"is not there: {done} of {len(answers)} evaluations of {run.id} are finished"
        raise UserError(missing[0], what, "make submit goes on with the run")
    run_stage(run, Stage("report"), Process())
    _note_changes([run])
    return _show(run.report, run.page, {})


def _note_changes(runs: Sequence[RunFolder]) -> None:
    """Say of which runs the files are not what they began with: their stored answers speak of those of then."""
    from urbanvlm.same_inputs import changed_inputs, refusal

    for run in runs:
        if changed := changed_inputs(run.experiment, run):
            print(f"note: {refusal(run, run.experiment, changed)}", file=sys.stderr)


def _show(text: Path, page: Path, missing: Mapping[str, str]) -> int:
    print(short(text), short(page), sep="\n")
    for run_id, reason in missing.items():
        print(f"{run_id} is missing: {reason}", file=sys.stderr)
    return 1 if missing else 0
