"""Training with real processes: resume, broken checkpoints, cuts of the train batch, ZeRO stages, export."""

from __future__ import annotations

import json
import math
import pickle
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from train_support import TRAIN, finish, make_questions, make_run, metrics, start

from urbanvlm.errors import UserError
from urbanvlm.evaluate.predict import predict
from urbanvlm.models.registry import get_family
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder, fingerprint, is_complete
from urbanvlm.runtime.process_group import process_group
from urbanvlm.train import checkpoint, export
from urbanvlm.train.data import TrainingData
from urbanvlm.train.loop import train

pytestmark = pytest.mark.processes

SILENT = Progress(None, total=0, unit="steps")

GRADIENTS = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_train import write_gradients
from urbanvlm.run_folder import RunFolder
write_gradients(RunFolder(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[5]))
"""


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    make_questions(folder)
    return folder


def exported(run: RunFolder) -> str:
    """sha256 of the exported weights."""
    return fingerprint(run.train("llava") / "export" / "model.safetensors")


DROPOUT: Mapping[str, Any] = {"max_steps": 12, "zero_stage": 2, "lora": {"rank": 4, "alpha": 8, "dropout": 0.3}}


@pytest.fixture(scope="module")
def undisturbed(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = make_run(tmp_path_factory.mktemp("runs") / "undisturbed", questions, **DROPOUT)
    finish(start(run, TRAIN))
    return run


@pytest.fixture(scope="module")
def killed(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Killed without warning at a random moment, then started again."""
    run = make_run(tmp_path_factory.mktemp("runs") / "killed", questions, **DROPOUT)
    step, delay = random.randint(1, 10), random.uniform(0, 0.1)
    print(f"kills after step {step} and {delay:.3f} s")
    processes = start(run, TRAIN)
    rows = run.train("llava") / "metrics.jsonl"
    while not rows.exists() or rows.read_bytes().count(b"\n") < step:
        assert all(process.poll() is None for process in processes), processes[0].communicate()[1]
        time.sleep(0.005)
    time.sleep(delay)
    for process in processes:
        process.kill()
        process.communicate()
    assert not is_complete(run.train("llava"))
    finish(start(run, TRAIN))
    return run


class TestResume:
    """Adapters with dropout under ZeRO-2: weights, optimizer, order of the data and dropout must all come back."""

    def test_a_killed_run_ends_with_the_same_bits(self, undisturbed: RunFolder, killed: RunFolder) -> None:
        assert exported(killed) == exported(undisturbed)

    def test_its_metrics_have_every_step_once_with_the_same_figures(
        self, undisturbed: RunFolder, killed: RunFolder
    ) -> None:
        names = ("step", "loss", "learning_rate", "grad_norm", "validation_loss")
        one, other = ([[row.get(name) for name in names] for row in metrics(run)] for run in (undisturbed, killed))
        assert [row[0] for row in one] == list(range(1, 13))
        assert other == one

    def test_a_broken_newest_checkpoint_gives_way_to_the_one_before(
        self, undisturbed: RunFolder, killed: RunFolder
    ) -> None:
        folder = killed.train("llava")
        shutil.rmtree(folder / "export")
        (folder / "COMPLETE").unlink()
        newest = folder / "checkpoints" / "step-00000012"
        weights = newest / "deepspeed" / "mp_rank_00_model_states.pt"
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
        log = finish(start(killed, TRAIN))
        assert "set aside as step-00000012.broken" in log
        assert "resumes from" in log
        assert newest.with_name("step-00000012.broken").is_dir()
        assert exported(killed) == exported(undisturbed)

    def test_checkpoints_hold_no_frozen_weights_and_are_pruned(self, undisturbed: RunFolder) -> None:
        folder = undisturbed.train("llava")
        kept = sorted(p.name for p in (folder / "checkpoints").iterdir())
        assert kept == ["step-00000010", "step-00000012"]
        best = json.loads((folder / "checkpoints" / "step-00000012" / "state.json").read_text())["best_step"]
        assert export.best_file(folder / "best", best).is_file()
        whole = (folder / "export" / "model.safetensors").stat().st_size
        saved = folder / "checkpoints" / "step-00000012" / "deepspeed" / "mp_rank_00_model_states.pt"
        assert saved.stat().st_size < whole / 4

    def test_a_finished_training_does_nothing(self, undisturbed: RunFolder) -> None:
        before = exported(undisturbed)
        train(undisturbed, undisturbed.experiment.models[0], 0, 0, 2, SILENT)
        assert exported(undisturbed) == before

    def test_the_export_answers_as_the_after_phase(self, undisturbed: RunFolder) -> None:
        predict(undisturbed, undisturbed.experiment.models[0], "after", 0, Progress(None, total=0, unit="examples"))
        assert is_complete(undisturbed.shard_file("llava", "after", 0))


