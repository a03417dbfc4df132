"""A terminal or a log that cannot hold a sign of ours gets a plain one; files are UTF-8 whatever the terminal is."""

from __future__ import annotations

import codecs
import io
import os
import sys

PLAIN = {
    "✓": "+",
    "✗": "x",
    "×": "x",
    "−": "-",
    "–": "-",
    "—": "-",
    "‑": "-",
    "…": "...",
    "→": "->",
    "↓": "v",
    "↑": "^",
    "▸": ">",
    "▲": "^",
    "▼": "v",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "·": ".",
    "°": " deg",
    "²": "2",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "─": "-",
    "━": "-",
    "│": "|",
    "┃": "|",
    "┼": "+",
    "╇": "+",
    "•": "*",
    "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{THIN SPACE}": " ",
}
_HANDLER = "urbanvlm-plain"


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of codecs: our own signs have a plain form, other text is shown by its code."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    start, text = error.start, error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text), start + len(
        text
    )


def use_plain_signs() -> None:
    """Let standard output and standard error replace what their encoding lacks, where they would end in an error.

    UTF-8 lacks only half characters, which stand for bytes of file names that are not UTF-8.
    """
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        # Not what a test has put in their place, nor None, which a process without them has.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def drop_stdout() -> None:
    """Lead standard output nowhere, once it takes no more: Python flushes it again when it ends, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
