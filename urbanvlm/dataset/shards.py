"""Which examples a shard answers, and in which batches: fixed by the plan, whoever does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shard_of(examples: Sequence[Item], index: int, count: int) -> list[Item]:
    """Part `index` of `count`: contiguous, in order, sizes differing by at most one; together they are all examples."""
    if not 0 <= index < count:
        raise ValueError(f"there is no shard {index} of {count}")
    return list(examples[len(examples) * index // count : len(examples) * (index + 1) // count])


def batches(examples: Sequence[Item], size: int) -> list[list[Item]]:
    """Consecutive batches of `size`, the last one possibly smaller."""
    return [list(examples[start : start + size]) for start in range(0, len(examples), size)]
