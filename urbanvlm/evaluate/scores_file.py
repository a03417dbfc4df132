"""`scores.json`: every score of a run, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from urbanvlm.errors import UserError
from urbanvlm.records import Score, write_atomic

_DECIMALS = 6
_NEXT = "run the report stage again: make report RUN=…"


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write `scores.json`, a list of objects with the keys of `Score`, atomically; numbers to six decimals."""
    write_atomic(path, scores_text(scores))


def scores_text(scores: Iterable[Score]) -> str:
    """JSON: a list of objects with the keys of `Score` and `lift`, numbers to six decimals."""
    rows = [_rounded(_rounded_score(score).to_json()) for score in scores]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _rounded_score(score: Score) -> Score:
    # The lift then is that of the numbers that are written.
    return Score(**_rounded({name: getattr(score, name) for name in Score.__slots__}))


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, _DECIMALS) if isinstance(value, float) else value for name, value in row.items()}


def read_scores(path: Path) -> list[Score]:
    """Read what `write_scores` wrote. Raises UserError naming the file, and the entry that is not a score."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, "no such file", "run the report stage") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(path, f"not JSON ({error})", "run the report stage again") from None
    if not isinstance(rows, list):
        raise UserError(path, "not a list of scores", "run the report stage again")
    names = {field.name for field in fields(Score)} | {"lift"}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != names:
            raise UserError(f"{path}: entry {number}", f"needs exactly the keys {', '.join(sorted(names))}", _NEXT)
    return [Score(**{name: row[name] for name in row.keys() - {"lift"}}) for row in rows]
