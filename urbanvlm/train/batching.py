"""Which examples each step of each rank learns from: a pure function of the seed, the step and the rank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from urbanvlm.runtime.determinism import derived_seed


@dataclass(frozen=True)
class Batching:
    """How a train batch is cut: rank r's micro batch a of a step is block `a * world_size + r` of that batch.

    The blocks together are the train batch whatever the cut, so a step learns from the same examples under every
    split into micro batches and ranks.
    """

    examples: int
    """in the training split"""
    micro_batch_size: int
    accumulation: int
    world_size: int
    seed: int

    @property
    def train_batch_size(self) -> int:
        return self.micro_batch_size * self.accumulation * self.world_size

    def total_steps(self, epochs: int | None, max_steps: int | None) -> int:
        """Optimizer steps of the training; of the last train batch of the last epoch, see `step_batches`."""
        if max_steps is not None:
            return max_steps
        assert epochs is not None
        return -(-epochs * self.examples // self.train_batch_size)

    def step_batches(self, step: int, rank: int) -> list[list[int]]:
        """Indices into the training split of each micro batch of optimizer step `step`, counted from 0.

        The epochs are read as one endless row, each a new permutation of all examples. So every train batch is full,
        one may end an epoch and begin the next, and N epochs show each example N times; only to fill the very last
        train batch, fewer examples than one batch of the epoch after the last are shown once more.
        """
        start = step * self.train_batch_size
        blocks = (accumulated * self.world_size + rank for accumulated in range(self.accumulation))
        firsts = (start + block * self.micro_batch_size for block in blocks)
        return [[self._at(first + i) for i in range(self.micro_batch_size)] for first in firsts]

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self.examples)
        return int(epoch_order(self.examples, self.seed, epoch)[offset])


@lru_cache(maxsize=2)
def epoch_order(examples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of range(examples), int64, in which an epoch reads them."""
    return np.random.default_rng(derived_seed(seed, "order", epoch)).permutation(examples)


def validation_choice(examples: int, most: int, seed: int) -> list[int]:
    """The validation examples of a run: all, or a fixed random choice, as a file's first rows may be of one place."""
    order = np.random.default_rng(derived_seed(seed, "validation")).permutation(examples)
    return sorted(order[:most].tolist())


def validation_batches(examples: int, micro_batch_size: int, rank: int, world_size: int) -> list[list[int]]:
    """This rank's share of range(examples): as many batches on every rank, as ZeRO-3 demands, so some may be empty."""
    size = micro_batch_size * world_size
    starts = range(rank * micro_batch_size, -(-examples // size) * size, size)
    return [list(range(start, min(start + micro_batch_size, examples))) for start in starts]
