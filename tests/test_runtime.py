"""Process group, determinism and telemetry."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from urbanvlm.runtime.determinism import derived_seed, seed_everything
from urbanvlm.runtime.process_group import process_group
from urbanvlm.runtime.telemetry import Sample, Telemetry, memory_mib


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


class TestDeterminism:
    def test_the_same_parts_give_the_same_draws(self) -> None:
        seed_everything(0, "step", 7, 1)
        first = draw()
        draw()
        seed_everything(0, "step", 7, 1)
        assert draw() == first

    def test_every_part_matters(self) -> None:
        parts = [(0, "step", 7, 1), (1, "step", 7, 1), (0, "step", 8, 1), (0, "step", 7, 0), (0, "step", 71)]
        assert len({derived_seed(*p) for p in parts}) == len(parts)

    def test_a_seed_is_the_same_on_every_machine(self) -> None:
        assert derived_seed(0, "order", 3) == 2243224229351528686


class TestProcessGroup:
    def test_one_process_goes_the_same_way_twice(self) -> None:
        for _ in range(2):
            with process_group(0, 0, 1) as group:
                assert group.is_first
                assert group.sum(1.5, 2.0) == (1.5, 2.0)
                assert group.from_first(Path("/here")) == Path("/here")
                group.barrier()
            assert not torch.distributed.is_initialized()

    def test_a_job_submitted_later_inherits_nothing_of_it(self) -> None:
        before = dict(os.environ)
        with process_group(0, 0, 1):
            assert os.environ["WORLD_SIZE"] == "1"
        assert dict(os.environ) == before


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, round(event.value, 6)) for event in accumulator.Scalars(tag)]


class TestTelemetry:
    def test_a_resumed_run_has_every_step_once(self, tmp_path: Path) -> None:
        metrics, board = tmp_path / "train" / "metrics.jsonl", tmp_path / "tensorboard"
        first = Telemetry(board, metrics, resumed_step=0)
        for step in range(1, 6):
            first.figures(step, {"loss": 10.0 + step})
        with metrics.open("a") as torn:
            torn.write('{"step": 6, "lo')
        resumed = Telemetry(board, metrics, resumed_step=3)
        for step in range(4, 7):
            resumed.figures(step, {"loss": 20.0 + step, "validation_loss": 1.0})
        resumed.close()
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        expected = [(1, 11.0), (2, 12.0), (3, 13.0), (4, 24.0), (5, 25.0), (6, 26.0)]
        assert [(row["step"], row["loss"]) for row in rows] == expected
        assert scalars(board, "train/loss") == expected
        assert [step for step, _ in scalars(board, "validation/loss")] == [4, 5, 6]

    def test_samples_are_pictures_with_their_words(self, tmp_path: Path) -> None:
        telemetry = Telemetry(tmp_path / "board", tmp_path / "metrics.jsonl", resumed_step=0)
        picture = Image.new("RGB", (64, 64), "red")
        telemetry.samples(3, [Sample("a#0", picture, "How many cars?", "2", "“zwölf” 車\nno")])
        telemetry.close()
        accumulator = EventAccumulator(str(tmp_path / "board"))
        accumulator.Reload()
        (image,) = accumulator.Images("sample/a#0")
        assert image.step == 3
        assert image.height > 64
        (text,) = accumulator.Tensors("sample/a#0/text_summary")
        assert "zwölf" in text.tensor_proto.string_val[0].decode()

    def test_memory_is_in_mib(self) -> None:
        assert 50 < memory_mib(torch.device("cpu")) < 100_000