def write_gradients(run: RunFolder, rank: int, world_size: int, cases: Mapping[str, Mapping[str, Any]]) -> None:
    """For each case of changed settings, to `<case>.npz`: first gradient, losses of two steps, validation loss."""
    from deepspeed.utils import safe_get_full_grad

    from urbanvlm.train.engine import apply_gradients, set_learning_rate
    from urbanvlm.train.loop import build_learner

    model, settings = run.experiment.models[0], run.experiment.train
    assert settings is not None
    data = TrainingData.of(run, 7)
    with process_group(rank, rank, world_size) as group:
        for name, changes in cases.items():
            learner = build_learner(model, settings.model_copy(update=dict(changes)), 0, data, group)
            engine = learner.engine
            engine.train()
            figures = [learner.validation_loss(), learner.accumulate_gradient(0)]
            gradient = {n: safe_get_full_grad(p) for n, p in learner.loaded.model.named_parameters()}
            # A copy: stage 0 clips its gradients in place.
            flat = np.concatenate([g.flatten().numpy() for g in gradient.values() if g is not None])
            set_learning_rate(engine, 1e-4)
            figures += [apply_gradients(engine), learner.accumulate_gradient(1)]
            if rank == 0:
                np.savez(run.path / name, gradient=flat, figures=np.array(figures))
            engine.destroy()


CASES: Mapping[str, Mapping[str, int]] = {
    "2x2x2-stage0": {"zero_stage": 0},
    "2x2x2-stage1": {"zero_stage": 1},
    "2x2x2-stage2": {"zero_stage": 2},
    "2x2x2-stage3": {"zero_stage": 3},
    "4x1x2": {"micro_batch_size": 4, "gradient_accumulation_steps": 1},
    "1x4x2": {"micro_batch_size": 1, "gradient_accumulation_steps": 4},
}
ALONE: Mapping[str, Mapping[str, int]] = {
    "8x1x1": {"micro_batch_size": 8, "gradient_accumulation_steps": 1},
    "2x4x1": {"micro_batch_size": 2, "gradient_accumulation_steps": 4},
}


