"""`python -m urbanvlm score`: stored predictions -> scores, and what each of them was read as."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from urbanvlm.dataset.findings import given_codes
from urbanvlm.dataset.read import each_example
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.answered import Answered
from urbanvlm.evaluate.judge import Judged, Judging, gold_counts
from urbanvlm.evaluate.output_file import check_output, written
from urbanvlm.evaluate.parse import MISSING, UNPARSED, Parsed
from urbanvlm.evaluate.predictions import read_predictions, where
from urbanvlm.evaluate.profiles import PROFILES, Profile, profile_of
from urbanvlm.evaluate.score import Stamp, score_rows
from urbanvlm.evaluate.scores_file import scores_text
from urbanvlm.records import Example, RowSum, dataset_fingerprint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions",
        type=Path,
        nargs="+",
        metavar="PREDICTIONS",
        help="JSONL, JSON or CSV: text, and example_id or image_id and question",
    )
    parser.add_argument("--data", type=Path, required=True, help="the questions with their gold answers")
    parser.add_argument("--train", type=Path, help="training split, from which the blind baseline is taken")
    parser.add_argument("--profile", choices=PROFILES, default="strict")
    parser.add_argument("--chain-of-thought", action="store_true", help="paper: gold answers from the rationales")
    parser.add_argument("--rows", type=Path, metavar="OUT.jsonl", help="write what every text was read as")
    parser.add_argument("--json", action="store_true", help="scores as JSON instead of a table")
    parser.add_argument("--model", default="", help="name of the model in table and JSON; the file's if not given")
    parser.add_argument("--phase", choices=("before", "after"), default="", help="of a fine-tuning, for the JSON")
    parser.add_argument("--resamples", type=_positive, default=1000, help="of the places, for the 95 %% intervals")
    parser.add_argument("--seed", type=_seed, default=0, help="of the resamples")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="CODE", help="a finding, as data.allow of a run"
    )
    parser.set_defaults(command=run)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    number = int(text) if text.isdecimal() and len(text) < 19 else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} on (got {text!r})")
    return number


def run(options: argparse.Namespace) -> int:
    """Exit code 0; raises UserError for a user's mistake."""
    allow = given_codes(options.allow)
    read = [os.path.realpath(path) for path in (*options.predictions, options.data, options.train) if path is not None]
    if options.rows is not None:
        check_output(options.rows, read, "--rows")
    profile = profile_of(options.profile, chain_of_thought=options.chain_of_thought)
    judgement = judge_files(options.predictions, options.data, profile, allow)
    judged = judgement.judging.finish()
    references = gold_counts(each_example(options.train, allow) if options.train else (), profile)
    stamp = Stamp(options.model or options.predictions[0].stem, options.phase)
    scores = score_rows(judged, references, profile, stamp, resamples=options.resamples, seed=options.seed)
    if options.rows is not None:
        write_rows(options.rows, judged, judgement, profile)
    remarks = judgement.remarks(judged, options.data)
    if options.json:
        sys.stderr.writelines(f"{remark}\n" for remark in remarks)
        sys.stdout.write(scores_text(scores))
    else:
        from urbanvlm.evaluate.table import print_scores

        print_scores(scores, remarks, has_train=options.train is not None)
    return 0


# ---- judging --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Judgement:
    """A question file with its predictions."""

    judging: Judging
    unscored: dict[str, Example] = field(default_factory=dict)
    """rows whose gold answer is none of their subtype"""
    read: dict[str, Parsed] = field(default_factory=dict)
    """id -> what the text of an unscored row was read as"""
    first_unscored: str = ""
    counted_ids: Sequence[str] = ()
    """of answers that only their place among the rows of an image ties to a question"""

    def add(self, example: Example) -> None:
        try:
            self.judging.add(example)
        except UserError as error:
            self.unscored[example.id] = example
            self.first_unscored = self.first_unscored or str(error)

    def question(self, id_: str) -> str | None:
        """None where no row has the id."""
        index = self.judging.numbers.get(id_)
        if index is not None:
            return self.judging.question(index)
        return self.unscored[id_].question if id_ in self.unscored else None

    def answer(self, id_: str, text: str) -> Literal["taken", "second"]:
        """The id is a row's."""
        index = self.judging.numbers.get(id_)
        if index is not None:
            return "taken" if self.judging.answer(index, text) else "second"
        if id_ in self.read:
            return "second"
        self.read[id_] = _read(self.unscored[id_], text, self.judging.profile)
        return "taken"

    def remarks(self, judged: Judged, data: Path) -> list[str]:
        """What one must know to read the scores."""
        lines = []
        if judged.missing:
            lines.append(f"{judged.missing} of {len(judged)} rows have no prediction: missing, which counts as wrong")
        if count := len(self.unscored):
            lines.append(f"{data}: {count} row{'s' if count > 1 else ''} not scored, first: {self.first_unscored}")
        if self.counted_ids:
            lines.append(
                f"{len(self.counted_ids)} predictions say by a number which row of an image they answer, such as "
                f"{self.counted_ids[0]!r}: right only if {data} has its rows in the order in which they were asked"
            )
        return lines


