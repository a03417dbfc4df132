"""One shard of a model's predictions: a line per answer, resumable, without talking to any other process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urbanvlm.dataset.images import open_image
from urbanvlm.dataset.prompts import load_prompts, prompt_hash
from urbanvlm.dataset.shards import batches, shard_of
from urbanvlm.errors import UserError
from urbanvlm.evaluate.asked import asked_examples
from urbanvlm.evaluate.unseen import blank, shuffled_images
from urbanvlm.experiment import Evaluate, Images, Model
from urbanvlm.models.registry import TINY_PRESETS
from urbanvlm.progress import Progress
from urbanvlm.records import Example, Prediction, read_jsonl
from urbanvlm.run_folder import RunFolder, completion_facts, is_complete, mark_complete
from urbanvlm.runtime.preemption import NEVER, StopSignal

if TYPE_CHECKING:
    from PIL.Image import Image

    from urbanvlm.models.family import LoadedModel


def predict(
    run: RunFolder,
    model: Model,
    phase: str,
    shard: int,
    progress: Progress,
    stop: StopSignal = NEVER,
    *,
    images: Images = "real",
) -> None:
    """Answer the examples of one shard that have no answer yet, then mark the shard's file complete.

    Phase `before` asks the checkpoint's own weights, `after` the export's; `images` says what they are shown. The
    batches of a shard are fixed, because in floating point an answer can depend on its neighbours in the batch: a batch
    that lacks any answer is computed whole, and only the missing answers are appended. So a shard that was killed or
    stopped and started again ends with the same bytes as one that was not.

    Raises UserError where the shard's file holds answers to other examples or prompts, of other weights or about other
    images; Stopped between two batches when asked to.
    """
    file = run.shard_file(model.label, phase, shard, images)
    if is_complete(file):
        return
    asked = _Shard.read(run, model, phase, shard, images)
    file.parent.mkdir(parents=True, exist_ok=True)
    _drop_torn_line(file)
    answered = asked.answered(file)
    progress.update(len(answered), total=len(asked.examples), force=True)
    with file.open("a", encoding="utf-8") as out:
        answers = _answers(run, model, phase, asked, answered, stop)
        for done, prediction in enumerate(answers, start=len(answered) + 1):
            out.write(json.dumps(prediction.to_json(), ensure_ascii=False) + "\n")
            out.flush()
            progress.update(done)
    mark_complete(file, asked.facts)


@dataclass(frozen=True)
class _Shard:
    """What one shard asks, and of which weights."""

    shard: int
    settings: Evaluate
    examples: list[Example]
    prompts: Mapping[str, str]
    """example id -> prompt"""
    model_id: str
    dataset: str
    images: Images
    shown: Mapping[str, str]
    """image_id -> the one that is shown in its stead, where that is another one"""

    @classmethod
    def read(cls, run: RunFolder, model: Model, phase: str, shard: int, images: Images) -> _Shard:
        experiment, settings = run.experiment, run.experiment.evaluate
        prompts = load_prompts(Path(settings.prompts) if settings.prompts else None)
        test = asked_examples(run)
        asked = test.examples
        examples = shard_of(asked, shard, settings.shards)
        texts = {e.id: prompts.render(e, experiment.data.chain_of_thought) for e in examples}
        # Of all that is asked, not of this shard: which pictures are exchanged must not depend on the shards.
        exchanged = shuffled_images(asked, experiment.seed) if images == "shuffled" else {}
        shown = {e.image_id: exchanged[e.image_id] for e in examples if e.image_id in exchanged}
        model_id = _model_id(run, model, phase, images)
        return cls(shard, settings, examples, texts, model_id, test.dataset, images, shown)

    @property
    def facts(self) -> dict[str, Any]:
        """For the marker of the finished shard."""
        facts = {"answers": len(self.examples), "model_id": self.model_id, "images": self.images}
        return facts | ({"shown": self.shown} if self.images == "shuffled" else {})

    def picture(self, folder: Path, image_id: str) -> Image:
        """What the model is shown when it is asked about an image. Raises UserError if that is no whole picture."""
        image = open_image(folder, self.shown.get(image_id, image_id))
        return blank(image) if self.images == "blank" else image

    def answered(self, file: Path) -> set[str]:
        """Ids that have an answer in the file. Raises UserError, naming the line, for one that does not belong."""
        found: set[str] = set()
        for number, row in read_jsonl(file) if file.exists() else ():
            try:
                prediction = Prediction(**row)
            except TypeError:
                flaw: str | None = "is no prediction"
            else:
                flaw = self._flaw(prediction, found)
            if flaw is not None:
                raise UserError(f"{file}:{number}", flaw, "remove the file to answer its examples again")
            found.add(prediction.example_id)
        return found

    def _flaw(self, prediction: Prediction, found: set[str]) -> str | None:
        name = prediction.example_id
        if name not in self.prompts:
            return f"answers {name!r}, which this shard does not ask"
        if name in found:
            return f"answers {name!r} a second time"
        if prediction.prompt_hash != prompt_hash(self.prompts[name]):
            return f"answers {name!r} to another prompt than the one it has now"
        if prediction.model_id != self.model_id:
            return f"was answered by {prediction.model_id}, not by {self.model_id}"
        if prediction.dataset != self.dataset:
            return f"answers {name!r} of another test file, or of this one as it was"
        return None


def _answers(
    run: RunFolder, model: Model, phase: str, asked: _Shard, answered: set[str], stop: StopSignal
) -> Iterator[Prediction]:
    """The missing answers in the shard's order; a batch's answers come together."""
    if len(answered) == len(asked.examples):
        return
    from urbanvlm.models.pixels import Pixels  # imports torch; see _load

    stop.check()  # loading takes minutes
    loaded = _load(run, model, phase, asked.shard)
    family, settings = loaded.family, asked.settings
    family.check_lengths(loaded, sorted(set(asked.prompts.values())), None, settings.max_new_tokens)
    pixels = Pixels(loaded, partial(asked.picture, run.images))
    for batch in batches(asked.examples, settings.batch_size):
        missing = {e.id for e in batch} - answered
        if not missing:
            continue
        stop.check()
        prompts = [asked.prompts[e.id] for e in batch]
        inputs = family.encode_prompts(loaded, pixels.of([e.image_id for e in batch]), prompts)
        texts = family.generate(loaded, inputs, settings.max_new_tokens)
        for example, prompt, text in zip(batch, prompts, texts, strict=True):
            if example.id in missing:
                yield Prediction(example.id, text, asked.model_id, prompt_hash(prompt), asked.dataset)


def _load(run: RunFolder, model: Model, phase: str, shard: int) -> LoadedModel:
    """The weights of the phase, on a GPU where there is one."""
    # A shard that is answered already, and whoever only imports this module, needs no torch.
    import torch

    from urbanvlm.models.registry import get_family
    from urbanvlm.runtime.determinism import configure_determinism

    configure_determinism(run.experiment.resources.cpus_per_process)
    if phase == "after":
        from urbanvlm.train.export import load_export

        loaded = load_export(model, run.train(model.label) / "export")
    else:
        loaded = get_family(model.family).load(
            model.checkpoint, revision=model.revision, precision=model.precision, seed=run.experiment.seed
        )
    if torch.cuda.is_available():
        # Where a launcher shows each process one GPU, that one; else the shards spread over the GPUs.
        loaded.model.to(f"cuda:{shard % torch.cuda.device_count()}")
    return loaded


def _model_id(run: RunFolder, model: Model, phase: str, images: Images) -> str:
    """Which weights answer: `<family>/<checkpoint>@<revision, or a preset's seed>`, `+<hash>` after training; and
    `#blank` or `#shuffled` if they did not see the picture they were asked about.
    """
    seen = "" if images == "real" else f"#{images}"
    origin = f"@seed{run.experiment.seed}" if model.checkpoint in TINY_PRESETS else f"@{model.revision or 'unpinned'}"
    name = f"{model.family}/{model.checkpoint}{origin}"
    if phase == "before":
        return name + seen
    folder = run.train(model.label)
    if not is_complete(folder):
        raise UserError(folder, "the training is not finished", "train first")
    return f"{name}+{completion_facts(folder)['weights_sha256'][:16]}{seen}"


def _drop_torn_line(file: Path) -> None:
    """Cut what follows the last line end: a process was killed while writing it."""
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with file.open("r+b") as out:
            out.truncate(whole)
