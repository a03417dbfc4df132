"""A question file -> its rows as they were written: JSONL, or a JSON array, of the study's rows or of conversations."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urbanvlm.dataset.conversations import TextOnlyError, is_conversation, rows_of_conversation
from urbanvlm.errors import UserError, missing_file, quoted

CHUNK_CHARACTERS = 1 << 16
CHUNK_ITEMS = 256
"""so little that what is made of it is still in the processor's cache when it is looked at"""
_OF_ROWS = {"image_id", "example_id", "text"}
"""an object with one of these is a row itself, a question or a prediction, whatever else it holds"""
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be used; stands in the row's place."""

    code: str
    what: str
    next_step: str = "mend the row"


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows; a line of JSONL has a number from 1, an item of an array one from 0."""

    path: Path
    is_array: bool

    @classmethod
    def of(cls, path: Path) -> RowFile:
        """Raises UserError for a pipe: what is read twice, as most files here are, would be empty the second time; and
        for a file that is one object, which holds its records or is a single one.
        """
        try:
            if path.exists() and not path.is_file() and not path.is_dir():
                raise UserError(path, "is a pipe or a device", "save what it gives to a file, and name that")
            is_array = _is_array(path)
            if not is_array and path.is_file():
                _refuse_one_object(path)
            return cls(path, is_array)
        except OSError:  # reading it says why it cannot be read
            return cls(path, False)

    def where(self, number: int) -> str:
        return f"{self.path}: item {number}" if self.is_array else f"{self.path}:{number}"

    def chunks(self) -> Iterator[tuple[Sequence[int], list[Any]]]:
        """(numbers, rows) of some thousand rows at a time; a row is any JSON value, or a Fault where it is none.

        Raises UserError where the file cannot be read at all: it is not there, or an array that is not JSON.
        """
        try:
            yield from _items(self.path) if self.is_array else _lines(self.path)
        except FileNotFoundError:
            raise UserError(self.path, missing_file(self.path)) from None
        except IsADirectoryError:
            raise UserError(self.path, "is a folder", "name a file") from None
        except OSError as error:
            raise UserError(self.path, f"cannot be read ({error.strerror})", "name a file that can") from None


def _is_array(path: Path) -> bool:
    """Is the first character that is no space a bracket? In a file named .jsonl that is a faulty line, not an array."""
    if path.suffix == ".jsonl" or not path.is_file():
        return False
    with path.open("rb") as source:
        return source.read(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _refuse_one_object(path: Path) -> None:
    """Many data sets hold their records at a key of one object; line by line nobody could tell what is wrong."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as source:
        first = source.readline()
        while first and not first.strip():
            first = source.readline()
        if not first.lstrip().startswith("{"):
            return
        try:
            row = json.loads(first)
            if source.read(CHUNK_CHARACTERS).strip():
                return  # further lines: this one is a row of theirs
            is_line = True
        except (ValueError, RecursionError):
            is_line = False
    if not is_line:
        try:
            row = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError):
            return
    keys = [key for key, value in row.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if keys and not is_conversation(row) and not row.keys() & _OF_ROWS:
        what = f"is one object, with records inside at the key {', '.join(map(quoted, keys))}"
        raise UserError(path, what, "save the list of records alone, as an array or one record a line")
    if not is_line:
        what = "is one object of several lines, not one record a line"
        raise UserError(path, what, "write each record into one line, or all of them into an array: [ … ]")


# ---- lines


class _NotFiniteError(ValueError):
    """NaN or an infinity, which Python's parser would let pass."""


def _refuse(constant: str) -> object:
    raise _NotFiniteError(constant)


_decoder = json.JSONDecoder(parse_constant=_refuse)
_BETWEEN = secrets.token_hex(8)
"""stands between the lines of a chunk while it is parsed; nobody can have written it"""


def _lines(path: Path) -> Iterator[tuple[Sequence[int], list[Any]]]:
    first = 1
    # surrogateescape: a byte that is no UTF-8 is the fault of its line, not of the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as source:
        while text := source.read(CHUNK_CHARACTERS):
            text = (text + source.readline()).removesuffix("\n")
            count = text.count("\n") + 1
            numbers: Sequence[int] = range(first, first + count)
            rows = _parse_together(text, count) if is_whole(text) else None
            if rows is None:
                numbers, rows = _parse_each(numbers, text.split("\n"))
            yield _expanded(numbers, rows) if '"conversations"' in text else (numbers, rows)
            first += count


def _parse_together(text: str, count: int) -> list[Any] | None:
    """The lines as one array, in half the time that they take one by one; None if any of them is not JSON.

    What stands between the lines must stand between the values, or else lines that are no JSON have met to some.
    """
    try:
        values: list[Any] = _decoder.decode("[" + text.replace("\n", f',"{_BETWEEN}",') + "]")
    except (ValueError, RecursionError):
        return None
    if len(values) != 2 * count - 1 or values[1::2].count(_BETWEEN) != count - 1:
        return None
    return values[::2]


def _parse_each(numbers: Sequence[int], lines: Sequence[str]) -> tuple[list[int], list[Any]]:
    """Without the blank ones."""
    parsed = [(number, _parse_line(line)) for number, line in zip(numbers, lines, strict=True) if line.strip()]
    return [number for number, _ in parsed], [row for _, row in parsed]


def _parse_line(line: str) -> Any:
    if not is_whole(line):
        return Fault("malformed-line", "not UTF-8", "save the file as UTF-8")
    try:
        return _decoder.decode(line)
    except json.JSONDecodeError as error:
        return Fault("malformed-line", f"not JSON ({error.msg} at column {error.colno})", "mend or remove the line")
    except _NotFiniteError as error:
        return _not_finite(str(error))
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested as deep
        return Fault("malformed-line", f"not JSON we can hold ({error})", "mend the line")


def _not_finite(constant: str) -> Fault:
    return Fault("nan", f"holds {constant}, which is no number", "mend or remove the row")


def is_whole(text: str) -> bool:
    """Has it no half of a character? A lone surrogate is no text that a file or a tokenizer takes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- arrays


def _items(path: Path) -> Iterator[tuple[Sequence[int], list[Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 (byte {error.start})", "save the file as UTF-8") from None
    has_conversations = '"conversations"' in text
    rows: list[Any] = []
    first = 0
    try:
        for row in _values(text):
            rows.append(row)
            if len(rows) == CHUNK_ITEMS:
                numbers = range(first, first + len(rows))
                yield _expanded(numbers, rows) if has_conversations else (numbers, rows)
                first, rows = first + len(rows), []
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}", f"not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"not JSON that can be read ({error})") from None
    numbers = range(first, first + len(rows))
    yield _expanded(numbers, rows) if has_conversations else (numbers, rows)


def _values(text: str) -> Iterator[Any]:
    """The items of a text that is a JSON array, one after the other, so that not all are held at once."""
    constants: list[str] = []
    decoder = json.JSONDecoder(parse_constant=constants.append)

    def skip(position: int) -> int:
        found = _SPACE.match(text, position)
        return found.end() if found else position

    position = skip(skip(0) + 1)
    separator = "," if text[position : position + 1] != "]" else "]"
    while separator == ",":
        value, position = decoder.raw_decode(text, position)
        yield _not_finite(constants[0]) if constants else value
        constants.clear()
        position = skip(position)
        separator = text[position : position + 1]
        if separator == ",":
            position = skip(position + 1)
    if separator != "]":
        raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    if (end := skip(position + 1)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _expanded(numbers: Sequence[int], rows: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """With the rows of its turns in the place of each conversation."""
    pairs = [(number, row) for number, given in zip(numbers, rows, strict=True) for row in _turns(given)]
    return [number for number, _ in pairs], [row for _, row in pairs]


def _turns(row: Any) -> list[Any]:
    if not is_conversation(row):
        return [row]
    try:
        return list(rows_of_conversation(row))
    except TextOnlyError as error:
        return [Fault("text-only", str(error), "add its image, or remove it")]
    except ValueError as error:
        return [Fault("malformed-row", str(error))]
