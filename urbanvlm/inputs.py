"""Everything an experiment names, checked before a job starts: families, subtypes, prompts, files, pictures."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from urbanvlm.dataset.images import check_images
from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, Scenes
from urbanvlm.models.registry import check_model
from urbanvlm.run_folder import RunFolder


def check_inputs(experiment: Experiment, where: object) -> None:
    """Raises UserError for the first thing that a job would stumble over."""
    for index, model in enumerate(experiment.models):
        check_model(model, f"{where}: models.{index}")
    if experiment.evaluate.prompts is not None:
        load_prompts(Path(experiment.evaluate.prompts))
    if experiment.data.scenes is not None:
        _check_scenes(experiment.data.scenes, where)
    else:
        _check_files(experiment)
    _check_writable(Path(experiment.output).absolute(), where)


def _check_scenes(scenes: Scenes, where: object) -> None:
    from urbanvlm.dataset.build import split_sizes

    split_sizes(scenes)
    for name in scenes.subtypes or ():
        if name not in SUBTYPES or not SUBTYPES[name].generates:
            generated = [s.name for s in SUBTYPES.values() if s.generates]
            raise UserError(f"{where}: data.scenes.subtypes", f"unknown subtype {name!r}", suggest(name, generated))


def _check_files(experiment: Experiment) -> None:
    run = RunFolder.of(experiment)
    raise NotImplementedError(run)


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
