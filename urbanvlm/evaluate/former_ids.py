"""Answers from when rows without an id were counted, `<image_id>#<n>`: which row of the question file each is to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from urbanvlm.dataset.read import each_former_id
from urbanvlm.records import RowSum


@dataclass(frozen=True)
class FormerIds:
    """Of a question file, which is read once more when the first answer needs it."""

    data: Path
    allow: Collection[str] = ()
    """findings with which the file was read"""

    def id_of(self, row: Mapping[str, Any]) -> str | None:
        """The id of the row that a prediction answers; None where it has no such id, or answers another file."""
        if "dataset" in row and row["dataset"] != self.fingerprint:
            return None
        return self._found[0].get(row["example_id"])

    @property
    def fingerprint(self) -> str:
        """That of the file when its rows were counted."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[dict[str, str], str]:
        ids: dict[str, str] = {}
        rows = RowSum()
        for former, example in each_former_id(self.data, self.allow):
            rows.add(replace(example, id=former))
            ids[former] = example.id
        return ids, rows.fingerprint
