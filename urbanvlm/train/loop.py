"""The training loop: plain statements, a cadence is `if state.global_step % every == 0`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from urbanvlm.dataset.images import open_image
from urbanvlm.errors import UserError
from urbanvlm.experiment import Model, Train
from urbanvlm.models.family import unwrap
from urbanvlm.models.pixels import Pixels
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder, is_complete, mark_complete
from urbanvlm.runtime.determinism import configure_determinism, seed_everything
from urbanvlm.runtime.preemption import NEVER, Stopped, StopSignal
from urbanvlm.runtime.process_group import ProcessGroup, process_group
from urbanvlm.runtime.telemetry import Telemetry, memory_mib
from urbanvlm.train import checkpoint, export
from urbanvlm.train.batching import Batching
from urbanvlm.train.data import TrainingData
from urbanvlm.train.engine import apply_gradients, build_engine, learning_rate, set_learning_rate
from urbanvlm.train.state import TrainState
from urbanvlm.train.step import Learner, check_finite

logger = logging.getLogger(__name__)


def train(
    run: RunFolder,
    model: Model,
    rank: int,
    local_rank: int,
    world_size: int,
    progress: Progress,
    stop: StopSignal = NEVER,
) -> None:
    """Fine-tune one model of the run as one of `world_size` processes, going on from the newest good checkpoint.

    Ends with the weights of the lowest validation loss in <train>/export and a COMPLETE marker in <train>. A run that
    was killed or stopped anywhere and started again ends with the same bits as one that was not.

    Where the processes meet stands in the environment, see `urbanvlm.runtime.rendezvous.meet`.

    Raises UserError for data or settings that cannot be trained on, and where the loss is not finite; Stopped, in
    every process at the same step, when one of them was asked to stop and the checkpoint is written.
    """
    folder, experiment, settings = run.train(model.label), run.experiment, run.experiment.train
    if is_complete(folder):
        return
    if settings is None:
        raise UserError(run.experiment_file, "has no train section", "set mode to fine-tune and add one")
    configure_determinism(experiment.resources.cpus_per_process)
    data = TrainingData.of(run, settings.validation_examples)
    with process_group(rank, local_rank, world_size) as group:
        learner = build_learner(model, settings, experiment.seed, data, group)
        state = _start(learner, folder)
        stop.need(checkpoint.save_seconds(folder / "checkpoints") or 0.0)
        state = _learn(run, model, settings, learner, state, progress, stop)
        del learner
    if group.is_first:
        _finish(model, settings, experiment.seed, folder, state)


def build_learner(model: Model, settings: Train, seed: int, data: TrainingData, group: ProcessGroup) -> Learner:
    """The model as training begins, in its engine."""
    loaded = export.trainable_model(model, settings, seed)
    data.check_lengths(loaded)
    if settings.gradient_checkpointing:
        # By its older name, the only one that transformers 5.20, the last for Python 3.10, has.
        unwrap(loaded.model).gradient_checkpointing_enable({"use_reentrant": False})
    engine = build_engine(loaded.model, settings, model.precision, group.device)
    micro, accumulation = settings.micro_batch_size, settings.gradient_accumulation_steps
    batching = Batching(len(data.examples), micro, accumulation, group.world_size, seed)
    pixels = Pixels(loaded, partial(open_image, data.images))
    return Learner(engine, loaded, data, batching, group, pixels)


def _start(learner: Learner, folder: Path) -> TrainState:
    """The state to go on from: of the newest good checkpoint, which is then in the engine, or the very first."""
    group, fingerprint = learner.group, learner.data.fingerprint()
    newest = group.from_first(_newest(folder) if group.is_first else None)
    if newest is None:
        return TrainState(0, 0, 0, fingerprint, group.world_size)
    checkpoint.check_resumable(newest, checkpoint.read_state(newest), fingerprint, group.world_size)
    if group.is_first:
        logger.warning("resumes from %s", newest)
    return checkpoint.load(learner.engine, newest)


def _newest(folder: Path) -> Path | None:
    """The newest good checkpoint whose best weights are good as well; others are set aside."""
    while (newest := checkpoint.newest(folder / "checkpoints")) is not None:
        if export.best_is_whole(folder / "best", checkpoint.read_state(newest).best_step):
            return newest
        checkpoint.set_aside(newest, "the best weights it speaks of are missing or have changed")
    return None


def _learn(
    run: RunFolder,
    model: Model,
    settings: Train,
    learner: Learner,
    state: TrainState,
    progress: Progress,
    stop: StopSignal,
) -> TrainState:
    """Every step that is left. Every rank returns the same state, or raises Stopped after the same step."""
    folder, engine, group = run.train(model.label), learner.engine, learner.group
    max_new_tokens, seed = run.experiment.evaluate.max_new_tokens, run.experiment.seed
    total = learner.batching.total_steps(settings.epochs, settings.max_steps)
    telemetry = None
    if group.is_first:
        telemetry = Telemetry(run.tensorboard(model.label), folder / "metrics.jsonl", state.global_step)
    progress.update(state.global_step, total=total, force=True)
    stopwatch = _Stopwatch(state.examples_seen)
    saver = _Saver(learner, settings, folder, stop, state.global_step)

    engine.train()
    while state.global_step < total:
        saver.stop_if_asked(state)
        step = state.global_step
        seed_everything(seed, "step", step, group.rank)
        rate = learning_rate(settings, step, total)
        set_learning_rate(engine, rate)
        loss = learner.accumulate_gradient(step)
        norm = apply_gradients(engine)
        if model.precision != "fp16":  # there, DeepSpeed has skipped the update and lowered its loss scale
            check_finite(norm, "gradient norm", step)
        state = state.after_step(settings.train_batch_size, len(learner.data.examples))
        last = state.global_step == total
        progress.update(state.global_step, loss=loss)

        figures: dict[str, float] = {}
        if state.global_step % settings.log_every_steps == 0 or last:
            figures |= {
                "loss": loss,
                "learning_rate": rate,
                "grad_norm": norm,
                "examples_per_second": stopwatch.rate(state.examples_seen),
                "memory_mib": memory_mib(group.device),
            }
        if state.global_step % settings.validate_every_steps == 0 or last:
            with stopwatch.paused():
                figures["validation_loss"] = learner.validation_loss()
                check_finite(figures["validation_loss"], "validation loss", step)
                state = state.with_validation(figures["validation_loss"])
                if state.best_step == state.global_step:
                    export.save_best(engine, group, folder / "best", state.global_step)
                samples = learner.samples(max_new_tokens)
                if telemetry is not None:
                    telemetry.samples(state.global_step, samples)
        if figures and telemetry is not None:
            telemetry.figures(state.global_step, figures)
        if state.global_step % settings.checkpoint_every_steps == 0 or last:
            with stopwatch.paused():
                saver.save(state)

    if telemetry is not None:
        telemetry.close()
    # What is left, the export, is done by one process alone, without a word to the others.
    saver.stop_if_asked(state)
    return state


def _finish(model: Model, settings: Train, seed: int, folder: Path, state: TrainState) -> None:
    """Export the best weights, then say that the training is complete."""
    assert state.best_step is not None
    weights = export.best_file(folder / "best", state.best_step)
    facts = export.export(model, settings, seed, weights, folder / "export")
    facts |= {"global_step": state.global_step, "data_fingerprint": state.data_fingerprint}
    mark_complete(folder, facts | {"best_step": state.best_step, "best_validation_loss": state.best_validation_loss})


class _Saver:
    """Writes the checkpoints of a run, at its cadence or because it is to stop, and measures what that takes."""

    def __init__(self, learner: Learner, settings: Train, folder: Path, stop: StopSignal, saved_step: int) -> None:
        self._learner, self._settings, self._folder, self._stop = learner, settings, folder, stop
        self._saved_step = saved_step
        """nothing is lost by ending there"""
        self._asked = time.monotonic()

    def save(self, state: TrainState) -> None:
        """Write the checkpoint and remove what it makes superfluous. All ranks call it."""
        begun, group = time.monotonic(), self._learner.group
        checkpoint.save(self._learner.engine, group, self._folder / "checkpoints", state)
        if group.is_first:
            kept = checkpoint.prune(self._folder / "checkpoints", self._settings.keep_checkpoints)
            export.prune_best(self._folder / "best", {checkpoint.read_state(c).best_step for c in kept})
        self._saved_step = state.global_step
        self._stop.need(time.monotonic() - begun, begun - self._asked)

    def stop_if_asked(self, state: TrainState) -> None:
        """At the boundary of a step: if any rank was asked to stop, all save what is not saved yet and stop."""
        group = self._learner.group
        now = time.monotonic()
        self._stop.need(0.0, now - self._asked)
        self._asked = now
        reason = self._stop.reason()
        if not group.any(reason is not None):
            return
        reason = next(filter(None, group.gather(reason)))
        if state.global_step != self._saved_step:
            self.save(state)
        if group.is_first:
            logger.warning("stops after step %d: %s", state.global_step, reason)
        raise Stopped(reason)


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
