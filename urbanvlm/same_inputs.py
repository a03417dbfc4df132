"""What a run began with: every file that its experiment names, noted at its first submission and compared ever after.

inputs.json is {name: note, folder: {file inside: note}}, a note `<sha256> <bytes> <mtime in ns>`. A file of the noted
size and time is taken for the noted one, any other is read. Older runs noted a digest alone, of a folder that of the
names and sizes of its files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from urbanvlm.dataset.images import Listings, resolve_image
from urbanvlm.dataset.prompts import SHIPPED
from urbanvlm.dataset.read import read_examples
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment
from urbanvlm.models.adapters import chain_of
from urbanvlm.models.registry import TINY_PRESETS
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder, fingerprint, resolve_folder

THE_SHIPPED = "the shipped prompts"
WHOLE_BYTES = 8 * 2**20
BLOCK_BYTES, BLOCKS = 64 * 1024, 64
"""read of a picture or of weights larger than WHOLE_BYTES, evenly spread: no training leaves them as they were"""
RACE_NS = 2 * 10**9
"""a file changed so shortly before it was noted may change again within the same tick of the file system's clock"""
SHOWN = 3
GONE = " (gone)"

Note = str
Inputs = dict[str, "Note | dict[str, Note]"]
Seen = dict[str, os.stat_result]
"""Path -> what the file system told of it: for runs of a sweep that are looked at one after another, and no longer."""
_NOTE = re.compile(r"[0-9a-f]+(?: [0-9]+ -?[0-9]+)?")


def note_inputs(experiment: Experiment, run: RunFolder, seen: Seen | None = None) -> None:
    """Write down what the run begins with; of a run that has begun already, raise UserError if that has changed."""
    if run.inputs_file.is_file():
        check_same_inputs(experiment, run, seen)
    else:
        write_atomic(run.inputs_file, json.dumps(_inputs(experiment), indent=1) + "\n")


def check_same_inputs(experiment: Experiment, run: RunFolder, seen: Seen | None = None) -> None:
    """Raise UserError naming what is not what the run began with, and how to go on."""
    if changed := changed_inputs(experiment, run, seen=seen):
        raise refusal(run, experiment, changed)


def check_same_questions(experiment: Experiment, run: RunFolder) -> None:
    """The same for the question files alone: answers to other questions cannot be scored with these."""
    named = _question_files(experiment)
    changed = changed_inputs(experiment, run, folders=False)
    if questions := [name for name in changed if name.removesuffix(GONE) in named]:
        raise refusal(run, experiment, questions)


def refusal(run: RunFolder, experiment: Experiment, changed: Sequence[str]) -> UserError:
    """The same words for every command."""
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return UserError(
        ", ".join(changed[:SHOWN]) + more,
        f"is not what {run.id} began with, which stays as it is",
        f'bring the old one back, or begin another run with SET="name={experiment.name}-2"',
    )


def changed_inputs(
    experiment: Experiment, run: RunFolder, *, folders: bool = True, seen: Seen | None = None
) -> tuple[str, ...]:
    """Names of files that are not what the run began with; none of a run that has not begun.

    Without `folders` pictures and checkpoints are left out, which may be many thousands of files. What is in `seen` the
    file system is not asked again.
    """
    seen = {} if seen is None else seen
    try:
        noted = _read_noted(experiment, run)
        began_ns = run.inputs_file.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ()
    found: list[str] = []
    for name, path in _named(experiment, noted).items():
        note = noted.get(name, noted.get(_as_once(name), ""))
        if not path.is_dir() and not isinstance(note, dict):
            found += [name + how for how in _change(str(path), note, began_ns, seen)]
        elif folders:
            found += _changes_in(experiment, name, path, note, began_ns, seen)
    return tuple(found)


