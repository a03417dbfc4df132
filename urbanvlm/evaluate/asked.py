"""Which examples of a run are put to its models: the test split, less what cannot be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urbanvlm.dataset.read import read_examples
from urbanvlm.errors import UserError
from urbanvlm.evaluate.parse import parse_gold
from urbanvlm.records import Example
from urbanvlm.run_folder import RunFolder


@dataclass(frozen=True)
class Asked:
    """The examples that every model of a run answers, and those that nobody could answer rightly."""

    examples: tuple[Example, ...]
    without_gold: tuple[str, ...]
    """a line for each row whose gold answer is none of its subtype, such as Yes to a question that begins with where"""
    partial: bool
    """were examples left out because evaluate.max_examples says so?"""


def asked_examples(run: RunFolder) -> Asked:
    """Raises UserError naming file and line of a broken row, or if no row can be scored."""
    file = run.split_file("test")
    rows = read_examples(file)
    usable, refused = with_gold(rows)
    if not usable:
        raise UserError(file, "has no row whose answer fits its subtype", f"first: {refused[0]}")
    examples = usable[: run.experiment.evaluate.max_examples]
    return Asked(tuple(examples), tuple(refused), partial=len(examples) < len(usable))


def with_gold(rows: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """(rows whose gold answer can be read, a line for each of the others)."""
    usable, refused = [], []
    for row in rows:
        try:
            parse_gold(row)
        except UserError as error:
            refused.append(str(error))
        else:
            usable.append(row)
    return usable, refused
