"""LLaVA's conversation records -> rows like the study's, one for each turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from urbanvlm.dataset.taxonomy import CONVERSATION, SUBTYPES, scored_name
from urbanvlm.errors import quoted

IMAGE_TOKEN = "<image>"
_OWN = frozenset(("id", "image", "conversations", "subtype", "qtype"))
_OF_TURN = frozenset(("from", "value"))


class TextOnlyError(ValueError):
    """A record without a picture, as mixtures of training data have them."""


def is_conversation(row: object) -> bool:
    return isinstance(row, dict) and "conversations" in row and "question" not in row


def rows_of_conversation(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each question of the human and the answer that follows. Raises ValueError saying what is wrong.

    `subtype` and `qtype` may stand in the record or in the human's turn; without a subtype a row is a `conversation`,
    which can be learnt from but not scored. A conversation of several turns, of which each becomes an example that
    knows nothing of the others, numbers its ids `<id>#<n>` from 0. Further keys are kept.
    """
    image = record.get("image")
    if image is None:
        raise TextOnlyError("image is missing, so the conversation is text alone")
    if not isinstance(image, str):
        raise ValueError(f"image must be text (got {quoted(image)})")
    pairs = list(_pairs(record["conversations"]))
    shared = {key: value for key, value in record.items() if key not in _OWN}
    return [
        shared | _row(human, answer, record, image, number if len(pairs) > 1 else None)
        for number, (human, answer) in enumerate(pairs)
    ]


def _pairs(turns: object) -> Iterator[tuple[Mapping[str, Any], object]]:
    """(the human's turn, what was answered)."""
    if not isinstance(turns, list) or not turns:
        raise ValueError("conversations must be a list of turns")
    for number, turn in enumerate(turns):
        expected = "gpt" if number % 2 else "human"
        if not isinstance(turn, dict) or turn.get("from") != expected:
            raise ValueError(f"conversations: turn {number} must be from {expected}")
        if not isinstance(turn.get("value"), str):
            raise ValueError(f"conversations: turn {number} has no value that is text")
    if len(turns) % 2:
        raise ValueError("conversations: the last question has no answer")
    for human, gpt in zip(turns[::2], turns[1::2], strict=True):
        yield human, gpt["value"]


def _row(
    human: Mapping[str, Any], answer: object, record: Mapping[str, Any], image: str, number: int | None
) -> dict[str, Any]:
    subtype = human.get("subtype", record.get("subtype", CONVERSATION))
    known = SUBTYPES.get(scored_name(subtype)) if isinstance(subtype, str) else None
    row = {key: value for key, value in human.items() if key not in _OF_TURN}
    row |= {
        "image_id": image,
        "question": human["value"].replace(IMAGE_TOKEN, " ").strip(),
        "answer": answer,
        "qtype": human.get("qtype", record.get("qtype", known.qtype if known else CONVERSATION)),
        "subtype": subtype,
    }
    if (name := record.get("id")) is not None:
        row["id"] = str(name) if number is None else f"{name}#{number}"
    return row
