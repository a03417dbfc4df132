"""The one exception that stands for a user's mistake, with the hint it may give."""

import difflib
from collections.abc import Iterable


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
    close = difflib.get_close_matches(str(wrong), names, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
