"""`python -m urbanvlm fetch`: checkpoints of the Hugging Face hub onto this machine, because jobs download nothing."""

from __future__ import annotations

import argparse
import errno
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from urbanvlm.errors import UserError
from urbanvlm.models.adapters import CONFIG, chain_of
from urbanvlm.models.hub import INDEX, SHARDS, SINGLE, cache_folder, patterns, snapshot_of
from urbanvlm.models.registry import FAMILIES, is_hub_name
from urbanvlm.records import write_atomic
from urbanvlm.sweep import load_sweep

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

COMMIT = re.compile(r"[0-9a-f]{40}")
ABANDONED_SECONDS = 600
"""a part of a file that nobody has written to for so long is of a download that was killed"""
CHECKED = ".urbanvlm-checked"
"""folder in a repository's folder of the cache: for each commit a file with the names of the files that were checked"""
AGAIN = "the same command goes on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Download what is loaded of a checkpoint into the Hugging Face cache, check it, and say how to pin it. Files "
        "that are here already are not downloaded again."
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="name on the hub, such as llava-hf/llava-1.5-7b-hf")
    parser.add_argument("--revision", help="commit, branch or tag; the main branch if not given")
    parser.add_argument("--experiment", type=Path, metavar="YAML", help="instead of MODEL: all that it names")
    parser.set_defaults(command=fetch)


def fetch(options: argparse.Namespace) -> int:
    """Exit code 0 when all is here and as the hub has it. Raises UserError."""
    if (options.model is None) == (options.experiment is None):
        raise UserError("fetch", "takes either a model or an experiment", "make fetch MODEL=org/name, or EXP=file.yaml")
    if options.model is not None:
        wanted = [(options.model, options.revision)]
    elif options.revision is not None:
        raise UserError("REVISION", "is for MODEL; an experiment names its revisions itself", "leave it out")
    else:
        wanted = _named_in(options.experiment)
        if not wanted:
            print(f"{options.experiment} names no checkpoint of the hub: there is nothing to fetch")
    for name, revision in wanted:
        _show(name, fetch_checkpoint(name, revision), pinned=bool(revision and COMMIT.fullmatch(revision)))
    return 0


def _named_in(experiment: Path) -> list[tuple[str, str | None]]:
    points = load_sweep(experiment).points
    models = dict.fromkeys(chain_of(m.checkpoint, m.revision)[-1] for point in points for m in point.experiment.models)
    return [(name, revision) for name, revision in models if is_hub_name(name)]


@dataclass(frozen=True)
class Fetched:
    """A checkpoint that is here, whole and as the hub has it."""

    folder: Path
    files: int
    size: int
    """bytes"""
    new: int
    """bytes that had to be downloaded"""
    family: str

    @property
    def commit(self) -> str:
        return self.folder.name


def fetch_checkpoint(name: str, revision: str | None) -> Fetched:
    """Bring a checkpoint here. Raises UserError with one line for whatever hinders it.

    The hub is not asked where a commit is named that is here and checked.
    """
    if not is_hub_name(name):
        what = "is a folder here, and needs no download" if Path(name).is_dir() else "is no name on the hub"
        raise UserError(f"MODEL {name!r}", what, "names are like llava-hf/llava-1.5-7b-hf")
    cache = cache_folder()
    if revision and COMMIT.fullmatch(revision) and (folder := snapshot_of(name, revision, cache)):
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        if _is_read(files) <= _checked(folder):
            return Fetched(folder, len(files), _size(files.values()), 0, _family(name, folder / "config.json"))
    with _plain_errors(name, revision), _quiet():
        return _download(name, revision, cache)


