"""The table of a profile's keys in docs/clusters.md, made from the keys themselves."""

from __future__ import annotations

from pathlib import Path

from slurm.cluster import reference
from urbanvlm.errors import UserError

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "clusters.md"
BEGIN, END = "<!-- keys:begin -->", "<!-- keys:end -->"


def fill_document(text: str) -> str:
    """The document with its table made anew. Raises UserError where the marks are missing."""
    if BEGIN not in text or END not in text:
        raise UserError(DOCUMENT, f"has no {BEGIN} … {END}", "put the two lines back")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{key_table()}\n{END}{rest.partition(END)[2]}"


def key_table() -> str:
    """Markdown: every key with its default and meaning."""
    rows = [(f"`{key}`", default, meaning) for key, default, meaning in reference()]
    lines = ["| key | default | meaning |", "|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)])
