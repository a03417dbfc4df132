"""The training loop: plain statements, a cadence is `if state.global_step % every == 0`."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from urbanvlm.dataset.images import open_image
from urbanvlm.dataset.prompts import Prompts, load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, Model, Train
from urbanvlm.models.family import LoadedModel, unwrap
from urbanvlm.progress import Progress
from urbanvlm.records import Example
from urbanvlm.run_folder import RunFolder, is_complete, mark_complete
from urbanvlm.runtime.determinism import configure_determinism, seed_everything
from urbanvlm.runtime.process_group import ProcessGroup, process_group
from urbanvlm.runtime.telemetry import Sample, Telemetry, memory_mib
from urbanvlm.train import checkpoint, export
from urbanvlm.train.data import Batching, data_fingerprint, validation_batches, validation_choice
from urbanvlm.train.engine import (
    apply_gradients,
    build_engine,
    check_precision,
    learning_rate,
    learnt_tokens,
    set_learning_rate,
    whole_weights,
)
from urbanvlm.train.state import TrainState

logger = logging.getLogger(__name__)

SAMPLES = 4
"""validation examples shown as pictures in TensorBoard"""


def train(run: RunFolder, model: Model, rank: int, local_rank: int, world_size: int, progress: Progress) -> None:
    """Fine-tune one model of the run as one of `world_size` processes, going on from the newest good checkpoint.

    Ends with the weights of the best validation loss in <train>/export and a COMPLETE marker in <train>. A run that
    was killed anywhere and started again ends with the same bits as one that was not.

    The processes meet at MASTER_ADDR, or at the file that URBANVLM_RENDEZVOUS names, new at every start.

    Raises UserError for data or settings that cannot be trained on, and RuntimeError when the loss is not finite.
    """
    folder = run.train(model.label)
    if is_complete(folder):
        return
    configure_determinism(run.experiment.resources.cpus_per_process)
    task = _Task.read(run, model, world_size)
    rendezvous = os.environ.get("URBANVLM_RENDEZVOUS")
    with process_group(rank, local_rank, world_size, Path(rendezvous) if rendezvous else None) as group:
        state = _train(task, group, folder, run.tensorboard(model.label), progress)
    if group.is_first:
        assert state.best_step is not None
        weights = export.best_file(folder / "best", state.best_step)
        facts = export.export(model, task.settings, task.experiment.seed, weights, folder / "export")
        mark_complete(
            folder,
            facts
            | {
                "global_step": state.global_step,
                "best_step": state.best_step,
                "best_validation_loss": state.best_validation_loss,
                "data_fingerprint": state.data_fingerprint,
            },
        )


@dataclass(frozen=True)
class _Task:
    """What is to be learnt from, read and checked before any process group exists."""

    experiment: Experiment
    model: Model
    settings: Train
    images: Path
    prompts: Prompts
    examples: Sequence[Example]
    validation: Sequence[Example]
    batching: Batching

    @classmethod
    def read(cls, run: RunFolder, model: Model, world_size: int) -> _Task:
        experiment, settings = run.experiment, run.experiment.train
        if settings is None:
            raise UserError(run.experiment_file, "has no train section", "set mode to fine-tune and add one")
        check_precision(settings, model.precision)
        own_prompts = experiment.evaluate.prompts
        examples, validation = (read_examples(run.split_file("train")), read_examples(run.split_file("val")))
        batching = Batching(
            len(examples), settings.micro_batch_size, settings.gradient_accumulation_steps, world_size, experiment.seed
        )
        return cls(
            experiment,
            model,
            settings,
            run.images,
            load_prompts(Path(own_prompts) if own_prompts else None),
            examples,
            [validation[i] for i in validation_choice(len(validation), settings.validation_examples, experiment.seed)],
            batching,
        )

    @property
    def total_steps(self) -> int:
        return self.batching.total_steps(self.settings.epochs, self.settings.max_steps)

    @cached_property
    def fingerprint(self) -> str:
        rows = [*self.examples, *self.validation]
        return data_fingerprint(((e, self.prompt(e), self.target(e)) for e in rows), self.images)

    def prompt(self, example: Example) -> str:
        return self.prompts.render(example, self.experiment.data.chain_of_thought)

    def target(self, example: Example) -> str:
        return self.prompts.target(example, self.experiment.data.chain_of_thought)

    def encode(self, loaded: LoadedModel, examples: Sequence[Example], device: torch.device) -> dict[str, Tensor]:
        """A training batch on the device."""
        batch = loaded.family.encode_training(
            loaded,
            [open_image(self.images, e.image_id) for e in examples],
            [self.prompt(e) for e in examples],
            [self.target(e) for e in examples],
        )
        return {name: tensor.to(device) for name, tensor in batch.items()}


def _train(task: _Task, group: ProcessGroup, folder: Path, tensorboard: Path, progress: Progress) -> TrainState:
    """From the newest checkpoint, or the beginning, to the last step. Every rank returns the same state."""
    settings, seed, total = task.settings, task.experiment.seed, task.total_steps
    loaded = export.trainable_model(task.model, settings, seed)
    _check_lengths(task, loaded)
    if settings.gradient_checkpointing:
        unwrap(loaded.model).activation_checkpointing_enable()
    engine = build_engine(loaded.model, settings, task.model.precision, group.device)
    state = _start(task, group, engine, folder)
    telemetry = None
    if group.is_first:
        telemetry = Telemetry(tensorboard, folder / "metrics.jsonl", state.global_step)
    progress.update(state.global_step, total=total, force=True)
    stopwatch = _Stopwatch(state.examples_seen)

    engine.train()
    while state.global_step < total:
        step = state.global_step
        seed_everything(seed, "step", step, group.rank)
        rate = learning_rate(settings, step, total)
        set_learning_rate(engine, rate)
        loss, gradient_norm = _step(task, group, engine, loaded, step)
        state = state.after_step(settings.train_batch_size, len(task.examples))
        last = state.global_step == total
        progress.update(state.global_step, loss=loss)

        figures: dict[str, float] = {}
        if state.global_step % settings.log_every_steps == 0 or last:
            figures |= {
                "loss": loss,
                "learning_rate": rate,
                "gradient_norm": gradient_norm,
                "examples_per_second": stopwatch.rate(state.examples_seen),
                "memory_mib": memory_mib(group.device),
            }
        if state.global_step % settings.validate_every_steps == 0 or last:
            with stopwatch.paused():
                figures["validation_loss"] = _validation_loss(task, group, engine, loaded)
                state = state.with_validation(figures["validation_loss"])
                if state.best_step == state.global_step:
                    export.save_best(engine, group, folder / "best", state.global_step)
                samples = _samples(task, engine, loaded)
                if telemetry is not None:
                    telemetry.samples(state.global_step, samples)
        if figures and telemetry is not None:
            telemetry.figures(state.global_step, figures)
        if state.global_step % settings.checkpoint_every_steps == 0 or last:
            with stopwatch.paused():
                checkpoint.save(engine, group, folder / "checkpoints", state)
                if group.is_first:
                    kept = checkpoint.prune(folder / "checkpoints", settings.keep_checkpoints)
                    export.prune_best(folder / "best", {checkpoint.read_state(c).best_step for c in kept})

    if telemetry is not None:
        telemetry.close()
    return state


def _check_lengths(task: _Task, loaded: LoadedModel) -> None:
    """Every prompt and target must fit the model: better known now than in the middle of an epoch."""
    rows = [*task.examples, *task.validation]
    pairs = sorted({(task.prompt(e), task.target(e)) for e in rows})
    loaded.family.check_lengths(loaded, [prompt for prompt, _ in pairs], [target for _, target in pairs])


def _start(task: _Task, group: ProcessGroup, engine: Any, folder: Path) -> TrainState:
    """The state to go on from: of the newest good checkpoint, whose weights are then in the engine, or the first."""
    newest = _newest(folder) if group.is_first else None
    newest = group.from_first(newest)
    if newest is None:
        return TrainState(0, 0, 0, task.fingerprint, group.world_size)
    checkpoint.check_resumable(newest, checkpoint.read_state(newest), task.fingerprint, group.world_size)
    state = checkpoint.load(engine, newest)
    if group.is_first:
        logger.warning("resumes from %s", newest)
    return state


def _newest(folder: Path) -> Path | None:
    """The newest good checkpoint whose best weights are there as well; others are set aside."""
    while (newest := checkpoint.newest(folder / "checkpoints")) is not None:
        if export.best_is_whole(folder / "best", checkpoint.read_state(newest).best_step):
            return newest
        checkpoint.set_aside(newest, "the best weights it speaks of are missing or have changed")
    return None


def _step(task: _Task, group: ProcessGroup, engine: Any, loaded: LoadedModel, step: int) -> tuple[float, float]:
    """One optimizer step. Returns the loss, the mean over the learnt tokens of the whole train batch, and the norm.

    DeepSpeed averages over micro batches and ranks whatever their numbers of tokens, so each micro batch's loss gets
    the weight that turns this average into the mean over all tokens: the gradient does not depend on how the train
    batch is cut.
    """
    batches = [
        task.encode(loaded, [task.examples[i] for i in indices], group.device)
        for indices in task.batching.step_batches(step, group.rank)
    ]
    (tokens,) = group.sum(sum(learnt_tokens(batch) for batch in batches))
    averaged_over = len(batches) * group.world_size
    loss = torch.zeros((), dtype=torch.float64)
    for number, batch in enumerate(batches):
        share = engine(**batch).loss * (learnt_tokens(batch) / tokens)
        engine.backward(share * averaged_over)
        loss += share.detach().double().cpu()
        if number + 1 < len(batches):
            engine.step()
    # All ranks see the same sum, so all stop, before the weights are touched.
    (total,) = group.sum(float(loss))
    _check_finite(total, "loss", step, task)
    norm = apply_gradients(engine)
    if task.model.precision != "fp16":
        # In fp16 DeepSpeed skips such a step and lowers its loss scale.
        _check_finite(norm, "gradient norm", step, task)
    return total, norm


def _check_finite(value: float, name: str, step: int, task: _Task) -> None:
    if not math.isfinite(value):
        raise UserError(
            f"{task.model.label}: step {step + 1}",
            f"the {name} is {value}",
            "lower train.learning_rate, lengthen train.warmup_steps, or use bf16 instead of fp16",
        )


@torch.no_grad()
def _validation_loss(task: _Task, group: ProcessGroup, engine: Any, loaded: LoadedModel) -> float:
    """Mean loss over all learnt tokens of the validation examples, which the ranks share."""
    engine.eval()
    total, tokens = 0.0, 0
    size = task.settings.micro_batch_size
    for indices in validation_batches(len(task.validation), size, group.rank, group.world_size):
        # A rank without examples goes along with one that does not count: ZeRO-3 gathers weights in every forward.
        batch = task.encode(loaded, [task.validation[i] for i in indices or [0]], group.device)
        loss = float(engine(**batch).loss)
        if indices:
            total += loss * learnt_tokens(batch)
            tokens += learnt_tokens(batch)
    engine.train()
    total, all_tokens = group.sum(total, tokens)
    return total / all_tokens


def _samples(task: _Task, engine: Any, loaded: LoadedModel) -> list[Sample]:
    """The model's answers to a few validation examples. Every rank generates the same: ZeRO-3 needs them all."""
    examples = task.validation[:SAMPLES]
    images = [open_image(task.images, e.image_id) for e in examples]
    prompts = [task.prompt(e) for e in examples]
    batch = loaded.family.encode_prompts(loaded, images, prompts)
    # generate() goes round the forward() of the model itself, where ZeRO-3 would gather what hangs there directly.
    own = list(unwrap(loaded.model).parameters(recurse=False))
    with whole_weights(engine, own):
        texts = loaded.family.generate(loaded, batch, task.experiment.evaluate.max_new_tokens)
    rows = zip(examples, images, prompts, texts, strict=True)
    return [Sample(e.id, image, prompt, e.answer, text) for e, image, prompt, text in rows]


class _Stopwatch:
    """Examples per second since the last question, pauses left out."""

    def __init__(self, examples: int) -> None:
        self._examples, self._since = examples, time.monotonic()

    def rate(self, examples: int) -> float:
        now = time.monotonic()
        rate = (examples - self._examples) / max(now - self._since, 1e-9)
        self._examples, self._since = examples, now
        return rate

    @contextmanager
    def paused(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._since += time.monotonic() - begun
