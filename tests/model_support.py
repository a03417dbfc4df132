"""Small pictures, tiny models of every kind and a training loop, for the tests of the model families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image

from urbanvlm.models.family import LoadedModel
from urbanvlm.models.registry import get_family

KINDS = (
    ("blip2", "tiny"),
    ("blip2", "tiny-opt"),
    ("instructblip", "tiny"),
    ("instructblip", "tiny-llama"),
    ("llava", "tiny"),
)
PROMPTS = (
    "Is there a car in the scene? Answer yes or no.",
    "How many trees are in the picture, near and far, counted from the left side to the right side? Answer.",
    "Which class is mainly at the top?",
)
TARGETS = ("Yes", "left side", "12")


@cache
def shared(family: str, preset: str) -> LoadedModel:
    """One instance for the tests that change nothing in it."""
    return get_family(family).load(preset, seed=1)  # of seed 0, instructblip says one word to everything


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in pixels]


def half_bright(count: int, seed: int) -> Iterator[tuple[Image.Image, str]]:
    """Pictures of which the left or the right half is the brighter, and which."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        pixels = rng.integers(60, 140, (64, 64, 3))
        right = bool(rng.integers(2))
        pixels[:, 32:] += 60 if right else -30
        pixels[:, :32] += -30 if right else 60
        yield Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "right side" if right else "left side"


def fit(loaded: LoadedModel, rows: Sequence[tuple[Image.Image, str, str]], steps: int, batch: int) -> None:
    """Plain AdamW on (image, prompt, target) rows, in order, over and over."""
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    loaded.model.train()
    for step in range(steps):
        chosen = [rows[(step * batch + i) % len(rows)] for i in range(batch)]
        images, prompts, targets = zip(*chosen, strict=True)
        loss = loaded.model(**loaded.family.encode_training(loaded, images, prompts, targets)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(loaded.model.parameters(), 1.0)
        optimizer.step()
    loaded.model.eval()
