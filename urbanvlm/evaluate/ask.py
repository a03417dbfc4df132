"""`python -m urbanvlm ask`: a question file -> what another program is to answer, for `score` to judge."""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TextIO

from urbanvlm.dataset.findings import given_codes
from urbanvlm.dataset.prompts import Prompts, load_prompts
from urbanvlm.dataset.read import each_example
from urbanvlm.errors import UserError
from urbanvlm.evaluate.output_file import check_output, written
from urbanvlm.evaluate.parse import parse_gold
from urbanvlm.records import Example

COLUMNS = ("example_id", "image_id", "question", "prompt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write what is asked, with the prompts that our models get, for others to answer. Add a column text with the "
        "answers, and score takes the file."
    )
    parser.add_argument("data", type=Path, metavar="DATASET", help="the questions with their gold answers")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="to be written: .jsonl or .csv")
    parser.add_argument("--prompts", type=Path, help="YAML of prompts, as evaluate.prompts of an experiment")
    parser.add_argument("--chain-of-thought", action="store_true", help="have the answers reasoned")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="CODE", help="a finding, as data.allow of a run"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Exit code 0; raises UserError for a user's mistake."""
    write = _WRITERS.get(options.output.suffix.lower())
    if write is None:
        raise UserError(options.output, f"is neither {' nor '.join(_WRITERS)}", "give --output one of these endings")
    allow = given_codes(options.allow)
    read = [os.path.realpath(path) for path in (options.data, options.prompts) if path is not None]
    check_output(options.output, read, "--output")
    questions = _Questions(options.data, load_prompts(options.prompts), options.chain_of_thought, allow)
    with written(options.output) as out:
        write(out, questions.rows())
        questions.check()
    print(f"{options.output}: {questions.asked} questions about {len(questions.images)} pictures")
    if questions.left_out:
        rows = "1 row" if questions.left_out == 1 else f"{questions.left_out} rows"
        print(f"{rows} left out, because nothing scores them, first: {questions.first_left_out}")
    return 0


class _Questions:
    """The rows of a question file that can be scored, and how many cannot."""

    def __init__(self, data: Path, prompts: Prompts, chain_of_thought: bool, allow: Collection[str]) -> None:
        self.data, self.allow = data, allow
        self.images: set[str] = set()
        self.asked = self.left_out = 0
        self.first_left_out = ""
        self._prompt: Callable[[Example], str] = partial(prompts.render, chain_of_thought=chain_of_thought)

    def rows(self) -> Iterator[Mapping[str, str]]:
        """With the keys of COLUMNS, in the order of the file."""
        for example in each_example(self.data, self.allow):
            try:
                parse_gold(example)
            except UserError as error:
                self.left_out += 1
                self.first_left_out = self.first_left_out or str(error)
                continue
            self.asked += 1
            self.images.add(example.image_id)
            values = (example.id, example.image_id, example.question, self._prompt(example))
            yield dict(zip(COLUMNS, values, strict=True))

    def check(self) -> None:
        """Raises UserError if all rows were read and none can be scored."""
        if not self.asked:
            raise UserError(self.data, "has no row whose answer fits its subtype", f"first: {self.first_left_out}")


def _write_jsonl(out: TextIO, rows: Iterator[Mapping[str, str]]) -> None:
    out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_csv(out: TextIO, rows: Iterator[Mapping[str, str]]) -> None:
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


_WRITERS: Mapping[str, Callable[[TextIO, Iterator[Mapping[str, str]]], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
}
