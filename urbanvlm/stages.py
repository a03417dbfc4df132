"""The stages of a run: which an experiment has, when one is finished, and doing one. Heavy imports happen late."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from urbanvlm.experiment import Experiment, Images, Model
from urbanvlm.lock import follow, hold
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder, is_complete, mark_complete, phase_name
from urbanvlm.runtime.preemption import NEVER, StopSignal

Kind = Literal["synthesize", "evaluate", "train", "report", "preflight", "compare"]
"""Two are no part of a run: preflight looks at the nodes that others would run on, compare at the runs of a sweep"""


@dataclass(frozen=True)
class Stage:
    """One step of a run, of one model and phase where that applies."""

    kind: Kind
    model: str = ""
    phase: str = ""
    images: Images = "real"
    """what an evaluation shows"""

    @property
    def name(self) -> str:
        return "-".join(part for part in (self.kind, self.model, phase_name(self.phase, self.images)) if part)


@dataclass(frozen=True)
class Process:
    """Which of a job's processes this is."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1


def stages_of(experiment: Experiment) -> tuple[Stage, ...]:
    """Every stage of an experiment, in an order in which they can be done."""
    stages = [Stage("synthesize")] if experiment.data.scenes is not None else []
    for model in experiment.models:
        kinds = experiment.images_of(model)
        stages += [Stage("evaluate", model.label, "before", images) for images in kinds]
        if experiment.mode == "fine-tune":
            stages.append(Stage("train", model.label))
            stages += [Stage("evaluate", model.label, "after", images) for images in kinds]
    return (*stages, Stage("report"))


def needs_of(experiment: Experiment, stage: Stage) -> tuple[Stage, ...]:
    """The stages that must be finished before this one."""
    first = (Stage("synthesize"),) if experiment.data.scenes is not None else ()
    if stage.kind == "synthesize":
        return ()
    if stage.kind == "report":
        return tuple(s for s in stages_of(experiment) if s.kind == "evaluate")
    if stage.phase == "after":
        return (Stage("train", stage.model),)
    return first


def results_of(run: RunFolder, experiment: Experiment, stage: Stage) -> tuple[Path, ...]:
    """What a stage leaves behind: files or folders, each with its COMPLETE marker when it is finished."""
    if stage.kind == "synthesize":
        return (run.dataset,)
    if stage.kind == "train":
        return (run.train(stage.model),)
    if stage.kind == "evaluate":
        return run.shard_files(stage.model, stage.phase, experiment.evaluate.shards, stage.images)
    return (run.scores, run.report)


def writes_of(experiment: Experiment, stage: Stage) -> tuple[str, ...]:
    """What a stage writes, in words of paths inside the run folder, for people."""
    if stage.kind == "synthesize":
        return ("dataset/",)
    if stage.kind == "train":
        return (f"models/{stage.model}/train/", f"tensorboard/{stage.model}/")
    if stage.kind == "evaluate":
        shards = experiment.evaluate.shards
        words = f"{shards} shard{'s' if shards > 1 else ''}"
        return (f"models/{stage.model}/evaluate/{phase_name(stage.phase, stage.images)}/predictions/ ({words})",)
    return ("scores.json", "report.md", "report.html", "report/")


def is_done(run: RunFolder, experiment: Experiment, stage: Stage) -> bool:
    return all(is_complete(path) for path in results_of(run, experiment, stage))


def progress_of(run: RunFolder, experiment: Experiment, stage: Stage, process: Process) -> int:
    """How much of this process's part is safely on disk: a number that grows with every start that got on at all.

    Steps of the newest checkpoint, answers, places, results; each plus one for what has been marked finished.
    """
    results = results_of(run, experiment, stage)
    if stage.kind == "train":
        from urbanvlm.train import checkpoint

        return checkpoint.saved_step(run.train(stage.model) / "checkpoints") + is_complete(results[0])
    if stage.kind == "evaluate":
        return sum(_lines(file) + is_complete(file) for file in results[process.rank :: process.world_size])
    places = len(list((run.dataset / "places").glob("*.json"))) if stage.kind == "synthesize" else 0
    return places + sum(is_complete(path) for path in results)


