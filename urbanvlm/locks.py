"""Which packages the code wants, by the hash of its locks, and which ones the container image around us holds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from urbanvlm.checkout import ROOT
from urbanvlm.errors import UserError

FLAVOURS = ("cpu", "cuda")
"""builds of torch"""
LOCKS_FILE = "locks.json"
"""of a code snapshot, which has the locks' hashes and not the locks"""
IMAGE_VARIABLE = "URBANVLM_IMAGE"
"""set by our container images alone: the file that says what is in them"""
IMAGE_FACTS = ("version", "commit", "flavour", "lock", "base")


def lock_files(containers: Path, flavour: str) -> tuple[Path, Path]:
    """The locks of a flavour, in the order that their hash takes them in."""
    return containers / "requirements.lock", containers / f"torch-{flavour}.lock"


def lock_hash(containers: Path, flavour: str) -> str:
    """12 hex digits: `cat requirements.lock torch-<flavour>.lock | sha256sum | cut -c1-12`. Raises UserError."""
    try:
        content = b"".join(file.read_bytes() for file in lock_files(containers, flavour))
    except OSError as error:
        raise UserError(error.filename, f"cannot be read ({error.strerror})", "bring it back: git checkout") from None
    return sha256(content).hexdigest()[:12]


def has_lock_files(root: Path = ROOT) -> bool:
    """Is this a checkout? In site-packages, `containers` would be somebody else's package."""
    return lock_files(root / "containers", FLAVOURS[0])[0].is_file()


def known_locks(root: Path = ROOT) -> dict[str, str]:
    """Flavour -> hash of the locks that the code in `root` wants; empty where it came without, as a package does.

    From the locks of a checkout, else from the file that a snapshot carries. Raises UserError if those are broken.
    """
    if has_lock_files(root):
        return {flavour: lock_hash(root / "containers", flavour) for flavour in FLAVOURS}
    file = root / LOCKS_FILE
    if not file.is_file():
        return {}
    again = "submit again, for a new snapshot of the code"
    found = _object(file, again)
    if found and set(found) != set(FLAVOURS):
        raise UserError(file, f"names {', '.join(found)}, where it should name {', '.join(FLAVOURS)}", again)
    return found


def code_locks(root: Path = ROOT) -> dict[str, str]:
    """`known_locks`, for whom nothing can be done without them. Raises UserError."""
    if not (found := known_locks(root)):
        raise UserError(
            f"urbanvlm in {root}", "came without its locks, by which a container image is chosen", "use a git checkout"
        )
    return found


def image_facts(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """What the container image around us says of itself, by IMAGE_FACTS; None outside of ours. Raises UserError."""
    name = environment.get(IMAGE_VARIABLE)
    if not name:
        return None
    facts = _object(Path(name), "build the container image again: make image")
    for key in IMAGE_FACTS:
        if not facts.get(key):
            raise UserError(name, f"does not say the container image's {key}", "build it again: make image")
    if facts["flavour"] not in FLAVOURS:
        raise UserError(name, f"names the flavour {facts['flavour']!r}", f"known: {', '.join(FLAVOURS)}")
    return facts


def check_image() -> None:
    """Inside one of our container images: raise UserError if its packages are not those that the code wants."""
    facts = image_facts()
    if facts is not None:
        check_lock(facts["lock"], facts["flavour"])


def check_lock(lock: str, flavour: str, where: object = "the container image", root: Path = ROOT) -> None:
    """Raise UserError unless a container image of that lock and flavour holds what the code wants."""
    wanted = code_locks(root)[flavour]
    if lock != wanted:
        raise UserError(
            where,
            f"holds the packages of lock {lock}, but this code wants those of {wanted}",
            f"make image TORCH={flavour} builds that one",
        )


def _object(file: Path, next_step: str) -> dict[str, str]:
    """A JSON object of text. Raises UserError."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(file, f"cannot be read ({error.strerror})", next_step) from None
    except ValueError as error:
        raise UserError(file, f"is not JSON ({error})", next_step) from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(file, "is not an object of texts", next_step)
    return found
