"""One pass over a question file of any size: its rows as columns of numbers, and their faults."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from urbanvlm.dataset.conversations import IMAGE_TOKEN
from urbanvlm.dataset.findings import Tally
from urbanvlm.dataset.places import panorama_folders, place_of, tells_place
from urbanvlm.dataset.rationale import contradicts, quotes_threshold
from urbanvlm.dataset.read import OPTIONAL, REQUIRED, fault_of, image_outside, unknown_subtype
from urbanvlm.dataset.rows import RowFile, is_whole
from urbanvlm.errors import UserError

Key = TypeVar("Key", bound=Hashable)

_required = itemgetter(*REQUIRED)


@dataclass(frozen=True, slots=True)
class Columns:
    """An entry for each row that is an example, in file order."""

    numbers: NDArray[np.int32]
    """line or item"""
    image_of: NDArray[np.int32]
    """index into the images"""
    answer_of: NDArray[np.int32]
    """index into the answers"""
    questions: NDArray[np.int64]
    """hash of image and question; in a million rows two of 64 bits agree by chance once in ten million files"""
    ids: NDArray[np.int64]
    """hash of the id; of a row that gives none, a number that no other has"""
    has_id: NDArray[np.bool_]
    """is it given?"""
    has_rationale: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scan:
    """What is kept of a file."""

    file: RowFile
    rows: int
    """all of them, those with a fault too"""
    tally: Tally
    """what is wrong with single rows"""
    images: Sequence[str]
    answers: Sequence[tuple[str, str]]
    """(subtype as written, answer)"""
    places: Mapping[str, int]
    """place -> the line or item that shows it first"""
    untold: Mapping[str, int]
    """image of whose place neither its rows nor its name tell -> the line or item that shows it first"""
    columns: Columns

    def where(self, row: int) -> str:
        """Of an index into the columns."""
        return self.file.where(int(self.columns.numbers[row]))


def scan(path: Path) -> Scan:
    """Read a file of any size; every fault is counted. Raises UserError where it cannot be read or holds no object."""
    file = RowFile.of(path)
    builder = _Builder()
    for numbers, rows in file.chunks():
        builder.take(numbers, rows)
    if builder.rows == 0:
        raise UserError(path, "has no rows", "give it at least one")
    if len(unread := builder.tally.faults.get("malformed-line", [])) == builder.rows:
        number, what = unread[0]
        raise UserError(file.where(number), what, "and no other line is an object: name a file of questions")
    return builder.finished(file)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The columns of some rows as they are written; an optional one is None where no row has it."""

    image: Sequence[str]
    question: Sequence[str]
    answer: Sequence[tuple[str, str]]
    """(subtype, answer)"""
    id: Sequence[str | None] | None
    place: Sequence[str | None] | None
    rationale: Sequence[str | None] | None

    @classmethod
    def of(cls, rows: Sequence[Any]) -> _Texts | None:
        """None if any row is not an object with text where text must be."""
        try:
            image, question, answer, qtype, subtype = zip(*map(_required, rows), strict=True)
        except (KeyError, TypeError):
            return None
        keys = set[str]().union(*rows)
        optional = [[row.get(key) for row in rows] if key in keys else None for key in OPTIONAL]
        if not all(map(_is_text, (image, question, answer, qtype, subtype))):
            return None
        if not all(values is None or _is_text(values, {None}) for values in optional):
            return None
        return cls(image, question, list(zip(subtype, answer, strict=True)), *optional)


def _is_text(values: Iterable[object], besides: Iterable[None] = ()) -> bool:
    """Each different value once: questions and answers repeat."""
    try:
        different = set(values).difference(besides)
    except TypeError:  # a list or an object, which no set takes
        return False
    return all(type(value) is str and value.strip() and (value.isascii() or is_whole(value)) for value in different)


