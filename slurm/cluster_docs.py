"""The table of a profile's keys in docs/clusters.md, made from the keys themselves."""

from __future__ import annotations

from pathlib import Path

from slurm.cluster import reference
from urbanvlm.generated import fill, markdown_table

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "clusters.md"


def fill_document(text: str) -> str:
    """The document with its table made anew. Raises UserError where the marks are missing."""
    return fill(text, "keys", key_table(), DOCUMENT)


def key_table() -> str:
    """Markdown: every key with its default and meaning."""
    return markdown_table(
        ("key", "default", "meaning"), [(f"`{key}`", default, meaning) for key, default, meaning in reference()]
    )
