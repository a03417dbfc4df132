"""What a training run tells while it runs: TensorBoard, and the same figures as lines of metrics.jsonl."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from urbanvlm.records import write_atomic


@dataclass(frozen=True)
class Sample:
    """A picture with what was asked, what is right and what the model said."""

    id: str
    image: Image.Image
    question: str
    answer: str
    text: str


class Telemetry:
    """Writes as rank 0. Rows beyond the step that a run resumes from are forgotten: they will come again."""

    def __init__(self, tensorboard: Path, metrics: Path, resumed_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        metrics.parent.mkdir(parents=True, exist_ok=True)
        _truncate(metrics, resumed_step)
        self._metrics = metrics.open("a", encoding="utf-8")
        self._writer = SummaryWriter(str(tensorboard), purge_step=resumed_step + 1)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """One row of metrics.jsonl, and a TensorBoard scalar `train/<name>` or `validation/<name>` for each figure."""
        self._metrics.write(json.dumps({"step": step, **figures}) + "\n")
        self._metrics.flush()
        for name, value in figures.items():
            group, _, rest = name.partition("_")
            tag = f"validation/{rest}" if group == "validation" else f"train/{name}"
            self._writer.add_scalar(tag, value, step)
        self._writer.flush()

    def samples(self, step: int, samples: Iterable[Sample]) -> None:
        """Pictures with their question, gold answer and prediction written below, and the same as text."""
        for sample in samples:
            self._writer.add_image(f"sample/{sample.id}", _captioned(sample), step, dataformats="HWC")
            lines = (f"**question** {sample.question}", f"**answer** {sample.answer}", f"**prediction** {sample.text}")
            self._writer.add_text(f"sample/{sample.id}", "\n\n".join(lines), step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
        self._metrics.close()


def memory_mib(device: torch.device) -> float:
    """Most memory held so far, in MiB: of the GPU by tensors, or on the CPU by this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _truncate(metrics: Path, last_step: int) -> None:
    """Keep the rows up to and with `last_step`; a line torn by a kill goes as well."""
    if not metrics.exists():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > last_step:
            break
        kept.append(line)
    write_atomic(metrics, "".join(kept))


def _captioned(sample: Sample) -> np.ndarray:
    """uint8 (H, W, 3): the picture, and below it three lines of text."""
    width, line_height = max(sample.image.width, 384), 14
    page = Image.new("RGB", (width, sample.image.height + 3 * line_height + 4), "white")
    page.paste(sample.image.convert("RGB"))
    draw = ImageDraw.Draw(page)
    lines = (sample.question, f"answer: {sample.answer}", f"prediction: {sample.text}")
    for number, line in enumerate(lines):
        # The built-in font knows Latin-1 only.
        shown = line.replace("\n", " ").encode("latin-1", "replace").decode("latin-1")
        draw.text((4, sample.image.height + 2 + number * line_height), shown, fill="black")
    return np.asarray(page)
