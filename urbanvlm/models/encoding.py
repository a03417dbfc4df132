"""Token rows to padded batches: what a model reads and what it shall learn to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

IGNORED = -100
"""the label that the cross-entropy leaves out"""


@dataclass(frozen=True, slots=True)
class Row:
    """One example in token ids."""

    prompt: list[int]
    """image tokens and prompt: what the model reads"""
    target: list[int]
    """answer and end of sequence: what it learns to write; empty when it is to generate"""


def pad(rows: Sequence[Sequence[int]], value: int, side: Literal["left", "right"]) -> Tensor:
    """Rows of any lengths -> int64 (B, T), T the longest, filled up with `value` on `side`."""
    width = max(len(row) for row in rows)
    filler = [[value] * (width - len(row)) for row in rows]
    padded = [[*f, *row] if side == "left" else [*row, *f] for row, f in zip(rows, filler, strict=True)]
    return torch.tensor(padded, dtype=torch.int64)


def _read(rows: Sequence[Sequence[int]], pad_id: int, side: Literal["left", "right"]) -> dict[str, Tensor]:
    return {"input_ids": pad(rows, pad_id, side), "attention_mask": pad([[1] * len(row) for row in rows], 0, side)}


def decoder_only_training(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Prompt and target in one row, padded right: input_ids and attention_mask, (B, T). All int64.

    labels (B, K) and logits_to_keep (K,) are of the last K positions: before them every row is prompt, whose logits,
    as wide as the vocabulary, nobody needs. The first of them is the last token of the shortest prompt, because it
    predicts that row's answer.
    """
    read = _read([row.prompt + row.target for row in rows], pad_id, "right")
    width = read["input_ids"].shape[1]
    first = min(len(row.prompt) for row in rows) - 1
    labels = pad([[IGNORED] * len(row.prompt) + row.target for row in rows], IGNORED, "right")
    return read | {"labels": labels[:, first:], "logits_to_keep": torch.arange(first, width)}


def decoder_only_prompts(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Prompts padded left, because generation goes on at the right end. int64 (B, T)."""
    return _read([row.prompt for row in rows], pad_id, "left")


def encoder_decoder_training(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Prompts for the encoder (B, T), labels for the decoder (B, U), both padded right, int64."""
    labels = pad([row.target for row in rows], IGNORED, "right")
    return encoder_decoder_prompts(rows, pad_id) | {"labels": labels}


def encoder_decoder_prompts(rows: Sequence[Row], pad_id: int) -> dict[str, Tensor]:
    """Prompts for the encoder, padded right. int64 (B, T)."""
    return _read([row.prompt for row in rows], pad_id, "right")
