"""One shard of a model's predictions: a line per answer, resumable, without talking to any other process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from urbanvlm.dataset.images import open_image
from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.shards import batches, shard_of
from urbanvlm.errors import UserError
from urbanvlm.experiment import Model
from urbanvlm.progress import Progress
from urbanvlm.records import Example, Prediction, read_jsonl
from urbanvlm.run_folder import RunFolder, completion_facts, is_complete, mark_complete


def predict(run: RunFolder, model: Model, phase: str, shard: int, progress: Progress) -> None:
    """Answer the examples of one shard that have no answer yet, and mark the shard's file complete.

    Phase `before` takes the checkpoint's own weights, `after` those of the export. A shard's batches have a fixed
    composition, for in a batch an answer may depend on its neighbours' lengths by rounding: a batch with any answer
    missing is computed whole and only the missing answers are appended. So a shard that was killed and started again
    ends with the same bytes as one that was not.

    Raises UserError where the shard's file holds answers to other examples, to other prompts or of another model.
    """
    file = run.shard_file(model.label, phase, shard)
    if is_complete(file):
        return
    experiment = run.experiment
    settings = experiment.evaluate
    examples = shard_of(read_examples(run.split_file("test"))[: settings.examples], shard, settings.shards)
    own_prompts = settings.prompts
    prompts = load_prompts(Path(own_prompts) if own_prompts else None)
    asked = {e.id: prompts.render(e, experiment.data.chain_of_thought) for e in examples}
    model_id = _model_id(run, model, phase)

    file.parent.mkdir(parents=True, exist_ok=True)
    _drop_torn_line(file)
    answered = _answered(file, asked, model_id)
    progress.update(len(answered), total=len(asked), force=True)
    if len(answered) < len(asked):
        with file.open("a", encoding="utf-8") as out:
            _answer(run, model, phase, examples, asked, answered, model_id, out, progress)
    mark_complete(file, {"answers": len(asked), "model_id": model_id})


def _answer(
    run: RunFolder,
    model: Model,
    phase: str,
    examples: Sequence[Example],
    asked: Mapping[str, str],
    answered: set[str],
    model_id: str,
    out: IO[str],
    progress: Progress,
) -> None:
    """Append the missing answers in the shard's order."""
    # A shard that has nothing left to do, and a launcher that reads this module, need no torch.
    import torch

    from urbanvlm.models.registry import get_family
    from urbanvlm.runtime.determinism import configure_determinism

    experiment = run.experiment
    settings = experiment.evaluate
    configure_determinism(experiment.resources.cpus_per_process)
    family = get_family(model.family)
    if phase == "after":
        loaded = family.load(str(_export(run, model)), precision=model.precision)
    else:
        loaded = family.load(model.checkpoint, revision=model.revision, precision=model.precision, seed=experiment.seed)
    family.check_lengths(loaded, sorted(set(asked.values())), None, settings.max_new_tokens)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
    done = len(answered)
    for batch in batches(examples, settings.batch_size):
        missing = {e.id for e in batch} - answered
        if not missing:
            continue
        images = [open_image(run.images, e.image_id) for e in batch]
        inputs = family.encode_prompts(loaded, images, [asked[e.id] for e in batch])
        texts = family.generate(loaded, inputs, settings.max_new_tokens)
        for example, text in zip(batch, texts, strict=True):
            if example.id in missing:
                prediction = Prediction(example.id, text, model_id, prompt_hash(asked[example.id]))
                out.write(json.dumps(prediction.to_json(), ensure_ascii=False) + "\n")
                out.flush()
                done += 1
        progress.update(done)


def prompt_hash(prompt: str) -> str:
    """The first 16 hexadecimal digits of the prompt's sha256."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def _export(run: RunFolder, model: Model) -> Path:
    return run.train(model.label) / "export"


def _model_id(run: RunFolder, model: Model, phase: str) -> str:
    """Which weights answer: the checkpoint and its revision or, for a preset, seed; after training also their hash."""
    origin = model.revision or f"seed{run.experiment.seed}"
    name = f"{model.family}/{model.checkpoint}@{origin}"
    if phase == "before":
        return name
    folder = run.train(model.label)
    if not is_complete(folder):
        raise UserError(folder, "the training is not finished", "train first")
    return f"{name}+{completion_facts(folder)['weights_sha256'][:16]}"


def _drop_torn_line(file: Path) -> None:
    """Cut what follows the last line end: a process was killed while writing it."""
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with file.open("r+b") as out:
            out.truncate(whole)


def _answered(file: Path, asked: Mapping[str, str], model_id: str) -> set[str]:
    """Ids that have an answer in the file. Raises UserError, with the line, for an answer that does not belong there."""
    found: set[str] = set()
    if not file.exists():
        return found
    for number, row in read_jsonl(file):
        where = f"{file}:{number}"
        remedy = "remove the file to answer its examples again"
        try:
            prediction = Prediction(**row)
        except TypeError:
            raise UserError(where, "is no prediction", remedy) from None
        if prediction.example_id not in asked:
            raise UserError(where, f"answers {prediction.example_id!r}, which this shard does not ask", remedy)
        if prediction.example_id in found:
            raise UserError(where, f"answers {prediction.example_id!r} a second time", remedy)
        if prediction.prompt_hash != prompt_hash(asked[prediction.example_id]):
            raise UserError(where, f"answers another prompt than {prediction.example_id!r} has now", remedy)
        if prediction.model_id != model_id:
            raise UserError(where, f"was answered by {prediction.model_id}, not by {model_id}", remedy)
        found.add(prediction.example_id)
    return found
