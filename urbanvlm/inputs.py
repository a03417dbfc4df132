"""Everything an experiment names, checked before a job starts: families, subtypes, prompts, files, pictures."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from urbanvlm.dataset.images import check_images
from urbanvlm.dataset.prompts import Prompts, load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.evaluate.asked import with_gold
from urbanvlm.experiment import Experiment, Scenes
from urbanvlm.models.registry import check_family
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder, fingerprint, resolve_folder


def check_inputs(experiment: Experiment, where: object) -> list[str]:
    """Raises UserError for the first thing that a job would stumble over; returns what one should know before."""
    remarks: list[str] = []
    for model in experiment.models:
        check_family(model.family)
    prompts = load_prompts(Path(experiment.evaluate.prompts) if experiment.evaluate.prompts is not None else None)
    if experiment.data.scenes is not None:
        _check_scenes(experiment.data.scenes, where)
    else:
        remarks = _check_files(experiment, prompts)
    _check_writable(Path(experiment.output).absolute(), where)
    return remarks


def _check_scenes(scenes: Scenes, where: object) -> None:
    from urbanvlm.dataset.build import split_sizes

    split_sizes(scenes)
    for name in scenes.subtypes or ():
        if name not in SUBTYPES or not SUBTYPES[name].generates:
            generated = [s.name for s in SUBTYPES.values() if s.generates]
            raise UserError(f"{where}: data.scenes.subtypes", f"unknown subtype {name!r}", suggest(name, generated))


def _check_files(experiment: Experiment, prompts: Prompts) -> list[str]:
    data = experiment.data
    assert data.images is not None and data.test_file is not None
    images = resolve_folder(data.images)
    if not images.is_dir():
        raise UserError(images, "no such folder", "set data.images to the folder of the pictures")
    rows = {file: read_examples(file) for file in _files(experiment)}
    for examples in rows.values():
        check_images(examples, images)
    for learnt in (data.train_file, data.val_file) if experiment.mode == "fine-tune" else ():
        for example in rows[Path(learnt)] if learnt is not None else ():
            prompts.target(example, data.chain_of_thought)
    usable, refused = with_gold(rows[Path(data.test_file)])
    if not usable:
        raise UserError(data.test_file, "has no row whose answer fits its subtype", f"first: {refused[0]}")
    words = f"{len(refused)} row{'s' if len(refused) > 1 else ''}"
    return [f"{data.test_file}: {words} will not be asked, first: {refused[0]}"] if refused else []


def _files(experiment: Experiment) -> list[Path]:
    data = experiment.data
    return [Path(file) for file in (data.train_file, data.val_file, data.test_file) if file is not None]


def check_same_inputs(experiment: Experiment, run: RunFolder) -> None:
    """A run goes on only with the files it began with; the first call writes down which those are.

    Raises UserError naming the file that is another one now.
    """
    prompts = [Path(experiment.evaluate.prompts)] if experiment.evaluate.prompts is not None else []
    now = {str(file): fingerprint(file) for file in [*_files(experiment), *prompts]}
    if not run.inputs_file.is_file():
        write_atomic(run.inputs_file, json.dumps(now, indent=1) + "\n")
        return
    before = json.loads(run.inputs_file.read_text(encoding="utf-8"))
    for file, digest in now.items():
        if before.get(file) != digest:
            raise UserError(
                file, f"is not the file that {run.id} began with", "change the experiment's name to begin a new run"
            )


def _check_writable(output: Path, where: object) -> None:
    """The nearest folder that exists must let us write; nothing is made here, so that `plan` touches nothing."""
    existing = next(folder for folder in (output, *output.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{where}: output", f"{existing} is not a folder that can be written", "choose another folder")


def suggest(wrong: str, known: Iterable[str]) -> str:
    """`did you mean …?`, or the list of what is known."""
    names = list(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
