"""The parts of training that are values in, values out: batching, schedule, state, checkpoints on disk, metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from urbanvlm.errors import UserError
from urbanvlm.experiment import Train
from urbanvlm.run_folder import fingerprint, mark_complete
from urbanvlm.train import checkpoint, export
from urbanvlm.train.batching import Batching, validation_batches, validation_choice
from urbanvlm.train.engine import deepspeed_config, learning_rate
from urbanvlm.train.state import TrainState

STATE = TrainState(100, 2, 3200, "f" * 64, 2, 0.25, 80)


def settings(**changes: object) -> Train:
    given = {"max_steps": 100, "train_batch_size": 8, "micro_batch_size": 2, "learning_rate": 1e-3} | changes
    return Train.model_validate(given)


def batch_of(batching: Batching, step: int) -> list[int]:
    """The train batch of a step in the order in which it stands in the epoch."""
    ranks = [batching.step_batches(step, rank) for rank in range(batching.world_size)]
    return [index for micro in zip(*ranks, strict=True) for block in micro for index in block]


class TestBatching:
    @given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
    def test_epochs_show_every_example_equally_often(
        self, examples: int, micro: int, accumulation: int, world_size: int, epochs: int
    ) -> None:
        batching = Batching(examples, micro, accumulation, world_size, seed=3)
        seen = [i for step in range(batching.total_steps(epochs, None)) for i in batch_of(batching, step)]
        whole, rest = seen[: epochs * examples], seen[epochs * examples :]
        assert set(Counter(whole).values()) == {epochs}
        assert set(whole) == set(range(examples))
        assert len(rest) < batching.train_batch_size

    @pytest.mark.parametrize("cut", [(8, 1, 1), (1, 8, 1), (4, 2, 1), (4, 1, 2), (2, 2, 2), (2, 1, 4), (1, 2, 4)])
    def test_a_train_batch_does_not_depend_on_its_cut(self, cut: tuple[int, int, int]) -> None:
        whole, other = Batching(21, 8, 1, 1, seed=5), Batching(21, *cut, seed=5)
        assert [batch_of(other, step) for step in range(9)] == [batch_of(whole, step) for step in range(9)]

    def test_epochs_and_seeds_have_their_own_order(self) -> None:
        batching = Batching(50, 50, 1, 1, seed=0)
        orders = {tuple(batch_of(b, step)) for b in (batching, replace(batching, seed=1)) for step in range(3)}
        assert len(orders) == 6

    @given(st.integers(1, 50), st.integers(1, 5), st.integers(1, 4))
    def test_validation_batches_cover_once_and_are_as_many_on_each_rank(
        self, examples: int, micro: int, world_size: int
    ) -> None:
        ranks = [validation_batches(examples, micro, rank, world_size) for rank in range(world_size)]
        assert sorted(i for rank in ranks for batch in rank for i in batch) == list(range(examples))
        assert len({len(rank) for rank in ranks}) == 1

    def test_validation_choice_is_fixed_and_not_the_files_first(self) -> None:
        chosen = validation_choice(1000, 100, seed=1)
        assert chosen == validation_choice(1000, 100, seed=1)
        assert len(set(chosen)) == 100
        assert chosen[-1] > 900
        assert validation_choice(5, 100, seed=1) == [0, 1, 2, 3, 4]


class TestSchedule:
    def test_warms_up_to_the_peak_then_falls_to_nearly_nothing(self) -> None:
        rates = [learning_rate(settings(warmup_steps=10), step, 100) for step in range(100)]
        assert rates[:10] == pytest.approx([1e-4 * n for n in range(1, 11)])
        assert max(rates) == rates[9] == 1e-3
        assert all(np.diff(rates[10:]) < 0)
        assert rates[55] == pytest.approx(0.5e-3)
        assert 0 < rates[-1] < 1e-6

    def test_constant_stays(self) -> None:
        rates = {learning_rate(settings(schedule="constant", warmup_steps=4), step, 100) for step in range(4, 100)}
        assert rates == {1e-3}

    def test_warm_up_may_be_longer_than_the_training(self) -> None:
        assert learning_rate(settings(warmup_steps=50), 9, 10) == pytest.approx(2e-4)


class TestEngineSettings:
    def test_the_batch_is_what_the_experiment_says(self) -> None:
        config = deepspeed_config(settings(gradient_accumulation_steps=2), "bf16", 1000, on_gpu=False)
        assert config["train_batch_size"] == 8
        assert config["train_micro_batch_size_per_gpu"] == 2
        assert config["gradient_accumulation_steps"] == 2
        assert config["bf16"]["enabled"]
        assert not config["fp16"]["enabled"]


class TestState:
    def test_survives_json_exactly(self) -> None:
        state = replace(STATE, best_validation_loss=0.1 + 0.2)
        assert TrainState.from_json(state.to_json()) == state

    def test_counts(self) -> None:
        state = TrainState(0, 0, 0, "", 1)
        for _ in range(3):
            state = state.after_step(8, examples=20)
        assert (state.global_step, state.examples_seen, state.epoch) == (3, 24, 1)

    def test_only_a_lower_loss_is_a_new_best(self) -> None:
        assert STATE.with_validation(0.25).best_step == 80
        assert STATE.with_validation(0.3) == STATE
        assert STATE.with_validation(0.2).best_step == 100


def write_checkpoint(checkpoints: Path, step: int) -> Path:
    """What a checkpoint is on disk, without DeepSpeed's part in making it."""
    folder = checkpoint.folder_of(checkpoints, step)
    (folder / "deepspeed").mkdir(parents=True)
    (folder / "deepspeed" / "weights.pt").write_bytes(bytes(range(200)))
    (folder / "state.json").write_text(replace(STATE, global_step=step).to_json())
    mark_complete(folder, {"files": checkpoint.facts_of(folder)})
    return folder


