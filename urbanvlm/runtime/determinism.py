"""Randomness that derives from what is being done, never from what was done before."""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import torch


def derived_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) from its parts, such as (seed, "dropout", step, rank); equal on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_everything(*parts: int | str) -> None:
    """Seed Python's, NumPy's and torch's global generators, the last on every device.

    Called at each step with the step's number, so that a resumed process needs no saved generator state.
    """
    seed = derived_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def configure_determinism(threads: int) -> None:
    """Fix the thread count, on which the order of a CPU's float sums depends, and take deterministic algorithms.

    An operation without a deterministic algorithm warns instead of failing: better a run that says so than none.
    """
    torch.set_num_threads(threads)
    # Read by cuBLAS at its first call, hence before any work on a GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling every fresh tensor with NaN is a debugging aid and costs time at each allocation.
    torch.utils.deterministic.fill_uninitialized_memory = False
