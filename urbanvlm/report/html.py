"""A report as one HTML file that needs nothing beside it: style, script, plots and pictures are inside."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from itertools import count
from pathlib import Path

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
    Tone,
    Toned,
)

LONG_CELL = 44
"""a cell of more characters than this breaks into lines"""

_FILES = Path(__file__).with_name("page_files")


def render_page(document: Document) -> str:
    """The whole file. Its policy lets nothing be fetched and no script run but the one inside."""
    style, script = _file("style.css"), _file("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    writer = _Writer()
    opening = "".join(map(writer.block, document.opening))
    sections = [(section, "".join(map(writer.block, section.blocks))) for section in document.sections]
    shown = [(section, body) for section, body in sections if body]
    links = "".join(f'<a href="#{_attribute(s.id)}">{escape(s.title)}</a>' for s, _ in shown)
    body = "".join(
        f'<section id="{_attribute(s.id)}"><h2>{escape(s.title)}</h2>{inner}</section>\n' for s, inner in shown
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_attribute(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{escape(visible(document.title))}</title>
<style>{style}</style>
</head>
<body>
<header class="top"><span class="name">{escape(visible(document.title))}</span>
<button type="button" id="theme" hidden>Dark</button></header>
<div class="frame">
<nav aria-label="Sections">{links}</nav>
<main>
<h1>{escape(visible(document.title))}</h1>
{opening}
{body}</main>
</div>
<script>{script}</script>
</body>
</html>
"""


@cache
def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def visible(text: str) -> str:
    """Without control characters, which HTML must not hold and which could turn a line's direction."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _attribute(text: str) -> str:
    return escape(text, quote=True)


def _text(text: str) -> str:
    return escape(visible(text))


class _Writer:
    """Blocks to HTML; it numbers what needs a name of its own."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def block(self, block: Block) -> str:
        match block:
            case Paragraph():
                return f"<p{_tone(block.tone)}>{_line(block.line)}</p>\n"
            case Notice():
                return f'<p class="notice" role="note">{_line(block.line)}</p>\n'
            case Bullets():
                return "<ul>" + "".join(f"<li>{_line(item)}</li>" for item in block.items) + "</ul>\n"
            case Facts():
                return '<dl class="facts">' + "".join(_fact(*item) for item in block.items) + "</dl>\n"
            case Table():
                return _table(block)
            case Figure():
                return _figure(block)
            case CodeBlock():
                return f'<pre tabindex="0"><code>{_text(block.text.rstrip())}</code></pre>\n'
            case Fold():
                return f"<details><summary>{_text(block.summary)}</summary>{self._all(block.blocks)}</details>\n"
            case Panels():
                return self._panels(block)
            case Subsection():
                inner = self._all(block.blocks)
                return f"<h3>{_breakable(_text(block.title))}</h3>{inner}" if inner else ""
            case OnlyPage():
                return self._all(block.blocks)
            case OnlyMarkdown():
                return ""
            case Gallery():
                return _gallery(block)

    def _all(self, blocks: Iterable[Block]) -> str:
        return "".join(map(self.block, blocks))

    def _panels(self, panels: Panels) -> str:
        """Without the script all panels are shown, one under the other."""
        name = f"panels-{next(self._numbers)}"
        options = "".join(
            f'<option value="{number}"{" selected" if number == panels.chosen else ""}>{_text(label)}</option>'
            for number, (label, _) in enumerate(panels.choices)
        )
        bodies = "".join(
            f'<div class="panel" data-panel="{number}"><h4>{_text(label)}</h4>{self._all(inner)}</div>'
            for number, (label, inner) in enumerate(panels.choices)
        )
        return (
            f'<div class="panels" id="{name}"><label class="choose" hidden>{_text(panels.name)} '
            f"<select>{options}</select></label>{bodies}</div>\n"
        )


def _tone(tone: Tone) -> str:
    return f' class="{tone}"' if tone else ""


def _fact(what: str, value: Line, note: Line) -> str:
    below = f"<dd>{_line(note)}</dd>" if note else ""
    return f'<div><dt>{_text(what)}</dt><dd class="value">{_line(value)}</dd>{below}</div>'


