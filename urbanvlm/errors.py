"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """Something the user can mend. `str()` is one line that says where, what and what to do next.

    Command lines print that line to stderr and exit with code 2, without a traceback;
    any other exception is a bug, keeps its traceback and exits with code 1.
    """

    def __init__(self, where: object, what: str, next_step: str = "") -> None:
        line = f"{where}: {what}" + (f"; {next_step}" if next_step else "")
        super().__init__(" ".join(line.split()))
