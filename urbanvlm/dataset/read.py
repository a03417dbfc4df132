"""Rows of a question file -> examples: the study's JSONL, or a JSON array of the same objects."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from urbanvlm.dataset.images import stays_inside
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.records import Example, place_of, read_jsonl

REQUIRED = ("image_id", "question", "answer", "qtype", "subtype")
OPTIONAL = ("id", "place", "cot_answer")
_NAMED = frozenset((*REQUIRED, *OPTIONAL))


def read_examples(path: Path) -> list[Example]:
    """Every example of a file, in order. Raises UserError naming file and line (array: item) of the first fault.

    A row without an id gets `<image_id>#<n>`, n counting that image's rows from 0 in file order.
    """
    examples: list[Example] = []
    rows_of_image: dict[str, int] = {}
    lines: dict[str, str] = {}
    for where, row in _rows(path):
        example = _example(row, where, rows_of_image)
        if example.id in lines:
            raise UserError(where, f"id {example.id!r} is given in {lines[example.id]} already", "make it unique")
        lines[example.id] = where
        examples.append(example)
    if not examples:
        raise UserError(path, "has no rows", "give it at least one")
    return examples


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place for errors, row) of either layout."""
    if not _is_array(path):
        for number, row in read_jsonl(path):
            yield f"{path}:{number}", row
        return
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}", f"not JSON ({error.msg} at column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 (byte {error.start})", "save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets within brackets
        raise UserError(path, f"not JSON that can be read ({error})") from None
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise UserError(f"{path}: item {number}", "not a JSON object")
        yield f"{path}: item {number}", item


def _is_array(path: Path) -> bool:
    """Is the first character that is no space a bracket? In a file named .jsonl that is a faulty line, not an array."""
    if path.suffix == ".jsonl" or not path.is_file():
        return False
    with path.open("rb") as source:
        while byte := source.read(1):
            if not byte.isspace():
                return byte == b"["
    return False


def _is_torn(text: str) -> bool:
    """A high or low surrogate without its other half is no text that a file or a tokenizer takes."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _example(row: Mapping[str, Any], where: str, rows_of_image: dict[str, int]) -> Example:
    for key in REQUIRED:
        value = row.get(key)
        if not isinstance(value, str) or not value.strip():
            what = f"{key} is missing" if key not in row else f"{key} must be text that is not blank (got {value!r})"
            raise UserError(where, what, "mend the row")
        if not value.isascii() and _is_torn(value):
            raise UserError(where, f"{key} holds half of a character (got {value!r})", "mend the row")
    for key in OPTIONAL:
        value = row.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise UserError(where, f"{key} must be text that is not blank (got {value!r})", "mend the row or remove it")
    subtype, image_id = row["subtype"], row["image_id"]
    if (scored := subtype.removeprefix("paraphrase.from_")) not in SUBTYPES:
        close = difflib.get_close_matches(scored, SUBTYPES, n=1, cutoff=0.5)
        raise UserError(where, f"unknown subtype {subtype!r}", f"did you mean {close[0]}?" if close else "mend the row")
    number = rows_of_image.get(image_id, 0)
    if number == 0 and not stays_inside(image_id):
        raise UserError(where, f"image_id {image_id!r} is not a path inside the image folder", "mend the row")
    rows_of_image[image_id] = number + 1
    return Example(
        id=row.get("id") or f"{image_id}#{number}",
        image_id=image_id,
        place=row.get("place") or place_of(image_id),
        question=row["question"],
        answer=row["answer"],
        qtype=row["qtype"],
        subtype=subtype,
        cot_answer=row.get("cot_answer"),
        extra={key: value for key, value in row.items() if key not in _NAMED},
    )
