"""What a report says, as values: sections of text, tables and figures, which become Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Tone = Literal["", "good", "bad", "warn", "muted"]


# ---- inside a line --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that stand out."""

    text: str


@dataclass(frozen=True, slots=True)
class Emphasis:
    """Words in another voice, such as a quoted question."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A name or a command, letter by letter."""

    text: str


@dataclass(frozen=True, slots=True)
class Toned:
    """Words with a meaning that a colour repeats; the words must say it without the colour as well."""

    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Link:
    """A way to a file beside the page, or to one of its sections."""

    text: str
    target: str
    """relative to the folder of the page, or `#` and the id of a section"""


Inline: TypeAlias = str | Strong | Emphasis | Code | Toned | Link
Line: TypeAlias = tuple[Inline, ...]


def line(*parts: Inline) -> Line:
    return parts


# ---- tables ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: a first line, and others below it that are set smaller."""

    lines: tuple[Line, ...]
    tone: Tone = ""
    share: float | None = None
    """0..1: shades the cell"""

    @classmethod
    def of(cls, *lines: Inline | Line, tone: Tone = "", share: float | None = None) -> Cell:
        return cls(tuple(one if isinstance(one, tuple) else (one,) for one in lines), tone, share)


NOTHING = Cell.of("–", tone="muted")


@dataclass(frozen=True, slots=True)
class Table:
    """`groups` are runs of rows with a heading each; an empty heading is none."""

    header: tuple[Cell, ...]
    groups: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
    right: frozenset[int] = frozenset()
    """columns of numbers"""
    compact: bool = False
    ends_in_sight: bool = False
    """does the last column stay in sight on a screen that is too narrow for all?"""

    @classmethod
    def of(
        cls,
        header: Sequence[Inline | Cell],
        rows: Sequence[Sequence[Inline | Cell]],
        right: Sequence[int] | range = (),
        *,
        compact: bool = False,
        ends_in_sight: bool = False,
    ) -> Table:
        return cls.grouped(header, [("", rows)], right, compact=compact, ends_in_sight=ends_in_sight)

    @classmethod
    def grouped(
        cls,
        header: Sequence[Inline | Cell],
        groups: Sequence[tuple[str, Sequence[Sequence[Inline | Cell]]]],
        right: Sequence[int] | range = (),
        *,
        compact: bool = False,
        ends_in_sight: bool = False,
    ) -> Table:
        return cls(
            tuple(_cell(one) for one in header),
            tuple((heading, tuple(tuple(_cell(one) for one in row) for row in rows)) for heading, rows in groups),
            frozenset(right),
            compact,
            ends_in_sight,
        )


def _cell(content: Inline | Cell) -> Cell:
    return content if isinstance(content, Cell) else Cell.of(content)


# ---- blocks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A line of text."""

    line: Line
    tone: Tone = ""

    @classmethod
    def of(cls, *parts: Inline, tone: Tone = "") -> Paragraph:
        return cls(parts, tone)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a reader must not overlook."""

    line: Line

    @classmethod
    def of(cls, *parts: Inline) -> Notice:
        return cls(parts)


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list in no order."""

    items: tuple[Line, ...]

    @classmethod
    def of(cls, *items: Inline | Line) -> Bullets:
        return cls(tuple(item if isinstance(item, tuple) else (item,) for item in items))


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot: for a wide page, and where that is too wide for a phone, one drawn anew."""

    name: str
    """of its file, without extension"""
    alt: str
    draw: Callable[[], Drawing]
    draw_narrow: Callable[[], Drawing] | None = None


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Text as it is, with its lines."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """A few figures that a page opens with: (what, value, note)."""

    items: tuple[tuple[str, Line, Line], ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """What is shown when asked for."""

    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Panels:
    """Of several alike, the one that the reader chooses."""

    name: str
    """what is chosen, such as `model`"""
    choices: tuple[tuple[str, tuple[Block, ...]], ...]
    chosen: int = 0


@dataclass(frozen=True, slots=True)
class Subsection:
    """A part of a section, with a heading of its own."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class OnlyMarkdown:
    """What the HTML page shows in another way."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class OnlyPage:
    """What Markdown cannot show, or shows in another way."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Cards that the page's script shows and filters; `data` is JSON that it reads (`page/script.js`)."""

    data: str


Block: TypeAlias = (
    Paragraph
    | Notice
    | Bullets
    | Table
    | Figure
    | CodeBlock
    | Facts
    | Fold
    | Panels
    | Subsection
    | OnlyMarkdown
    | OnlyPage
    | Gallery
)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report that a reader can jump to."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def id(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower()).strip("-")


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    opening: tuple[Block, ...]
    sections: tuple[Section, ...] = field(default=())
