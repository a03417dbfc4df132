"""The one exception that stands for a user's mistake, with the hint it may give."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

MOST_CHARACTERS = 160
"""of a value in a message; what is longer fills the screen and hides what is wrong with it"""


class UserError(Exception):
    """Something the user can mend. `str()` is one line that says where, what and what to do next.

    Command lines print that line to stderr and exit with code 2, without a traceback;
    any other exception is a bug, keeps its traceback and exits with code 1.
    """

    def __init__(self, where: object, what: str, next_step: str = "") -> None:
        line = f"{where}: {what}" + (f"; {next_step}" if next_step else "")
        super().__init__(" ".join(line.split()))


def suggest(wrong: object, known: Iterable[str]) -> str:
    """`did you mean …?`, or the list of what is known: the next step of an unknown name."""
    names = list(known)
    close = closest(str(wrong), names)
    return f"did you mean {close}?" if close else f"known: {', '.join(names)}"


def closest(wrong: str, known: Iterable[str]) -> str:
    """The known name that is most like it, if any is."""
    return next(iter(difflib.get_close_matches(wrong, list(known), n=1)), "")


def missing_file(path: str | os.PathLike[str], what: str = "no such file") -> str:
    """What to say of a path that is not there; of a relative one also from where it was looked for."""
    return what if Path(path).is_absolute() else f"{what}, looked for from {Path.cwd()}"


def quoted(value: object) -> str:
    """The value as Python writes it, cut where it is long."""
    text = repr(value)
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}… ({len(text):,} characters)"
