"""What is computed at a step, whatever the cut into ranks: the gradient, the validation loss, sample answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from urbanvlm.dataset.images import open_image
from urbanvlm.errors import UserError
from urbanvlm.models.family import LoadedModel, unwrap
from urbanvlm.models.pixels import Pixels
from urbanvlm.records import Example
from urbanvlm.runtime.process_group import ProcessGroup
from urbanvlm.runtime.telemetry import Sample
from urbanvlm.train.batching import Batching, validation_batches
from urbanvlm.train.data import TrainingData
from urbanvlm.train.engine import whole_weights

SAMPLES = 4
"""validation examples shown as pictures in TensorBoard"""


@dataclass(frozen=True)
class Learner:
    """A model in its engine with what it learns from, in one process of the group."""

    engine: Any
    loaded: LoadedModel
    data: TrainingData
    batching: Batching
    group: ProcessGroup
    pixels: Pixels

    def accumulate_gradient(self, step: int) -> float:
        """Forward and backward over this rank's part of train batch `step`, counted from 0.

        Returns the loss: the mean over the learnt tokens of the whole train batch, the same on every rank. DeepSpeed
        averages over micro batches and ranks whatever their numbers of tokens, so each micro batch's loss is weighted
        to turn that average into the mean over all tokens. So neither loss nor gradient depends on how the train
        batch is cut. Raises UserError, on all ranks, if the loss is not finite.
        """
        batches = [
            self._encode([self.data.examples[i] for i in indices])
            for indices in self.batching.step_batches(step, self.group.rank)
        ]
        (tokens,) = self.group.sum(sum(_learnt_tokens(batch) for batch in batches))
        averaged_over = len(batches) * self.group.world_size
        loss = torch.zeros((), dtype=torch.float64)
        for number, batch in enumerate(batches, start=1):
            share = self.engine(**batch).loss.float() * (_learnt_tokens(batch) / tokens)
            self.engine.backward(share * averaged_over)
            loss += share.detach().double().cpu()
            if number < len(batches):
                # DeepSpeed counts micro batches by calls of step(); only the last one updates, and is the caller's.
                self.engine.step()
        (total,) = self.group.sum(float(loss))
        check_finite(total, "loss", step)
        return total

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean loss over all learnt tokens of the validation examples, which the ranks share."""
        self.engine.eval()
        loss, tokens = 0.0, 0
        examples, group = self.data.validation, self.group
        for indices in validation_batches(len(examples), self.batching.micro_batch_size, group.rank, group.world_size):
            # Without examples of its own a rank goes along with any: ZeRO-3 gathers weights in every forward.
            batch = self._encode([examples[i] for i in indices or [0]])
            mean = float(self.engine(**batch).loss)
            if indices:
                loss += mean * _learnt_tokens(batch)
                tokens += _learnt_tokens(batch)
        self.engine.train()
        loss, all_tokens = group.sum(loss, tokens)
        return loss / all_tokens

    def samples(self, max_new_tokens: int) -> list[Sample]:
        """Answers to the first validation examples. Every rank generates the same: ZeRO-3 needs them all."""
        examples = self.data.validation[:SAMPLES]
        images = [open_image(self.data.images, e.image_id) for e in examples]
        prompts = [self.data.prompt(e) for e in examples]
        family = self.loaded.family
        batch = family.encode_prompts(self.loaded, images, prompts)
        # generate() goes round the forward() in which ZeRO-3 would gather what hangs on the model directly.
        with whole_weights(self.engine, list(unwrap(self.loaded.model).parameters(recurse=False))):
            texts = family.generate(self.loaded, batch, max_new_tokens)
        return [
            Sample(e.id, image, prompt, self.data.target(e), text)
            for e, image, prompt, text in zip(examples, images, prompts, texts, strict=True)
        ]

    def _encode(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """A training batch on the device; see `ModelFamily.encode_training`."""
        batch = self.loaded.family.encode_training(
            self.loaded,
            self.pixels.of([e.image_id for e in examples]),
            [self.data.prompt(e) for e in examples],
            [self.data.target(e) for e in examples],
        )
        return {name: tensor.to(self.group.device) for name, tensor in batch.items()}


def check_finite(value: float, name: str, step: int) -> None:
    """Raise UserError if training has come apart; all ranks hold the same value, so all stop."""
    if not math.isfinite(value):
        raise UserError(
            f"training step {step + 1}",
            f"the {name} is {value}",
            "lower train.learning_rate or lengthen train.warmup_steps; in fp16, try bf16",
        )


def _learnt_tokens(batch: dict[str, Tensor]) -> int:
    """Labels that count; a model's loss is the mean over them."""
    return int((batch["labels"] != -100).sum())