def _read_noted(experiment: Experiment, run: RunFolder) -> Inputs:
    """Raises UserError where the file is cut short or holds anything else."""
    try:
        noted = json.loads(run.inputs_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        noted = None
    if isinstance(noted, dict) and all(map(_is_note, noted.values())):
        return noted
    raise UserError(
        run.inputs_file,
        f"does not say what {run.id} began with: it is cut short, or was written by something else",
        f'bring the old one back, or begin another run with SET="name={experiment.name}-2"',
    )


def _is_note(value: object) -> bool:
    notes = value.values() if isinstance(value, dict) else (value,)
    return all(isinstance(note, str) and _NOTE.fullmatch(note) for note in notes)


def _as_once(name: str) -> str:
    """How runs noted a checkpoint's folder before they noted it as written: `ck` of `./ck` and `ck/`."""
    return str(Path(name))


def _changes_in(
    experiment: Experiment, name: str, folder: Path, note: Note | dict[str, Note], began_ns: int, seen: Seen
) -> Iterator[str]:
    if not folder.is_dir():
        yield name + GONE
    elif not isinstance(note, dict):
        if note != _names_and_sizes(experiment, name, folder):
            yield f"{name} (a file in it)"
    else:
        for file, one in note.items():
            yield from (f"{name}/{file}{how}" for how in _change(f"{folder}/{file}", one, began_ns, seen))
        if name != experiment.data.images:
            yield from (f"{name}/{file} (new)" for file in sorted(_files_of(folder) - note.keys()))


def _change(path: str, note: Note, began_ns: int, seen: Seen) -> Iterator[str]:
    """Nothing if a file is as noted; else what stands after its name where it is not just another one."""
    digest, _, facts = note.partition(" ")
    try:
        if not facts:
            same = fingerprint(Path(path)) == digest
        else:
            if path not in seen:
                seen[path] = os.stat(path)  # noqa: PTH116 — a Path for each of many thousands takes longer
            stat = seen[path]
            size, mtime_ns = map(int, facts.split())
            untouched = stat.st_mtime_ns == mtime_ns < began_ns - RACE_NS
            same = stat.st_size == size and (untouched or _digest(Path(path), size) == digest)
    except (FileNotFoundError, NotADirectoryError):
        yield GONE
    except OSError as error:
        yield f" ({error.strerror})"
    else:
        yield from () if same else ("",)


def _inputs(experiment: Experiment) -> Inputs:
    found: Inputs = {}
    for name, path in _named(experiment, {}).items():
        if name == experiment.data.images:
            found[name] = {file: _note(path / file) for file in sorted(_pictures(experiment, path))}
        elif path.is_dir():
            found[name] = {file: _note(path / file) for file in sorted(_files_of(path))}
        else:
            found[name] = _note(path)
    return found


def _named(experiment: Experiment, noted: Inputs) -> Mapping[str, Path]:
    """Files and folders of this machine that the experiment names; a checkpoint that is none may be the hub's."""
    data, prompts = experiment.data, experiment.evaluate.prompts
    found = {name: Path(name) for name in _question_files(experiment)}
    found[prompts or THE_SHIPPED] = Path(prompts) if prompts else SHIPPED
    if data.images is not None:
        found[data.images] = resolve_folder(data.images)
    models = [model for model in experiment.models if model.checkpoint not in TINY_PRESETS]
    checkpoints = {name for model in models for name, _ in chain_of(model.checkpoint, model.revision)}
    return found | {
        name: Path(name)
        for name in sorted(checkpoints)
        if Path(name).is_dir() or name in noted or _as_once(name) in noted
    }


def _question_files(experiment: Experiment) -> list[str]:
    data = experiment.data
    return [file for file in (data.train_file, data.val_file, data.test_file) if file is not None]


def _pictures(experiment: Experiment, images: Path) -> set[str]:
    """Of all questions, below the folder."""
    files, allow = _question_files(experiment), experiment.data.allow
    ids = {example.image_id for file in files for example in read_examples(Path(file), allow)}
    listings: Listings = {}
    return {str(resolve_image(images, name, listings).relative_to(images)) for name in ids}


def _files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _note(path: Path) -> Note:
    stat = path.stat()
    return f"{_noted_digest(path, stat.st_size, stat.st_mtime_ns)} {stat.st_size} {stat.st_mtime_ns}"


@cache
def _noted_digest(path: Path, size: int, mtime_ns: int) -> str:
    """Once for all runs of a sweep."""
    return _digest(path, size)


def _digest(path: Path, size: int) -> str:
    """sha256 of a file; of a large one that is not text, of its size and of blocks all over it."""
    if size <= WHOLE_BYTES or path.suffix in (".json", ".jsonl", ".yaml"):
        return fingerprint(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as source:
        for block in range(BLOCKS):
            source.seek((size - BLOCK_BYTES) * block // (BLOCKS - 1))
            digest.update(source.read(BLOCK_BYTES))
    return digest.hexdigest()


def _names_and_sizes(experiment: Experiment, name: str, folder: Path) -> str:
    """What older runs noted of a folder."""
    files = _pictures(experiment, folder) if name == experiment.data.images else _files_of(folder)
    listing = sorted((str(folder / file), (folder / file).stat().st_size) for file in files)
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
