"""A file that a command was told to write: what may not be written to, and writing it whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from urbanvlm.errors import UserError


def check_output(path: Path, read: Collection[str], option: str) -> None:
    """Raises UserError if it is one of the files read, or no file: a device would be replaced, and a pipe too."""
    if os.path.realpath(path) in read:
        raise UserError(path, "is read here as well", f"give {option} another file")
    with suppress(OSError):  # writing it says why it cannot be written
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise UserError(path, f"is {kind}", f"{option} takes a file")


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A file that is there whole or not at all; where a link leads to it, the link stays."""
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            path, f"cannot be written ({error.strerror})", "name a file in a folder that is there"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