def checkpoint_save_seconds(run: RunFolder, label: str) -> float | None:
    """How long saving a checkpoint of this training took at most, as far as there are any."""
    from urbanvlm.train import checkpoint

    return checkpoint.save_seconds(run.train(label) / "checkpoints")


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def run_stage(run: RunFolder, stage: Stage, process: Process, stop: StopSignal = NEVER) -> None:
    """Do this process's part of a stage; finished parts are not done again.

    Raises UserError for a user's mistake, and Stopped when it was asked to stop: what is done is then saved, and
    another call goes on from there.
    """
    experiment = run.experiment
    if stage.kind == "evaluate":
        results = results_of(run, experiment, stage)
        for shard in range(process.rank, len(results), process.world_size):
            if not is_complete(results[shard]):
                with hold(results[shard].with_suffix(".LOCK"), stage.name, give_up=stop.reason):
                    _evaluate(run, stage, shard, stop)
    elif stage.kind == "train":
        folder = run.train(stage.model)
        if process.rank == 0:
            lock = hold(folder / "LOCK", stage.name, give_up=stop.reason)
        else:
            lock = follow(folder / "LOCK", stage.name, lambda: is_complete(folder), stop.reason)
        with lock:
            _train(run, stage, process, stop)
    elif process.rank == 0:
        with hold(run.jobs / f"{stage.name}.LOCK", stage.name, give_up=stop.reason):
            # A report takes seconds: it is not interrupted.
            _synthesize(run, stop) if stage.kind == "synthesize" else _report(run)


def _model(experiment: Experiment, label: str) -> Model:
    return next(model for model in experiment.models if model.label == label)


def _progress(run: RunFolder, stage: Stage, part: int, unit: str, total: int = 0) -> Progress:
    """Of a rank or a shard. A stage that learns its total late says it with its first update."""
    return Progress(run.progress_file(stage.name, part), total=total, unit=unit)


def _synthesize(run: RunFolder, stop: StopSignal) -> None:
    from urbanvlm.dataset.build import build_dataset
    from urbanvlm.scenes.synthesize import synthesize

    data, seed = run.experiment.data, run.experiment.seed
    assert data.scenes is not None
    resources = run.experiment.resources
    processes = resources.processes * resources.cpus_per_process
    with _progress(run, Stage("synthesize"), 0, "places", data.scenes.places) as progress:
        synthesize(
            data.scenes,
            seed,
            run.dataset,
            thresholds=data.thresholds,
            processes=processes,
            progress=progress,
            stop=stop,
        )
    build_dataset(data, seed, run.dataset)
    _check_rendered(run)
    mark_complete(run.dataset)


def _check_rendered(run: RunFolder) -> None:
    """Raises UserError for a finding that scores must not rest on; files of one's own were checked before the job."""
    from urbanvlm.dataset.gate import check_splits

    splits = {split: run.split_file(split) for split in ("train", "val", "test")}
    for remark in check_splits(run.experiment, splits, run.images, decode=False):
        print(f"note: {remark}")


def _train(run: RunFolder, stage: Stage, process: Process, stop: StopSignal) -> None:
    from urbanvlm.train.loop import train

    model = _model(run.experiment, stage.model)
    with _progress(run, stage, process.rank, "steps") as progress:
        train(run, model, process.rank, process.local_rank, process.world_size, progress, stop)


def _evaluate(run: RunFolder, stage: Stage, shard: int, stop: StopSignal) -> None:
    from urbanvlm.evaluate.predict import predict

    model = _model(run.experiment, stage.model)
    with _progress(run, stage, shard, "examples") as progress:
        predict(run, model, stage.phase, shard, progress, stop, images=stage.images)


def _report(run: RunFolder) -> None:
    from urbanvlm.report import make_report

    make_report(run)
