"""What a disk refuses, whoever was writing, as one line: which folder, what is missing, what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from urbanvlm.errors import UserError

LITTLE_BYTES = 32 * 2**20
"""With less than this a disk is full, to whoever was writing a checkpoint."""

AGAIN = "the same command then goes on from what is saved"
REFUSALS = {
    errno.ENOSPC: ("no space left on device", f"make room there; {AGAIN}"),
    errno.EDQUOT: ("disk quota exceeded", f"make room there, or ask for a larger quota; {AGAIN}"),
    errno.EROFS: ("read-only file system", f"have it mounted for writing; {AGAIN}"),
    errno.EIO: ("input/output error", f"ask whoever looks after that disk; {AGAIN}"),
}
"""errno -> (the system's words for it, which libraries pass on, what to do)"""
LIBRARIES_SAY = re.compile(r"file write failed|unexpected pos \d+ vs|failed writing file", re.IGNORECASE)
"""torch when it could not write, whatever the reason was"""


def mistake_of(error: BaseException, *folders: Path) -> UserError | None:
    """The line about an exception that a disk caused; None of any other. `folders` are where may have been written.

    Some libraries say only that they could not write: it is the disk's doing where one of the folders is full.
    """
    for one in _chain(error):
        number = _number(one)
        full = next((folder for folder in folders if _missing(folder)), None)
        if number is None and full is not None and LIBRARIES_SAY.search(str(one)):
            number = errno.ENOSPC
        if number is None:
            continue
        file = _file(one)
        # Without a file's name it is the disk that shows what was complained of; else nobody can know which.
        folder = file.parent if file is not None else full if number == errno.ENOSPC and full is not None else None
        words, step = REFUSALS[number]
        if folder is not None:
            missing = _missing(folder) if number == errno.ENOSPC else ""
            return UserError(folder, f"cannot be written: {words}{missing and f' ({missing})'}", step)
        where = " or ".join(map(str, folders)) or "a file"
        return UserError(where, f"cannot be read or written: {words}", step)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it came of."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        yield one
        seen.append(one)
        one = one.__cause__ or one.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return error.errno
    said = str(error).lower()
    return next((number for number, (words, _) in REFUSALS.items() if words in said), None)


def _file(error: BaseException) -> Path | None:
    """What was being written, if the exception says so."""
    if isinstance(error, shutil.Error):
        return Path(error.args[0][0][1])
    name = error.filename if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)) if isinstance(name, (str, bytes)) else None


def _missing(folder: Path) -> str:
    """What the disk of a folder is short of; empty if nothing."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    if disk.f_files and not disk.f_favail:
        return "no more files, though there is room"
    free = disk.f_bavail * disk.f_frsize
    return f"{free / 2**20:.1f} MB are free" if free < LITTLE_BYTES else ""