def _read(example: Example, text: str, profile: Profile) -> Parsed:
    subtype = SUBTYPES.get(example.scored_subtype)
    if subtype is None:
        return UNPARSED
    parsed = profile.read(text, subtype, example.question)
    return Parsed(parsed.status, profile.in_words(parsed.value, subtype))


def judge_files(predictions: Sequence[Path], data: Path, profile: Profile, allow: Collection[str] = ()) -> Judgement:
    """Raises UserError naming file and line of the first thing that is wrong with either."""
    judgement = Judgement(Judging(profile))
    fingerprint = _Fingerprint(data, allow, any("dataset" in _first_row(file) for file in predictions))
    for example in each_example(data, allow):
        fingerprint.add(example)
        judgement.add(example)
    if not judgement.judging.numbers:
        raise UserError(data, "has no row whose answer fits its subtype", f"first: {judgement.first_unscored}")
    asked = Answered(data, judgement.question, allow)
    for file in predictions:
        for number, row in read_predictions(file):
            if "dataset" in row and row["dataset"] != fingerprint.value and row["dataset"] != asked.former.fingerprint:
                raise UserError(
                    where(file, number),
                    f"answers another dataset than {data} (fingerprint {row['dataset']!r}, not {fingerprint.value!r})",
                    "give the question file that was asked, or take the key 'dataset' out if it means something else",
                )
            id_ = asked.id_of(row, partial(where, file, number))
            if judgement.answer(id_, row["text"]) == "second":
                first = _first_answer(predictions, id_, asked)
                raise UserError(where(file, number), f"second answer to {id_!r} (first: {first})", "keep one of them")
    judgement.counted_ids = asked.counted
    return judgement


@dataclass(slots=True)
class _Fingerprint:
    """Of the question file; found while it is read, if the predictions are expected to ask for it."""

    data: Path
    allow: Collection[str]
    is_expected: bool
    _rows: RowSum = field(default_factory=RowSum)
    _value: str = ""

    def add(self, example: Example) -> None:
        if self.is_expected:
            self._rows.add(example)

    @property
    def value(self) -> str:
        if not self._value:
            self._value = (
                self._rows.fingerprint if self.is_expected else dataset_fingerprint(each_example(self.data, self.allow))
            )
        return self._value


def _first_row(file: Path) -> dict[str, Any]:
    for _, row in read_predictions(file):
        return row
    raise UserError(file, "has no predictions", "name a file that has some")


def _first_answer(files: Sequence[Path], id_: str, asked: Answered) -> str:
    rows = ((file, number, row) for file in files for number, row in read_predictions(file))
    return next(where(file, number) for file, number, row in rows if asked.id_of(row, str) == id_)


# ---- rows -----------------------------------------------------------------------------------------------------------


def write_rows(path: Path, judged: Judged, judgement: Judgement, profile: Profile) -> None:
    """Write `example_id, parsed, status, gold, correct` of every row, atomically; the unscored last, without gold."""
    with written(path) as out:
        for row in judged.rows():
            gold, parsed = (profile.in_words(value, row.subtype) for value in (row.gold, row.parsed.value))
            out.write(_line(row.example_id, parsed, row.parsed.status, gold, row.correct))
        for id_ in judgement.unscored:
            parsed_alone = judgement.read.get(id_, MISSING)
            out.write(_line(id_, parsed_alone.value, parsed_alone.status, None, None))


def _line(*values: object) -> str:
    return json.dumps(dict(zip(_KEYS, values, strict=True)), ensure_ascii=False, allow_nan=False) + "\n"


_KEYS = ("example_id", "parsed", "status", "gold", "correct")