def _download(name: str, revision: str | None, cache: Path) -> Fetched:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    info = HfApi().model_info(name, revision=revision, files_metadata=True)
    has = {file.rfilename: file for file in info.siblings or ()}
    wanted = {file: has[file] for file in sorted(_is_read(has))}
    _check_kind(name, has)
    config = Path(hf_hub_download(name, "config.json", revision=info.sha, cache_dir=cache))
    folder, family = config.parent, _family(name, config)
    _remove_abandoned(folder)
    new = sum(file.size or 0 for file in wanted.values() if not (folder / file.rfilename).exists())
    _check_room(name, new, folder)
    if new:
        print(f"{name}: downloading {_bytes(new)}", file=sys.stderr)
    # By the revision's own name, so that the cache knows what a branch stood for, which jobs cannot ask.
    found = snapshot_download(
        name, revision=revision, cache_dir=cache, allow_patterns=[glob.escape(file) for file in wanted]
    )
    if Path(found).name != info.sha:
        raise UserError(name, "was changed on the hub meanwhile", AGAIN)
    _check_files(name, folder, wanted)
    return Fetched(folder, len(wanted), sum(file.size or 0 for file in wanted.values()), new, family)


def _is_read(files: Any) -> set[str]:
    """Those of a repository's files that loading reads."""
    wanted = patterns(SINGLE in files)
    return {file for file in files if any(fnmatchcase(file, pattern) for pattern in wanted)}


def _check_kind(name: str, files: Any) -> None:
    if CONFIG in files and "config.json" not in files:
        step = f"download it to a folder (hf download {name} --local-dir FOLDER) and name that as a checkpoint"
        raise UserError(name, "holds adapters alone, which are loaded from a folder", step)
    if "config.json" not in files:
        raise UserError(name, "has no config.json, so it is no model of transformers", "choose another MODEL")
    if SINGLE in files or (INDEX in files and any(fnmatchcase(file, SHARDS) for file in files)):
        return
    what = "has no weights as safetensors"
    if any(file.endswith((".bin", ".pt", ".pth", ".ckpt")) for file in files):
        what += ", only pickles, which may run whatever they hold when they are loaded"
    raise UserError(name, what, "choose a REVISION or a MODEL with safetensors")


def _family(name: str, config: Path) -> str:
    model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    for family, entry in FAMILIES.items():
        if entry.model_type == model_type:
            return family
    known = ", ".join(entry.model_type for entry in FAMILIES.values())
    raise UserError(name, f"is a {model_type} model, which no family loads", f"choose one of type {known}")


def _check_room(name: str, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            name,
            f"needs {_bytes(needed)}, and {cache_folder()} has {_bytes(free)} left",
            "make room, or set HF_HOME to a folder on a larger disk, here and for the jobs",
        )


def _remove_abandoned(folder: Path) -> None:
    """What a killed download leaves is of no use to the next: it begins such a file again."""
    for part in (folder.parent.parent / "blobs").glob("*.incomplete"):
        try:
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()
        except FileNotFoundError:
            continue


# ---- is it what the hub has? ----------------------------------------------------------------------------------------


def _check_files(name: str, folder: Path, files: dict[str, RepoSibling]) -> None:
    """Compare with the hub's hashes what has not been compared yet; downloads alone compare sizes."""
    done = _checked(folder)
    for file in sorted(set(files) - done):
        path, entry = folder / file, files[file]
        right = entry.lfs.sha256 if entry.lfs is not None else entry.blob_id
        if right is not None and _hash(path, git=entry.lfs is None) != right:
            # Both, or the next download would find it.
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise UserError(f"{name}: {file}", "did not come as the hub has it, and was removed", AGAIN)
    if set(files) - done:
        try:
            record = _record(folder)
            record.parent.mkdir(exist_ok=True)
            write_atomic(record, "".join(f"{file}\n" for file in sorted(done | set(files))))
        except OSError:
            # A cache that others look after: then all is compared each time.
            return