@dataclass
class _Builder:
    """Columns that grow.

    Rows come some hundred at a time and are checked column by column, in a few calls that run in C: several times
    faster than row by row. Rows that such a look does not settle are halved until those with a fault stand alone.
    """

    rows: int = 0
    tally: Tally = field(default_factory=Tally)
    images: dict[str, int] = field(default_factory=dict)
    answers: dict[tuple[str, str], int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    unplaced: dict[str, int] = field(default_factory=dict)
    """image with a row that does not say its place -> the first such line or item"""
    numbers: array[int] = field(default_factory=lambda: array("i"))
    image_of: array[int] = field(default_factory=lambda: array("i"))
    answer_of: array[int] = field(default_factory=lambda: array("i"))
    questions: array[int] = field(default_factory=lambda: array("q"))
    ids: array[int] = field(default_factory=lambda: array("q"))
    has_id: bytearray = field(default_factory=bytearray)
    has_rationale: bytearray = field(default_factory=bytearray)

    def take(self, numbers: Sequence[int], rows: Sequence[Any]) -> None:
        self.rows += len(rows)
        self._sift(numbers, rows)

    def _sift(self, numbers: Sequence[int], rows: Sequence[Any]) -> None:
        if not rows:
            return
        texts = _Texts.of(rows)
        if texts is not None and self._learn(numbers, texts):
            self._append(numbers, texts)
        elif len(rows) > 1:
            half = len(rows) // 2
            self._sift(numbers[:half], rows[:half])
            self._sift(numbers[half:], rows[half:])
        else:
            fault = fault_of(rows[0])
            assert fault is not None, "a row that is refused among others is refused alone"
            self.tally.add(fault.code, numbers[0], f"{fault.what}; {fault.next_step}")

    def _learn(self, numbers: Sequence[int], texts: _Texts) -> bool:
        """Number the images and answers that are new, note places; False, and nothing done, if one is not allowed."""
        images = _new(texts.image, self.images)
        answers = _new(texts.answer, self.answers)
        if any(map(image_outside, images)) or any(unknown_subtype(subtype) for subtype, _ in answers):
            return False
        for image in images:
            self.images[image] = len(self.images)
        for answer in answers:
            self.answers[answer] = len(self.answers)
        if texts.place is not None:
            for number, image, place in zip(numbers, texts.image, texts.place, strict=True):
                if place is not None:
                    self.places.setdefault(place, number)
                else:
                    self.unplaced.setdefault(image, number)
        elif images := _new(texts.image, self.unplaced):
            first = dict(zip(reversed(texts.image), reversed(numbers), strict=True))
            self.unplaced |= {image: first[image] for image in images}
        return True

    def _append(self, numbers: Sequence[int], texts: _Texts) -> None:
        count = len(texts.image)
        image_of = [*map(self.images.__getitem__, texts.image)]
        self.numbers.extend(numbers)
        self.image_of.extend(image_of)
        self.answer_of.extend(map(self.answers.__getitem__, texts.answer))
        self.questions.extend(map(hash, zip(image_of, texts.question, strict=True)))
        self._judge_tokens(numbers, texts)
        if texts.id is None:
            self.ids.frombytes(bytes(8 * count))
            self.has_id.extend(bytes(count))
        else:
            self.ids.extend(map(hash, texts.id))
            self.has_id.extend(name is not None for name in texts.id)
        if texts.rationale is None:
            self.has_rationale.extend(bytes(count))
        else:
            self.has_rationale.extend(text is not None for text in texts.rationale)
            self._judge_rationales(numbers, texts.answer, texts.rationale)

    def _judge_tokens(self, numbers: Sequence[int], texts: _Texts) -> None:
        """A model would take the token for a second picture, and training would end when the row's turn comes."""
        columns = {"question": texts.question, "answer": [answer for _, answer in texts.answer]}
        for name, values in (columns | {"cot_answer": [text or "" for text in texts.rationale or ()]}).items():
            if IMAGE_TOKEN not in "\n".join(values):
                continue
            for number, value in zip(numbers, values, strict=True):
                if IMAGE_TOKEN in value:
                    what = f"{name} holds {IMAGE_TOKEN}; take it out, as every question gets its picture"
                    self.tally.add("image-token", number, what)

    def _judge_rationales(
        self, numbers: Sequence[int], answers: Sequence[tuple[str, str]], rationales: Sequence[str | None]
    ) -> None:
        for number, (_, answer), text in zip(numbers, answers, rationales, strict=True):
            if text is None:
                continue
            if contradicts(text, answer):
                what = f"cot_answer does not end in 'Answer: {answer}'; mend the rationale or remove the row"
                self.tally.add("contradicting-rationale", number, what)
            if quotes_threshold(text):
                self.tally.add("quoted-threshold", number, "say what is seen, not the rule")

    def finished(self, file: RowFile) -> Scan:
        columns = Columns(
            np.frombuffer(self.numbers, np.int32),
            np.frombuffer(self.image_of, np.int32),
            np.frombuffer(self.answer_of, np.int32),
            np.frombuffer(self.questions, np.int64),
            np.frombuffer(self.ids, np.int64),
            np.frombuffer(self.has_id, bool),
            np.frombuffer(self.has_rationale, bool),
        )
        images = tuple(self.images)
        without = np.flatnonzero(~columns.has_id)
        columns.ids[without] = without
        places, untold = self._told()
        return Scan(file, self.rows, self.tally, images, tuple(self.answers), places, untold, columns)

    def _told(self) -> tuple[dict[str, int], dict[str, int]]:
        """(places by where they are first met, images of whose place nothing tells)."""
        places = dict(self.places)
        panoramas = panorama_folders(self.images)
        for image, number in self.unplaced.items():
            place = place_of(image, panoramas)
            places[place] = min(number, places.get(place, number))
        untold = {image: number for image, number in self.unplaced.items() if not tells_place(image, panoramas)}
        return dict(sorted(places.items(), key=lambda item: item[1])), untold


def _new(values: Sequence[Key], known: Mapping[Key, int]) -> list[Key]:
    """Those that are not known, each once, by first appearance."""
    return [value for value in dict.fromkeys(values) if value not in known]
