"""Foreign text as Markdown that shows it letter by letter."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

_INLINE = re.compile(r"([\\`*_\[\]|~$])")
_FIRST_WORD = re.compile(r"^(\d*)([-+#=]|(?<=\d)[.)](?=\s|$))")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: str) -> str:
    """One line of inline Markdown that renders as `text`: no markup, table cell, HTML or mathematics comes of it."""
    one_line = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    escaped = re.sub(r"[&<>]", lambda match: _HTML[match.group()], _INLINE.sub(r"\\\1", one_line))
    # A first word must not start a heading, a rule or a list.
    return _FIRST_WORD.sub(r"\1\\\2", escaped)


def pipe_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """A table of cells that are Markdown already; the columns numbered in `right` are aligned to the right."""
    rules = ["--:" if column in right else "---" for column in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rules, *rows))


def code_block(text: str, language: str = "") -> str:
    """A fenced block that no run of backticks inside `text` can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the cut shown."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
