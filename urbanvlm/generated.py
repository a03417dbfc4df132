"""Parts of a document that are made from the code: what stands between two marks, written anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from urbanvlm.errors import UserError


def fill(text: str, name: str, body: str, document: object) -> str:
    """The text with `body` between the marks `<!-- name:begin -->` and `<!-- name:end -->`. Raises UserError."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, first, rest = text.partition(begin)
    _, last, tail = rest.partition(end)
    if not first or not last:
        raise UserError(document, f"has no {begin} … {end}", "put the two lines back")
    return f"{head}{begin}\n{body}\n{end}{tail}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(head), "|" + "---|" * len(head)]
    return "\n".join([*lines, *(_line([cell.replace("|", "\\|") for cell in row]) for row in rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
