"""Which row of a question file a prediction answers: by id, by image and question, or by an id that counted rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from urbanvlm.dataset.read import each_example
from urbanvlm.errors import UserError
from urbanvlm.evaluate.former_ids import FormerIds
from urbanvlm.evaluate.predictions import IMAGE, QUESTION, is_by_question


@dataclass
class Answered:
    """The rows of a question file, which is read once more only if ids are not enough."""

    data: Path
    question: Callable[[str], str | None]
    """of the row of an id"""
    allow: Collection[str] = ()
    """findings with which the file is read"""
    counted: list[str] = field(default_factory=list)
    """ids that counted rows, of predictions that say neither which file nor which question they answer"""

    def id_of(self, row: Mapping[str, Any], where: Callable[[], str]) -> str:
        """Raises UserError where it answers none, or not the one that its id names."""
        if is_by_question(row):
            return self._by_question(row, where)
        id_: str | None = row["example_id"]
        question = self.question(row["example_id"])
        if question is None and (id_ := self.former.id_of(row)) is not None:
            question = self.question(id_)
            if not {"dataset", QUESTION}.intersection(row):
                self.counted.append(row["example_id"])
        if id_ is None or question is None:
            raise UserError(
                where(), f"no example {row['example_id']!r} in {self.data}", "score answers to its questions"
            )
        said = row.get(QUESTION)
        if isinstance(said, str) and _plain(question) not in _plain(said):
            raise UserError(
                where(),
                f"answers {said!r}, but {row['example_id']!r} in {self.data} asks {question!r}",
                "give the question file that was asked",
            )
        return id_

    @cached_property
    def former(self) -> FormerIds:
        return FormerIds(self.data, self.allow)

    def _by_question(self, row: Mapping[str, Any], where: Callable[[], str]) -> str:
        ids = self._ids.get((row[IMAGE], _plain(row[QUESTION])), ())
        if len(ids) == 1:
            return ids[0]
        asks = f"asks {row[QUESTION]!r} about {row[IMAGE]!r}"
        if not ids:
            raise UserError(where(), f"no row of {self.data} {asks}", "give both as they stand there")
        raise UserError(where(), f"{len(ids)} rows of {self.data} {asks}", f"give example_id, such as {ids[0]!r}")

    @cached_property
    def _ids(self) -> dict[tuple[str, str], list[str]]:
        ids: dict[tuple[str, str], list[str]] = {}
        for example in each_example(self.data, self.allow):
            ids.setdefault((example.image_id, _plain(example.question)), []).append(example.id)
        return ids


def _plain(question: str) -> str:
    return " ".join(question.split())
