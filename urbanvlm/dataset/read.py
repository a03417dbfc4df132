"""Rows of a question file -> examples, and what makes a row none."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

from urbanvlm.dataset.images import stays_inside
from urbanvlm.dataset.places import is_view, panorama_folders, place_of
from urbanvlm.dataset.rows import Fault, RowFile, is_whole
from urbanvlm.dataset.taxonomy import CONVERSATION, SUBTYPES, scored_name, suggest_subtype
from urbanvlm.errors import UserError, quoted
from urbanvlm.records import Example, own_id

REQUIRED = ("image_id", "question", "answer", "qtype", "subtype")
OPTIONAL = ("id", "place", "cot_answer")
NO_OBJECT = "mend the row, or name the file .json if all of it is one array"
_NAMED = frozenset((*REQUIRED, *OPTIONAL))
_required = itemgetter(*REQUIRED)


def read_examples(path: Path, allow: Collection[str] = ()) -> list[Example]:
    """Every example of a file, in order. Raises UserError naming file and line (array: item) of the first fault.

    A row without an id gets that of `own_id`; one that asks the same again gets `-2`, `-3`, … behind it. `allow`: codes
    of findings; with `text-only` records without a picture are left out, with `duplicate-id` the later rows of an id
    get `<id>~2`, `<id>~3`, …
    """
    return list(each_example(path, allow))


def each_example(path: Path, allow: Collection[str] = ()) -> Iterator[Example]:
    """The same, one at a time: a million rows need not be in memory at once."""
    file = RowFile.of(path)
    examples = _Examples(file)
    repeats: Counter[str] = Counter()
    for numbers, rows in file.chunks():
        are_faultless = _are_faultless(rows)
        for number, row in zip(numbers, rows, strict=True):
            if not are_faultless and (fault := fault_of(row)) is not None:
                if fault.code == "text-only" and fault.code in allow:
                    continue
                raise UserError(file.where(number), fault.what, fault.next_step)
            example = examples.of(row)
            if example.id in examples.ids:
                if "duplicate-id" not in allow:
                    what = f"id {quoted(example.id)} is given in {file.where(examples.ids[example.id])} already"
                    raise UserError(file.where(number), what, "make it unique")
                repeats[example.id] += 1
                example = replace(example, id=_free_id(example.id, repeats[example.id], examples.ids))
            examples.ids[example.id] = number
            yield example
    if not examples.ids:
        raise UserError(path, "has no rows", "give it at least one")


def _free_id(id_: str, repeat: int, taken: Container[str]) -> str:
    return next(name for n in itertools.count(repeat + 1) if (name := f"{id_}~{n}") not in taken)


def readable_examples(file: RowFile) -> Iterator[tuple[int, Example]]:
    """(line or item, example) of every row without a fault; the audit names the others."""
    examples = _Examples(file)
    for numbers, rows in file.chunks():
        for number, row in zip(numbers, rows, strict=True):
            if fault_of(row) is None:
                example = examples.of(row)
                examples.ids.setdefault(example.id, number)
                yield number, example


def each_former_id(path: Path, allow: Collection[str] = ()) -> Iterator[tuple[str, Example]]:
    """(the id that a row had when rows without one were counted, example), of a file without a fault but for `allow`.

    Such a row was `<image_id>#<n>`, n counting that image's rows from 0 in file order.
    """
    counts: dict[str, int] = {}
    written = (row for _, rows in RowFile.of(path).chunks() for row in rows)
    if "text-only" in allow:
        written = (row for row in written if fault_of(row) is None)
    for row, example in zip(written, each_example(path, allow), strict=True):
        number = counts.get(example.image_id, 0)
        counts[example.image_id] = number + 1
        yield example.id if row.get("id") else f"{example.image_id}#{number}", example


def _are_faultless(rows: Sequence[Any]) -> bool:
    """Has none of them a fault? Column by column, each different value once: several times faster than row by row."""
    try:
        columns = dict(zip(REQUIRED, map(set, zip(*map(_required, rows), strict=True)), strict=True))
        optional = [{row.get(key) for row in rows} - {None} for key in OPTIONAL]
    except (KeyError, TypeError, ValueError):
        return False
    return (
        all(type(value) is str and value.strip() and is_whole(value) for c in columns.values() for value in c)
        and all(type(value) is str and value.strip() and is_whole(value) for column in optional for value in column)
        and not any(map(unknown_subtype, columns["subtype"]))
        and not any(map(image_outside, columns["image_id"]))
    )


def fault_of(row: Any) -> Fault | None:
    """Why a row is no example, if so; whether others have its id is not asked."""
    if isinstance(row, Fault):
        return row
    if not isinstance(row, dict):
        return Fault("malformed-line", "not a JSON object", NO_OBJECT if isinstance(row, list) else "mend the row")
    for key in (*REQUIRED, *OPTIONAL):
        value = row.get(key)
        if value is None and key in OPTIONAL:
            continue
        if not isinstance(value, str) or not value.strip():
            what = (
                f"{key} is missing" if key not in row else f"{key} must be text that is not blank (got {quoted(value)})"
            )
            next_step = "mend the row or remove it" if key in OPTIONAL else "mend the row"
            if key == "subtype" and key not in row:
                next_step = f"docs/questions.md lists them, and a row that is only learnt from may be a {CONVERSATION}"
            return Fault("malformed-row", what, next_step)
        if not is_whole(value):
            return Fault("malformed-row", f"{key} holds half of a character (got {quoted(value)})")
    return unknown_subtype(row["subtype"]) or image_outside(row["image_id"])


def unknown_subtype(subtype: str) -> Fault | None:
    name = scored_name(subtype)
    if name in SUBTYPES or subtype == CONVERSATION:
        return None
    next_step = f"{suggest_subtype(subtype)}; a row that is only learnt from may be a {CONVERSATION}"
    return Fault("unknown-subtype", f"unknown subtype {quoted(subtype)}", next_step)


def image_outside(image_id: str) -> Fault | None:
    if stays_inside(image_id):
        return None
    return Fault("image-outside", f"image_id {quoted(image_id)} is not a path inside the image folder")


class _Examples:
    """Rows of a file, in its order, made examples: what a row leaves out, the rows around it tell."""

    def __init__(self, file: RowFile) -> None:
        self._file = file
        self.ids: dict[str, int] = {}
        """of the rows before, with their lines or items"""
        self._repeats: dict[str, int] = {}

    def of(self, row: Mapping[str, Any]) -> Example:
        image_id = row["image_id"]
        return Example(
            id=row.get("id") or self._own_id(row),
            image_id=image_id,
            place=row.get("place") or place_of(image_id, self._panoramas if is_view(image_id) else ()),
            question=row["question"],
            answer=row["answer"],
            qtype=row["qtype"],
            subtype=row["subtype"],
            cot_answer=row.get("cot_answer"),
            extra={key: value for key, value in row.items() if key not in _NAMED},
        )

    def _own_id(self, row: Mapping[str, Any]) -> str:
        id_ = own_id(row["image_id"], row["question"], row["subtype"])
        if id_ not in self.ids:
            return id_
        self._repeats[id_] = self._repeats.get(id_, 1) + 1
        return f"{id_}-{self._repeats[id_]}"

    @cached_property
    def _panoramas(self) -> frozenset[str]:
        """Needs every name of the file, so a file with names that may be views of a panorama is read once more."""
        names = (row.get("image_id") for _, rows in self._file.chunks() for row in rows if isinstance(row, dict))
        return panorama_folders({name for name in names if isinstance(name, str)})
