"""Parts of tiny models that learn from random weights in seconds: sizes, configurations, tokenizer, initial values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, processors
from torch import nn
from transformers import LlamaConfig, OPTConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, T5Config

from urbanvlm.models.tiny_tokenizer import TOKENIZER_FILE

IMAGE_TOKEN = "<image>"
"""part of the shipped vocabulary"""

LanguageModel = Literal["t5", "opt", "llama"]


@dataclass(frozen=True, slots=True)
class TinySize:
    """Dimensions of a tiny model, in pixels, tokens, layers and features."""

    image_size: int = 64
    patch_size: int = 8
    hidden: int = 64
    mlp: int = 128
    heads: int = 4
    vision_layers: int = 1
    qformer_layers: int = 2
    language_layers: int = 2
    query_tokens: int = 8
    init: float = 0.125
    """standard deviation of new weights, about 1 / sqrt(hidden); the libraries' 0.02 is made for wide layers"""
    positions: int = 512
    """longest row of a decoder-only language model, image tokens included"""


IMAGE_MEAN, IMAGE_STD = [0.5] * 3, [0.2] * 3
"""of the rendered scenes' colours, 0..1, rounded: what all patches have in common would drown what tells them apart"""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator starts at `seed` inside and is as before outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def tiny_tokenizer(language_model: LanguageModel) -> PreTrainedTokenizerFast:
    """The shipped vocabulary with the special tokens placed as that language model's own tokenizer places them."""
    backend = Tokenizer.from_file(str(TOKENIZER_FILE))
    bos = "</s>" if language_model == "opt" else "<s>"  # OPT begins and ends with one token
    template = "$A </s>" if language_model == "t5" else f"{bos} $A"
    used = "</s>" if language_model == "t5" else bos
    backend.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(used, backend.token_to_id(used))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=None if language_model == "t5" else bos,
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def language_config(
    language_model: LanguageModel, tokenizer: PreTrainedTokenizerFast, size: TinySize
) -> PreTrainedConfig:
    """A T5 (gated as flan's), OPT or LLaMA without dropout."""
    vocabulary = len(tokenizer)
    if language_model == "t5":
        return T5Config(
            vocab_size=vocabulary,
            d_model=size.hidden,
            d_kv=size.hidden // size.heads,
            d_ff=size.mlp,
            num_layers=size.language_layers,
            num_decoder_layers=1,  # it writes an answer of a word or two; the encoder compares and combines
            num_heads=size.heads,
            feed_forward_proj="gated-silu",  # flan's gelu_new is nine operations where this is one
            dropout_rate=0.0,
            tie_word_embeddings=False,  # flan's setting; what it does is to leave the decoder's output unscaled
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    shared: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": size.hidden,
        "num_hidden_layers": size.language_layers,
        ("init_std" if language_model == "opt" else "initializer_range"): size.init,
        "num_attention_heads": size.heads,
        "max_position_embeddings": size.positions,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    if language_model == "llama":
        return LlamaConfig(intermediate_size=size.mlp, eos_token_id=tokenizer.eos_token_id, **shared)
    return OPTConfig(
        ffn_dim=size.mlp,
        word_embed_proj_dim=size.hidden,
        dropout=0.0,
        attention_dropout=0.0,
        eos_token_id=tokenizer.convert_tokens_to_ids("<0x0A>"),  # the line break, as in blip2-opt-2.7b
        **shared,
    )


def blip_vision_config(size: TinySize) -> dict[str, Any]:
    """Of BLIP-2 and InstructBLIP; their default initializer_range of 1e-10 would keep a new tower blind."""
    return {
        "hidden_size": size.hidden,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.vision_layers,
        "num_attention_heads": size.heads,
        "image_size": size.image_size,
        "patch_size": size.patch_size,
        "initializer_range": 0.05,
    }


def qformer_config(vocabulary: int, size: TinySize) -> dict[str, Any]:
    """Cross-attention to the image in every layer, no dropout."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": size.hidden,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.qformer_layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": size.positions,
        "encoder_hidden_size": size.hidden,
        "cross_attention_frequency": 1,
        "hidden_dropout_prob": 0.0,
        "initializer_range": size.init,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
    }


@torch.no_grad()
def spread_queries(query_tokens: nn.Parameter) -> None:
    """Draw from N(0, 1): query tokens start at zero, and equal ones would stay equal for ever."""
    query_tokens.normal_()


@torch.no_grad()
def open_eyes(patches: nn.Conv2d, positions: nn.Parameter) -> None:
    """Let a new vision tower tell colours and places apart from the first step.

    Patch filters are smooth, 4 x 4 random values stretched over the patch, so that an even colour gets an answer of
    about 3 instead of one that white noise drowns; positions are drawn from N(0, 0.5), not nearly equal.
    """
    side, coarse = patches.kernel_size[0], 4
    filters = torch.randn(patches.out_channels, patches.in_channels, coarse, coarse)
    filters = nn.functional.interpolate(filters, size=(side, side), mode="bilinear", align_corners=False)
    patches.weight.copy_(filters * 3 * coarse / (side**2 * math.sqrt(patches.in_channels)))
    positions.normal_(std=0.5)


WORD_STD = {"t5": 0.2, "llama": 0.1}
"""of new word embeddings, where two layers learn quickly beside image tokens; OPT's serve as its output layer too"""


@torch.no_grad()
def scale_words(language_model: PreTrainedModel) -> None:
    """Redraw the word embeddings of T5 (1.0 from the library) and LLaMA."""
    if std := WORD_STD.get(language_model.config.model_type):
        language_model.get_input_embeddings().weight.normal_(std=std)
