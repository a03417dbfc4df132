"""Where a training run stands, as its checkpoints remember it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class TrainState:
    """All that, with the weights and the optimizer's state, decides every later step."""

    global_step: int
    """optimizer steps done"""
    epoch: int
    """full passes done"""
    examples_seen: int
    data_fingerprint: str
    """hash of the examples, their prompts and the sizes of their pictures"""
    world_size: int
    best_validation_loss: float | None = None
    best_step: int | None = None

    def after_step(self, train_batch_size: int, examples: int) -> TrainState:
        """The state one optimizer step later, over a training split of so many examples."""
        seen = self.examples_seen + train_batch_size
        return replace(self, global_step=self.global_step + 1, examples_seen=seen, epoch=seen // examples)

    def with_validation(self, loss: float) -> TrainState:
        """The state after a validation at this step; the earlier of two equal losses stays the best."""
        if self.best_validation_loss is not None and not loss < self.best_validation_loss:
            return self
        return replace(self, best_validation_loss=loss, best_step=self.global_step)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainState:
        return cls(**json.loads(text))
