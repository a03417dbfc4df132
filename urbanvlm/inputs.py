"""Everything an experiment names, checked before a job starts: families, subtypes, prompts, files, pictures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import SUBTYPES, suggest_subtype
from urbanvlm.errors import UserError, missing_file
from urbanvlm.evaluate.asked import with_gold
from urbanvlm.evaluate.unseen import shuffled_images
from urbanvlm.experiment import Experiment, Scenes
from urbanvlm.models.adapters import chain_of
from urbanvlm.models.registry import check_folder, check_model, is_hub_name
from urbanvlm.run_folder import resolve_folder

RATIONALE_TOKENS = 64
"""a chain of thought shorter than this hardly reaches its answer"""


def check_inputs(experiment: Experiment, where: object) -> list[str]:
    """Raises UserError for the first thing that a job would stumble over; returns what one should know before."""
    remarks = []
    for index, model in enumerate(experiment.models):
        try:
            remark = check_model(model)
        except UserError as error:
            raise UserError(f"{where}: models.{index}", str(error)) from None
        remarks += [remark] if remark else []
    if experiment.data.chain_of_thought and experiment.evaluate.max_new_tokens < RATIONALE_TOKENS:
        remarks.append(f"evaluate.max_new_tokens={experiment.evaluate.max_new_tokens} cuts most rationales short")
    load_prompts(Path(experiment.evaluate.prompts) if experiment.evaluate.prompts is not None else None)
    if experiment.data.scenes is not None:
        _check_scenes(experiment.data.scenes, where)
    else:
        remarks += _check_files(experiment)
    _check_writable(Path(experiment.output).absolute(), where)
    return remarks


def check_fetched(experiment: Experiment, where: object, job_variables: Mapping[str, str]) -> None:
    """Raise UserError for the first checkpoint of the hub that is not, or not whole, here: jobs download nothing.

    `job_variables` are set for the jobs beside this process's own.
    """
    from urbanvlm.models.hub import CACHE_VARIABLES, cache_folder, snapshot_of

    cache = cache_folder({**os.environ, **job_variables})
    for index, model in enumerate(experiment.models):
        name, revision = chain_of(model.checkpoint, model.revision)[-1]
        if not is_hub_name(name):
            continue
        folder = snapshot_of(name, revision, cache)
        if folder is None:
            at = f" at {revision}" if revision is not None else ""
            words = [f"{name}={value}" for name, value in job_variables.items() if name in CACHE_VARIABLES]
            words += ["make", "fetch", f"MODEL={name}"]
            words += [f"REVISION={revision}"] if revision is not None else []
            raise UserError(
                f"{where}: models.{index}",
                f"checkpoint {name!r}{at} is not, or not all of it, in {cache}, and jobs download nothing",
                f"on a machine with a network: {shlex.join(words)}",
            )
        try:
            check_folder(folder, model.model_copy(update={"checkpoint": name}))
        except UserError as error:
            raise UserError(f"{where}: models.{index}", str(error)) from None


def _check_scenes(scenes: Scenes, where: object) -> None:
    from urbanvlm.dataset.build import split_sizes

    split_sizes(scenes.places, scenes.validation_share, scenes.test_share, "data.scenes.places")
    for key, names in (("subtypes", scenes.subtypes or ()), ("weights", scenes.weights)):
        for name in names:
            if name not in SUBTYPES:
                raise UserError(f"{where}: data.scenes.{key}", f"unknown subtype {name!r}", suggest_subtype(name))


def _check_files(experiment: Experiment) -> list[str]:
    from urbanvlm.dataset.gate import check_splits  # numpy, which a plan of scenes does not need

    data = experiment.data
    assert data.images is not None and data.test_file is not None
    images = resolve_folder(data.images)
    if not images.is_dir():
        raise UserError(images, missing_file(images, "no such folder"), "set data.images to the folder of the pictures")
    remarks = check_splits(experiment, _splits(experiment), images)
    if any("shuffled" in experiment.images_of(model) for model in experiment.models):
        usable, _ = with_gold(read_examples(Path(data.test_file), data.allow), experiment)
        shuffled_images(usable[: experiment.evaluate.max_examples], experiment.seed)
    return remarks


def _splits(experiment: Experiment) -> dict[str, Path]:
    data = experiment.data
    files = {"train": data.train_file, "val": data.val_file, "test": data.test_file}
    return {split: Path(file) for split, file in files.items() if file is not None}


def _check_writable(output: Path, where: object) -> None:
    """The nearest folder that exists must let us write; nothing is made here, so that `plan` touches nothing."""
    existing = next(folder for folder in (output, *output.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{where}: output", f"{existing} is not a folder that can be written", "choose another folder")
