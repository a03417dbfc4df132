"""Files of predictions, ours or from elsewhere, read row by row; everything that is wrong with one is named."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from urbanvlm.dataset.rows import Fault, RowFile, is_whole
from urbanvlm.errors import UserError
from urbanvlm.evaluate.former_ids import FormerIds
from urbanvlm.records import Example, Prediction

IMAGE, QUESTION = "image_id", "question"
NO_OBJECT = "a line is one object with example_id and text; a file that is one JSON array is named .json"
_BEYOND: Any = None
"""csv's key of the cells that have no name"""
NEXT_STEP = "a prediction needs text and example_id, or image_id and question; docs/data.md shows a file"


def read_predictions(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of JSON lines or CSV, or (item number, row) of an array.

    `text` is text, and so is `example_id`, or else `image_id` and `question`. Raises UserError naming file and line of
    the first row that is none.
    """
    file = RowFile.of(path)
    for number, row in _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(file):
        for key in ("text", *((IMAGE, QUESTION) if is_by_question(row) else ("example_id",))):
            value = row.get(key)
            if not isinstance(value, str):
                raise UserError(file.where(number), _flaw(key, row), NEXT_STEP)
            if not is_whole(value):
                raise UserError(file.where(number), f"{key} holds half of a character", "mend the row")
        yield number, row


def is_by_question(row: Mapping[str, Any]) -> bool:
    """Does it say by image and question what it answers?"""
    return "example_id" not in row and (IMAGE in row or QUESTION in row)


def _json_rows(file: RowFile) -> Iterator[tuple[int, dict[str, Any]]]:
    for numbers, rows in file.chunks():
        for number, row in zip(numbers, rows, strict=True):
            if isinstance(row, Fault):
                raise UserError(file.where(number), row.what, row.next_step)
            if not isinstance(row, dict):
                raise UserError(file.where(number), "not a JSON object", NO_OBJECT)
            yield number, row


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(last line, row) below a line of names; what a spreadsheet leaves empty is not there, but for an empty text.

    Of what is no CSV the row's first line is named: a quote that does not end takes in all lines below.
    """
    first = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as source:
            head = source.readline()
            source.seek(0)
            delimiter = max(",;\t", key=head.count)
            rows = csv.DictReader(source, delimiter=delimiter, strict=True)
            for row in rows:
                if any(row.get(_BEYOND, ())):
                    next_step = f"put text that holds {delimiter!r} in quotes"
                    raise UserError(f"{path}:{rows.line_num}", "has more cells than the head", next_step)
                first = rows.line_num + 1
                yield rows.line_num, {key: value for key, value in row.items() if key and (value or key == "text")}
    except UnicodeDecodeError:
        raise UserError(path, "not UTF-8", "save the file as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{path}:{first}", f"not CSV ({error})", "mend the row") from None
    except FileNotFoundError:
        raise UserError(path, "no such file") from None
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "name a file that can") from None


def where(path: Path, number: int) -> str:
    """How a row of a file is named: file:line."""
    return RowFile.of(path).where(number)


def _flaw(key: str, row: Mapping[str, Any]) -> str:
    return f"{key} is {'no text' if key in row else 'missing'}"


def merge_predictions(
    examples: Sequence[Example], files: Iterable[Path], former: FormerIds | None = None
) -> dict[str, Prediction]:
    """The predictions of all shards by example id, in the examples' order; every asked id once, none twice or unknown.

    `former` knows the ids that the examples' file had once, which answers to just that file may have. Raises UserError
    naming file:line, or the first example that is missing.
    """
    asked = {example.id for example in examples}
    found: dict[str, tuple[Prediction, str]] = {}
    paths = [Path(file) for file in files]
    for path in paths:
        file = RowFile.of(path)
        for number, row in read_predictions(path):
            prediction = _prediction(row, file.where(number))
            if prediction.example_id not in asked and former is not None and "dataset" in row:
                prediction = replace(prediction, example_id=former.id_of(row) or prediction.example_id)
            if prediction.example_id not in asked:
                raise UserError(
                    file.where(number),
                    f"example {prediction.example_id!r} was not asked",
                    "use the predictions of this test file",
                )
            if prediction.example_id in found:
                first = found[prediction.example_id][1]
                raise UserError(
                    file.where(number),
                    f"second answer to {prediction.example_id!r} (first: {first})",
                    "keep one of them",
                )
            found[prediction.example_id] = (prediction, file.where(number))
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
    if "example_id" not in row:
        raise UserError(where, _flaw("example_id", row), "evaluate again")
    for key in ("model_id", "prompt_hash", "dataset"):
        if not isinstance(row.get(key, ""), str):
            raise UserError(where, _flaw(key, row), NEXT_STEP)
    more = {key: row.get(key, "") for key in ("model_id", "prompt_hash", "dataset")}
    return Prediction(row["example_id"], row["text"], **more)
