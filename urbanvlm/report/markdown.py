"""A report as Markdown for GitHub; foreign text shows letter by letter."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence

from urbanvlm.report.document import (
    Block,
    Bullets,
    Cell,
    Code,
    CodeBlock,
    Document,
    Emphasis,
    Facts,
    Figure,
    Fold,
    Gallery,
    Inline,
    Line,
    Link,
    Notice,
    OnlyMarkdown,
    OnlyPage,
    Panels,
    Paragraph,
    Strong,
    Subsection,
    Table,
    Toned,
)

_INLINE = re.compile(r"([\\`*_\[\]|~$])")
_FIRST_WORD = re.compile(r"^(\d*)([-+#=]|(?<=\d)[.)](?=\s|$))")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: str) -> str:
    """One line of inline Markdown that renders as `text`: no markup, table cell, HTML or mathematics comes of it."""
    one_line = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
    # A first word must not start a heading, a rule or a list.
    return _FIRST_WORD.sub(r"\1\\\2", _escape_inside(one_line))


def _escape_inside(text: str) -> str:
    return re.sub(r"[&<>]", lambda match: _HTML[match.group()], _INLINE.sub(r"\\\1", text))


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


# ---- documents ------------------------------------------------------------------------------------------------------


def render_markdown(document: Document, pictures: str) -> str:
    """The whole page; figures are links to `<pictures><name>.png`."""
    parts = [f"# {escape(document.title)}\n", *_blocks(document.opening, pictures)]
    for section in document.sections:
        blocks = list(_blocks(section.blocks, pictures))
        if blocks:
            parts += [f"## {escape(section.title)}\n", *blocks]
    return "\n".join(parts)


def figures_of(blocks: Iterable[Block]) -> Iterator[Figure]:
    """Every figure that the Markdown shows."""
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, (Fold, Subsection, OnlyMarkdown)):
            yield from figures_of(block.blocks)
        elif isinstance(block, Panels):
            for _, inner in block.choices:
                yield from figures_of(inner)


def _blocks(blocks: Iterable[Block], pictures: str) -> Iterator[str]:
    for block in blocks:
        if text := _block(block, pictures):
            yield text


def _block(block: Block, pictures: str) -> str:
    match block:
        case Paragraph():
            return f"{render_line(block.line)}\n"
        case Notice():
            return f"> {render_line(block.line)}\n"
        case Bullets():
            return "".join(f"- {render_line(item)}\n" for item in block.items)
        case Facts():
            return "".join(f"- {_fact(*item)}\n" for item in block.items)
        case Table():
            return _table(block)
        case Figure():
            return f"![{escape(block.alt)}]({pictures}{block.name}.png)\n"
        case CodeBlock():
            return code_block(block.text, block.language)
        case Fold():
            return _fold(block.summary, block.blocks, pictures)
        case Panels():
            return "\n".join(_fold(label, inner, pictures) for label, inner in block.choices)
        case Subsection():
            inner = "\n".join(_blocks(block.blocks, pictures))
            return f"### {escape(block.title)}\n\n{inner}" if inner else ""
        case OnlyMarkdown():
            return "\n".join(_blocks(block.blocks, pictures))
        case OnlyPage() | Gallery():
            return ""


def _fold(summary: str, blocks: Iterable[Block], pictures: str) -> str:
    # Inside <summary> GitHub reads HTML, not Markdown.
    words = re.sub(r"[&<>]", lambda match: _HTML[match.group()], summary)
    return f"<details>\n<summary>{words}</summary>\n\n" + "\n".join(_blocks(blocks, pictures)) + "\n</details>\n"


def _fact(what: str, value: Line, note: Line) -> str:
    words = f"**{escape(what)}**: {render_line(value)}"
    return f"{words} ({render_line(note)})" if note else words


def _table(table: Table) -> str:
    """A heading of a group of rows stands in a column of its own, beside the group's first row."""
    headings = any(heading for heading, _ in table.groups)
    header = [_table_cell(cell) for cell in table.header]
    rows = []
    for heading, members in table.groups:
        for number, row in enumerate(members):
            first = [f"**{escape(heading)}**" if heading and number == 0 else ""] if headings else []
            rows.append(first + [_table_cell(cell) for cell in row])
    shift = int(headings)
    return pipe_table([""] * shift + header, rows, {column + shift for column in table.right})


def _table_cell(cell: Cell) -> str:
    return "<br>".join(render_line(one) for one in cell.lines)


def render_line(line: Line) -> str:
    return "".join(_inline(part, first=number == 0) for number, part in enumerate(line))


def _inline(part: Inline, *, first: bool) -> str:
    match part:
        case str():
            return _plain(part, first)
        case Strong():
            return f"**{escape(part.text)}**"
        case Emphasis():
            return f"*{escape(part.text)}*"
        case Code():
            return _code(part.text)
        case Toned():
            return _plain(part.text, first)
        case Link():
            return escape(part.text) if part.target.startswith("#") else f"[{escape(part.text)}]({part.target})"


def _plain(text: str, first: bool) -> str:
    """Escaped, with the spaces at its ends kept: neighbours in the line need them."""
    head = " " if text[:1].isspace() and not first else ""
    tail = " " if text[-1:].isspace() and text.strip() else ""
    return head + (escape(text) if first else _escape_inside(escape_spaces(text))) + tail


def escape_spaces(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())


def _code(text: str) -> str:
    one_line = escape_spaces(text)
    longest = max((len(run) for run in re.findall(r"`+", one_line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if one_line.startswith("`") or one_line.endswith("`") else ""
    # A pipe ends a table's cell even inside code.
    return f"{fence}{pad}{one_line}{pad}{fence}".replace("|", "\\|")