@pytest.fixture(scope="module")
def cuts(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = make_run(tmp_path_factory.mktemp("runs") / "cuts", questions, zero_stage=2)
    finish(start(run, GRADIENTS, str(Path(__file__).parent), json.dumps(CASES)))
    write_gradients(run, 0, 1, ALONE)
    return run


class TestCuts:
    """One train batch of 8, however it is cut into micro batches and ranks, at every ZeRO stage."""

    @pytest.mark.parametrize("case", [*CASES, *ALONE])
    def test_gradient_and_losses_are_the_same(self, cuts: RunFolder, case: str) -> None:
        reference, other = np.load(cuts.path / "8x1x1.npz"), np.load(cuts.path / f"{case}.npz")
        scale = np.linalg.norm(reference["gradient"])
        assert scale > 0.1
        assert np.linalg.norm(other["gradient"] - reference["gradient"]) < 1e-6 * scale
        assert other["figures"] == pytest.approx(reference["figures"], rel=1e-5)

    def test_it_would_differ_without_weighting_by_tokens(self, questions: Path) -> None:
        answers = [json.loads(line)["answer"] for line in (questions / "train.jsonl").read_text().splitlines()]
        assert len({len(answer.split()) for answer in answers}) > 1


def test_adapters_on_a_folder_under_stage_3_export_alone_and_whole(questions: Path, tmp_path: Path) -> None:
    base = get_family("blip2").load("tiny", seed=3)
    base.model.save_pretrained(tmp_path / "base")
    base.processor.save_pretrained(tmp_path / "base")
    model = {"family": "blip2", "checkpoint": str(tmp_path / "base")}
    lora = {"rank": 4, "alpha": 64, "dropout": 0.0}
    run = make_run(tmp_path / "run", questions, model=model, max_steps=3, zero_stage=3, lora=lora, warmup_steps=0)
    finish(start(run, TRAIN))
    folder = run.train("blip2") / "export"
    tensors = load_file(folder / "adapter_model.safetensors")
    assert tensors
    assert all(tensor.size and np.any(tensor) for tensor in tensors.values())
    assert not (folder / "model.safetensors").exists()
    loaded = export.load_export(run.experiment.models[0], folder)
    own = {name for name, _ in loaded.model.named_parameters() if "lora_" in name}
    assert len(own) == len(tensors)


def test_training_begins_with_the_weights_that_were_evaluated_before(questions: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", questions)
    settings, model = run.experiment.train, run.experiment.models[0]
    assert settings is not None
    before = get_family("llava").load("tiny", seed=4)
    assert export.weights_hash(export.trainable_model(model, settings, 4).model) == export.weights_hash(before.model)
    assert export.weights_hash(export.trainable_model(model, settings, 5).model) != export.weights_hash(before.model)


def test_a_frozen_vision_tower_stays_as_it_was(questions: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", questions, freeze_vision=True, max_steps=2, train_batch_size=4)
    model = run.experiment.models[0]
    train(run, model, 0, 0, 1, SILENT)
    family = get_family("llava")
    before, after = family.load("tiny", seed=0), export.load_export(model, run.train("llava") / "export")
    pairs = zip(family.vision_parameters(before.model), family.vision_parameters(after.model), strict=True)
    assert all(bool((one == other).all()) for one, other in pairs)
    assert export.weights_hash(before.model) != export.weights_hash(after.model)


def test_a_loss_that_is_not_finite_stops_the_training(questions: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", questions, learning_rate=1e30, warmup_steps=0, train_batch_size=4)
    with pytest.raises(UserError, match=r"step \d+: the (loss|gradient norm) is (nan|inf)"):
        train(run, run.experiment.models[0], 0, 0, 1, SILENT)
    assert not is_complete(run.train("llava"))
    logged = run.train("llava") / "metrics.jsonl"
    assert all(math.isfinite(json.loads(line)["loss"]) for line in logged.read_text().splitlines())


class TestFingerprint:
    def test_follows_answers_prompts_and_pictures(self, tmp_path: Path) -> None:
        make_questions(tmp_path / "q", examples=8)
        run = make_run(tmp_path / "run", tmp_path / "q")
        first = TrainingData.of(run, 100).fingerprint()
        assert TrainingData.of(run, 100).fingerprint() == first
        rows = tmp_path / "q" / "train.jsonl"
        text = rows.read_text()
        rows.write_text(text.replace("traffic light", "tree", 1).replace('"no"', '"yes"', 1))
        assert TrainingData.of(run, 100).fingerprint() != first
        rows.write_text(text)
        picture = next((tmp_path / "q" / "images").iterdir())
        picture.write_bytes(picture.read_bytes() + b"\0")
        assert TrainingData.of(run, 100).fingerprint() != first

    def test_a_missing_picture_is_named(self, tmp_path: Path) -> None:
        make_questions(tmp_path / "q", examples=8)
        (tmp_path / "q" / "images" / "image_000001_heading0.png").unlink()
        run = make_run(tmp_path / "run", tmp_path / "q")
        with pytest.raises(UserError, match="image_000001_heading0"):
            TrainingData.of(run, 100).fingerprint()


class Attribute:
    """Pickled as `getattr(of, name)`."""

    def __init__(self, of: object, name: str) -> None:
        self.of, self.name = of, name

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.of, self.name)


def test_a_checkpoint_of_an_older_python_is_read_and_one_that_reaches_further_is_not(tmp_path: Path) -> None:
    """Python 3.11.2, of Debian 12, writes an enum's member as an attribute; 3.11.7 writes its value."""
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    def read(value: object) -> Any:
        torch.save({"zero_stage": value}, tmp_path / "file")
        return checkpoint._safe_reader().load(str(tmp_path / "file"))["zero_stage"]

    for stage in ZeroStageEnum:
        assert read(stage) is read(Attribute(ZeroStageEnum, stage.name)) is stage
    for value in (Attribute(ZeroStageEnum, "mro"), Attribute(fragment_address, "__init__"), Attribute("", "join")):
        with pytest.raises(pickle.UnpicklingError, match="getattr"):
            read(value)