class TestCheckpointsOnDisk:
    def test_the_newest_good_one_is_taken(self, tmp_path: Path) -> None:
        assert checkpoint.newest(tmp_path) is None
        write_checkpoint(tmp_path, 90)
        newest = write_checkpoint(tmp_path, 100)
        assert checkpoint.newest(tmp_path) == newest
        assert checkpoint.read_state(newest).global_step == 100

    @pytest.mark.parametrize("damage", ["flip", "shorten", "remove", "marker"])
    def test_a_broken_one_is_set_aside_and_said(
        self, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        good, bad = write_checkpoint(tmp_path, 90), write_checkpoint(tmp_path, 100)
        weights = bad / "deepspeed" / "weights.pt"
        if damage == "flip":
            weights.write_bytes(bytes([255, *range(1, 200)]))
        elif damage == "shorten":
            weights.write_bytes(bytes(range(100)))
        elif damage == "remove":
            weights.unlink()
        else:
            (bad / "COMPLETE").write_text('{"files": {"dee')
        assert checkpoint.newest(tmp_path) == good
        assert bad.with_name("step-00000100.broken").is_dir()
        assert not bad.exists()
        assert "set aside as step-00000100.broken" in caplog.text

    def test_an_unfinished_one_is_removed(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        good, torn = write_checkpoint(tmp_path, 90), write_checkpoint(tmp_path, 100)
        (torn / "COMPLETE").unlink()
        assert checkpoint.newest(tmp_path) == good
        assert not torn.exists()
        assert "not finished" in caplog.text

    def test_prune_keeps_the_newest(self, tmp_path: Path) -> None:
        written = [write_checkpoint(tmp_path, step) for step in (10, 20, 30, 40)]
        assert checkpoint.prune(tmp_path, keep=2) == written[2:]
        assert sorted(tmp_path.iterdir()) == written[2:]

    def test_another_world_size_is_refused_in_one_line(self, tmp_path: Path) -> None:
        checkpoint.check_resumable(tmp_path, STATE, "f" * 64, 2)
        with pytest.raises(UserError, match="written by 2 processes and cannot be read by 4"):
            checkpoint.check_resumable(tmp_path, STATE, "f" * 64, 4)

    def test_other_data_is_refused_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="other examples"):
            checkpoint.check_resumable(tmp_path, STATE, "e" * 64, 2)


class TestBestWeights:
    def test_must_be_there_and_unchanged(self, tmp_path: Path) -> None:
        file = export.best_file(tmp_path, 80)
        assert export.best_is_whole(tmp_path, None)
        assert not export.best_is_whole(tmp_path, 80)
        file.write_bytes(b"weights")
        assert not export.best_is_whole(tmp_path, 80)
        mark_complete(file, {"sha256": fingerprint(file)})
        assert export.best_is_whole(tmp_path, 80)
        file.write_bytes(b"weighty")
        assert not export.best_is_whole(tmp_path, 80)

    def test_prune_keeps_what_checkpoints_speak_of(self, tmp_path: Path) -> None:
        for step in (20, 40, 60):
            file = export.best_file(tmp_path, step)
            file.write_bytes(b"weights")
            mark_complete(file)
        export.prune_best(tmp_path, {40, None})
        assert {p.name for p in tmp_path.iterdir()} == {
            "step-00000040.safetensors",
            "step-00000040.COMPLETE",
        }