def _line(line: Line) -> str:
    return "".join(map(_inline, line))


def _inline(part: Inline) -> str:
    match part:
        case str():
            return _text(part)
        case Strong():
            return f"<strong>{_text(part.text)}</strong>"
        case Emphasis():
            return f"<em>{_text(part.text)}</em>"
        case Code():
            return f"<code>{_text(part.text)}</code>"
        case Toned():
            return f"<span{_tone(part.tone)}>{_text(part.text)}</span>"
        case Link():
            return f'<a href="{_attribute(part.target)}">{_text(part.text)}</a>'


def _table(table: Table) -> str:
    kind = ("compact" if table.compact else "wide") + (" ends" if table.ends_in_sight else "")
    head = "".join(_cell("th", cell, column in table.right) for column, cell in enumerate(table.header))
    bodies = "".join(_rows(heading, rows, table) for heading, rows in table.groups)
    # A box of its own to scroll in: the page itself never gets wider than the screen. The script says when it goes on.
    return (
        f'<p class="more" hidden>The table goes on to the side: swipe or scroll it.</p>\n'
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{head}</tr></thead>{bodies}</table></div>\n'
    )


def _rows(heading: str, rows: Iterable[tuple[Cell, ...]], table: Table) -> str:
    width = len(table.header)
    lines: Iterator[str] = (
        "<tr>"
        + "".join(_cell("th" if column == 0 else "td", cell, column in table.right) for column, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    title = f'<tr class="group"><th colspan="{width}"><span>{_text(heading)}</span></th></tr>' if heading else ""
    return f"<tbody>{title}{''.join(lines)}</tbody>"


def _cell(tag: str, cell: Cell, right: bool) -> str:
    first, *others = cell.lines or ((),)
    is_long = not right and sum(len(part if isinstance(part, str) else part.text) for part in first) > LONG_CELL
    kinds = " ".join(kind for kind in ("right" if right else "", "text" if is_long else "", cell.tone) if kind)
    attributes = f' class="{kinds}"' if kinds else ""
    if cell.share is not None:
        attributes += f' style="--share:{cell.share:.3f}" data-heat'
    words = _line(first)
    if tag == "th" and "<" not in words:
        words = _breakable(words)
    return f"<{tag}{attributes}>{words}" + "".join(f"<small>{_line(one)}</small>" for one in others) + f"</{tag}>"


def _breakable(words: str) -> str:
    """A long name of dotted words, such as a subtype, may break where one of them ends."""
    return re.sub(r"(?<=[a-z])([._])(?=[a-z0-9])", r"\1<wbr>", words)


def _figure(figure: Figure) -> str:
    from urbanvlm.report.plots import svg_of

    name = _attribute(figure.alt)
    pictures = [("plot wide" if figure.draw_narrow else "plot", svg_of(figure.draw()))]
    if figure.draw_narrow:
        pictures.append(("plot narrow", svg_of(figure.draw_narrow())))
    return "".join(
        f'<figure class="{kind}" role="img" aria-label="{name}" tabindex="0">{svg}</figure>\n' for kind, svg in pictures
    )


def _gallery(gallery: Gallery) -> str:
    # Inside <script> only this sequence ends the text, and HTML has no escape for it; JSON has one.
    data = re.sub(r"[<>&\u2028\u2029]", lambda match: f"\\u{ord(match.group()):04x}", gallery.data)
    selects = "".join(
        f'<label>{label} <select id="gallery-{name}"></select></label>'
        for name, label in (("subtype", "Subtype"), ("model", "Model"), ("phase", "Phase"), ("kind", "Answer"))
    )
    return f"""<div class="gallery" id="gallery">
<form class="filters" role="search">{selects}
<label class="find">Text <input type="search" id="gallery-text" placeholder="in question or answer" autocomplete="off">
</label><button type="reset">Clear</button></form>
<p id="gallery-count" role="status" aria-live="polite">The gallery needs JavaScript.</p>
<div id="gallery-cards" class="cards"></div>
<button type="button" id="gallery-more" hidden>Show more</button>
</div>
<script type="application/json" id="gallery-data">{data}</script>
"""
