"""Files of predictions, ours or from elsewhere, read row by row; everything that is wrong with one is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from urbanvlm.dataset.rows import Fault, RowFile, is_whole
from urbanvlm.errors import UserError
from urbanvlm.records import Example, Prediction

NO_OBJECT = "a line is one object with example_id and text; a file that is one JSON array is named .json"
NEXT_STEP = "a prediction needs example_id and text; see Prediction in records.py"


def read_predictions(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of JSON lines, or (item number, row) of an array; `example_id` and `text` are text.

    Raises UserError naming file and line of the first row that is none.
    """
    file = RowFile.of(path)
    for numbers, rows in file.chunks():
        for number, row in zip(numbers, rows, strict=True):
            if isinstance(row, Fault):
                raise UserError(file.where(number), row.what, row.next_step)
            if not isinstance(row, dict):
                raise UserError(file.where(number), "not a JSON object", NO_OBJECT)
            for key in ("example_id", "text"):
                value = row.get(key)
                if not isinstance(value, str):
                    raise UserError(file.where(number), _flaw(key, row), NEXT_STEP)
                if not is_whole(value):
                    raise UserError(file.where(number), f"{key} holds half of a character", "mend the row")
            yield number, row


def where(path: Path, number: int) -> str:
    """How a row of a file is named: file:line."""
    return RowFile.of(path).where(number)


def _flaw(key: str, row: Mapping[str, Any]) -> str:
    return f"{key} is {'no text' if key in row else 'missing'}"


def merge_predictions(examples: Sequence[Example], files: Iterable[Path]) -> dict[str, Prediction]:
    """The predictions of all shards by example id, in the examples' order; every asked id once, none twice or unknown.

    Raises UserError naming file:line, or the first example that is missing.
    """
    asked = {example.id for example in examples}
    found: dict[str, tuple[Prediction, str]] = {}
    paths = [Path(file) for file in files]
    for path in paths:
        for number, row in read_predictions(path):
            prediction = _prediction(row, where(path, number))
            if prediction.example_id not in asked:
                raise UserError(
                    where(path, number),
                    f"example {prediction.example_id!r} was not asked",
                    "use the predictions of this test file",
                )
            if prediction.example_id in found:
                first = found[prediction.example_id][1]
                raise UserError(
                    where(path, number),
                    f"second answer to {prediction.example_id!r} (first: {first})",
                    "keep one of them",
                )
            found[prediction.example_id] = (prediction, where(path, number))
    missing = [example.id for example in examples if example.id not in found]
    if missing:
        names = ", ".join(path.name for path in paths) or "no files"
        raise UserError(
            paths[0].parent if paths else "predictions",
            f"{len(missing)} of {len(asked)} examples have no answer, the first is {missing[0]!r} ({names})",
            "evaluate again: it answers what is missing",
        )
    return {example.id: found[example.id][0] for example in examples}


def _prediction(row: Mapping[str, Any], where: str) -> Prediction:
    for key in ("model_id", "prompt_hash", "dataset"):
        if not isinstance(row.get(key, ""), str):
            raise UserError(where, _flaw(key, row), NEXT_STEP)
    more = {key: row.get(key, "") for key in ("model_id", "prompt_hash", "dataset")}
    return Prediction(row["example_id"], row["text"], **more)