def _hash(path: Path, *, git: bool) -> str:
    """Of large files the hub has the SHA-256, of others git's own hash."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode()) if git else hashlib.sha256()  # noqa: S324 - git's
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _checked(folder: Path) -> set[str]:
    try:
        return set(_record(folder).read_text(encoding="utf-8").splitlines())
    except OSError:
        return set()


def _record(folder: Path) -> Path:
    return folder.parent.parent / CHECKED / folder.name


# ---- words ----------------------------------------------------------------------------------------------------------


def _show(name: str, fetched: Fetched, pinned: bool) -> None:
    here = f"{fetched.files} files, {_bytes(fetched.size)}"
    came = f"{_bytes(fetched.new)} of them new" if fetched.new else "all here already"
    print(f"{name}: {here}, {came}", f"folder  {fetched.folder}", f"commit  {fetched.commit}", sep="\n")
    if not pinned:
        print("pin it in the experiment, so that a later download does not change the result:")
        print(f"models:\n  - family: {fetched.family}\n    checkpoint: {name}\n    revision: {fetched.commit}")


def _size(files: Any) -> int:
    return sum(file.stat().st_size for file in files)


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


@contextmanager
def _quiet() -> Iterator[None]:
    """The hub's library speaks only by its progress bars, and those are for terminals. Ctrl-C ends at once."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bars()

    def leave(number: int, frame: FrameType | None) -> None:
        # An exception would wait for every thread's download.
        print(f"\nstopped; files that are whole stay, {AGAIN}", file=sys.stderr, flush=True)
        os._exit(130)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _plain_errors(name: str, revision: str | None) -> Iterator[None]:
    """What the hub's library raises, as the user's error. No address is told: a redirected one may hold a signature."""
    import httpx2
    from huggingface_hub import constants, errors, get_token

    try:
        yield
    except UserError:
        raise
    except errors.OfflineModeIsEnabled:
        raise _offline(name) from None
    except errors.GatedRepoError:
        page = f"{constants.ENDPOINT}/{name}"
        what = "is gated, and your token has no access" if get_token() else "is gated, and no token is here"
        raise UserError(name, what, f"ask for access at {page}, then log in: hf auth login") from None
    except errors.RepositoryNotFoundError:
        what = "is not on the hub, or private" + ("" if get_token() else " and no token is here")
        raise UserError(name, what, "mend the name, or log in: hf auth login") from None
    except errors.RevisionNotFoundError:
        raise UserError(name, f"has no revision {revision!r}", "REVISION takes a commit, a branch or a tag") from None
    except errors.HFValidationError:
        raise UserError(f"MODEL {name!r}", "is no name on the hub", "names are like llava-hf/llava-1.5-7b-hf") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise UserError(name, f"the hub refuses your token ({status})", "log in again: hf auth login") from None
        raise UserError(name, f"the hub answers {status}", f"wait a little; {AGAIN}") from None
    except (httpx2.HTTPError, errors.XetDownloadError) as error:
        raise UserError(name, f"no connection to the hub ({_reason(error)})", _where_to(constants.ENDPOINT)) from None
    except errors.LocalEntryNotFoundError as error:
        # The connection broke after the first answer.
        if isinstance(error.__cause__, errors.OfflineModeIsEnabled):
            raise _offline(name) from None
        reason = _reason(error.__cause__ or error)
        raise UserError(name, f"no connection to the hub ({reason})", _where_to(constants.ENDPOINT)) from None
    except json.JSONDecodeError:
        what = f"{constants.ENDPOINT} does not answer as the hub does"
        raise UserError(name, what, "log in to the network, or mend HF_ENDPOINT") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(name, f"no room left in {cache_folder()}", f"make room; {AGAIN}") from None
        if error.errno is None:
            raise UserError(name, f"the download is not whole ({_reason(error)})", AGAIN) from None
        what = f"{error.filename or cache_folder()} cannot be used ({error.strerror})"
        raise UserError(name, what, "set HF_HOME to a folder of your own, here and for the jobs") from None


def _offline(name: str) -> UserError:
    return UserError(name, "HF_HUB_OFFLINE is set, so nothing is downloaded", "HF_HUB_OFFLINE=0 make fetch …")


def _where_to(endpoint: str) -> str:
    return f"fetch on a machine that reaches {endpoint}, such as a login node; {AGAIN} there"


def _reason(error: BaseException) -> str:
    """The first line, if it names no address."""
    words: Sequence[str] = str(error).strip().split("\n")[:1]
    return words[0] if words and words[0] and "://" not in words[0] else type(error).__name__
