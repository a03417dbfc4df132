"""What a model family is: loading, encoding and generating behind one protocol, and the parts that families share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import torch
from PIL.Image import Image
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    GenerationConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from urbanvlm.errors import UserError
from urbanvlm.models import encoding
from urbanvlm.models.adapters import Named, chain_of
from urbanvlm.models.encoding import Row
from urbanvlm.models.registry import FAMILIES, TINY_PRESETS, check_model_type, check_precision
from urbanvlm.models.tiny import seeded

DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LoadedModel:
    """Weights with the processor that belongs to them."""

    model: PreTrainedModel
    """possibly wrapped by PEFT"""
    processor: ProcessorMixin
    family: ModelFamily
    model_id: str
    """where the weights came from: preset and seed, folder, or hub name and revision"""

    def with_model(self, model: nn.Module) -> LoadedModel:
        """The same with another module around, or in place of, the model."""
        return replace(self, model=model)


class ModelFamily(Protocol):
    """All that training and evaluation know of a model."""

    name: str
    former_names: Mapping[str, str]

    def load(
        self,
        checkpoint: str,
        *,
        revision: str | None = None,
        precision: str = "fp32",
        seed: int = 0,
        weights: bool = True,
    ) -> LoadedModel:
        """A tiny preset from random weights, or a folder or hub name; adapters with the checkpoint that they stand on.
        Leaves the global random state alone.

        Without `weights` a checkpoint's are not read: enough for `check_lengths`, and for nothing else.
        Raises UserError where the checkpoint cannot be had, is of another family, or cannot run in that precision.
        """
        ...

    def check_lengths(
        self, loaded: LoadedModel, prompts: Sequence[str], targets: Sequence[str] | None, max_new_tokens: int = 0
    ) -> None:
        """Raise UserError if image, prompt and answer of any example exceed what the model can read.

        The encoders check their own batch too; this one needs no images, so all examples can be checked beforehand.
        """
        ...

    def pixels(self, loaded: LoadedModel, images: Sequence[Image]) -> Tensor:
        """What the vision tower reads: float32 (B, 3, H, W). Who asks often about an image may keep its part."""
        ...

    def encode_training(
        self, loaded: LoadedModel, images: Sequence[Image] | Tensor, prompts: Sequence[str], targets: Sequence[str]
    ) -> dict[str, Tensor]:
        """Inputs of `model(**batch)` on the CPU: int64 tokens, float32 pixel_values (B, 3, H, W), and labels (B, T).

        `images` are pictures, or what `pixels` made of them. labels are -100 on image, prompt and padding: only the
        target and the end of sequence are learnt; beside logits_to_keep (K,) they are (B, K), of those positions alone.
        Line breaks in a target become spaces (one would end OPT's answer).
        """
        ...

    def encode_prompts(
        self, loaded: LoadedModel, images: Sequence[Image] | Tensor, prompts: Sequence[str]
    ) -> dict[str, Tensor]:
        """Inputs of `generate` on the CPU; padded left for decoder-only language models."""
        ...

    def generate(self, loaded: LoadedModel, batch: Mapping[str, Tensor], max_new_tokens: int) -> list[str]:
        """Greedy decoding of what `encode_prompts` made: the new text only, stripped, one per row."""
        ...

    def lora_targets(self, model: nn.Module) -> str:
        """A regular expression that fully matches the names of the language model's linear layers, and no others."""
        ...

    def vision_parameters(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """The vision tower's parameters."""
        ...


class ImageTextFamily(ABC):
    """The shared part of the families; a subclass says where its images, prompts and towers are."""

    name: str
    model_class: type[PreTrainedModel]
    processor_class: type[ProcessorMixin]
    language_path: str
    """dotted name of the language model inside the model"""
    vision_path: str
    former_names: Mapping[str, str] = MappingProxyType({})
    """pattern of a weight's name in files of older libraries -> what it is called now"""

    @abstractmethod
    def build_tiny(self, preset: str) -> tuple[PreTrainedModel, ProcessorMixin]:
        """Model from random weights, with its processor; called with the generator seeded."""

    @abstractmethod
    def prompt_ids(self, loaded: LoadedModel, texts: Sequence[str]) -> list[list[int]]:
        """Image tokens and prompt of each text, in the order the model reads them."""

    def prompt_text(self, loaded: LoadedModel, prompt: str) -> str:
        """The prompt in the form that the checkpoint was trained with."""
        return FAMILIES[self.name].whole_prompt(prompt, str(loaded.processor.image_token))

    def extra_inputs(self, loaded: LoadedModel, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Inputs beyond tokens and pixels; they see the prompts, never the targets."""
        return {}

    @abstractmethod
    def settle(self, model: PreTrainedModel, processor: ProcessorMixin, where: str) -> None:
        """Make model and processor agree after loading; raise UserError where they cannot."""

    # ---- loading

    def load(
        self,
        checkpoint: str,
        *,
        revision: str | None = None,
        precision: str = "fp32",
        seed: int = 0,
        weights: bool = True,
    ) -> LoadedModel:
        if precision not in DTYPES:
            raise UserError(f"precision {precision!r}", "unknown", f"known: {', '.join(DTYPES)}")
        *adapters, (whole, whole_revision) = chain_of(checkpoint, revision)
        if adapters:
            loaded = self.load(whole, revision=whole_revision, precision=precision, seed=seed, weights=weights)
            return _with_adapters(replace(loaded, model_id=checkpoint), adapters if weights else [])
        with seeded(seed):
            if checkpoint in TINY_PRESETS:
                model, processor = self._load_tiny(checkpoint, precision)
                model_id = f"{self.name}/{checkpoint}@seed{seed}"
            else:
                model, processor = self._load_pretrained(checkpoint, revision, precision, weights)
                model_id = f"{checkpoint}@{revision}" if revision else checkpoint
        self.settle(model, processor, checkpoint)
        if None in (processor.tokenizer.pad_token_id, processor.tokenizer.eos_token_id):
            raise UserError(
                f"checkpoint {checkpoint!r}", "its tokenizer names no pad or no eos token", "mend its files"
            )
        loaded = LoadedModel(model, processor, self, model_id)
        _replace_generation_config(loaded)
        model.eval()
        return loaded

    def _load_tiny(self, preset: str, precision: str) -> tuple[PreTrainedModel, ProcessorMixin]:
        presets = FAMILIES[self.name].presets
        if preset not in presets:
            known = ", ".join(presets)
            raise UserError(f"checkpoint {preset!r}", f"{self.name} has no such preset", f"it has: {known}")
        check_precision(presets[preset], precision, preset)
        model, processor = self.build_tiny(preset)
        return model.to(DTYPES[precision]), processor  # type: ignore[arg-type]

    def _load_pretrained(
        self, checkpoint: str, revision: str | None, precision: str, weights: bool
    ) -> tuple[PreTrainedModel, ProcessorMixin]:
        with _loading(checkpoint):
            config = AutoConfig.from_pretrained(checkpoint, revision=revision)
        check_model_type(config.model_type, self.name, checkpoint)
        check_precision(config.text_config.model_type, precision, checkpoint)
        with _loading(checkpoint):
            processor = self.processor_class.from_pretrained(checkpoint, revision=revision)
            # Even where torchvision is installed, as its resampling gives other pixels. Asked of the image processor
            # alone, because the tokenizer would take the same word for its own backend.
            processor.image_processor = AutoImageProcessor.from_pretrained(checkpoint, revision=revision, backend="pil")
            if not weights:
                with torch.device("meta"):
                    return self.model_class(config), processor
            model, report = self.model_class.from_pretrained(
                checkpoint, revision=revision, dtype=DTYPES[precision], output_loading_info=True
            )
        if missing := sorted([*report["missing_keys"], *report["mismatched_keys"]], key=str):
            raise UserError(
                f"checkpoint {checkpoint!r}",
                f"{len(missing)} weights are missing or misshapen, such as {missing[0]}",
                "the download or copy is not whole: make it again",
            )
        return model, processor

    # ---- encoding

    def check_lengths(
        self, loaded: LoadedModel, prompts: Sequence[str], targets: Sequence[str] | None, max_new_tokens: int = 0
    ) -> None:
        if prompts:
            self._rows(loaded, prompts, targets, max_new_tokens)
            self.extra_inputs(loaded, prompts)

    def pixels(self, loaded: LoadedModel, images: Sequence[Image]) -> Tensor:
        return loaded.processor.image_processor(list(images), return_tensors="pt")["pixel_values"]

    def encode_training(
        self, loaded: LoadedModel, images: Sequence[Image] | Tensor, prompts: Sequence[str], targets: Sequence[str]
    ) -> dict[str, Tensor]:
        rows = self._rows(loaded, prompts, targets)
        combine = encoding.encoder_decoder_training if writes_apart(loaded.model) else encoding.decoder_only_training
        return combine(rows, pad_id(loaded)) | self._inputs(loaded, images, prompts)

    def encode_prompts(
        self, loaded: LoadedModel, images: Sequence[Image] | Tensor, prompts: Sequence[str]
    ) -> dict[str, Tensor]:
        rows = self._rows(loaded, prompts, None)
        combine = encoding.encoder_decoder_prompts if writes_apart(loaded.model) else encoding.decoder_only_prompts
        return combine(rows, pad_id(loaded)) | self._inputs(loaded, images, prompts)

    def _inputs(
        self, loaded: LoadedModel, images: Sequence[Image] | Tensor, prompts: Sequence[str]
    ) -> dict[str, Tensor]:
        pixels = images if isinstance(images, Tensor) else self.pixels(loaded, images)
        return {"pixel_values": pixels} | self.extra_inputs(loaded, prompts)

    def _rows(
        self, loaded: LoadedModel, prompts: Sequence[str], targets: Sequence[str] | None, max_new_tokens: int = 0
    ) -> list[Row]:
        texts = [self.prompt_text(loaded, prompt.strip()) for prompt in prompts]
        read = self.prompt_ids(loaded, texts)
        image, count = image_token_id(loaded), image_token_count(loaded)
        for ids, prompt in zip(read, prompts, strict=True):
            if ids.count(image) != count:
                raise UserError(f"prompt {_shorten(prompt)!r}", "contains the image token", "write it in other words")
        write = [[] for _ in prompts] if targets is None else self._target_ids(loaded, texts, read, targets)
        rows = [Row(*ids) for ids in zip(read, write, strict=True)]
        limit = length_limit(loaded.model)
        for row, prompt in zip(rows, prompts, strict=True):
            if limit is None or (length := len(row.prompt) + len(row.target) + max_new_tokens) <= limit:
                continue
            raise UserError(
                f"{loaded.model_id}: prompt {_shorten(prompt)!r}",
                f"{count} image tokens, {len(row.prompt) - count} of the prompt and "
                f"{len(row.target) + max_new_tokens} of the answer make {length}, but the model reads {limit}",
                "shorten the prompt or the answer; image tokens are never cut",
            )
        return rows

    def _target_ids(
        self, loaded: LoadedModel, texts: Sequence[str], read: Sequence[list[int]], targets: Sequence[str]
    ) -> list[list[int]]:
        """What is to be written, end included. In a decoder-only model it goes on where the prompt ends: both are
        tokenised as one text and then split, and no token may straddle the two.
        """
        answers = [" ".join(target.split()) for target in targets]
        if writes_apart(loaded.model):
            return tokenize(loaded, answers)
        wholes = self.prompt_ids(loaded, [f"{text} {answer}" for text, answer in zip(texts, answers, strict=True)])
        for ids, whole, text in zip(read, wholes, texts, strict=True):
            if whole[: len(ids)] != ids:
                raise UserError(
                    f"prompt {_shorten(text)!r}", "its last token changes when an answer follows", "end it with a word"
                )
        end = end_ids(loaded)[0]
        return [[*whole[len(ids) :], end] for ids, whole in zip(read, wholes, strict=True)]

    # ---- generating

    def generate(self, loaded: LoadedModel, batch: Mapping[str, Tensor], max_new_tokens: int) -> list[str]:
        model, width = loaded.model, batch["input_ids"].shape[1]
        apart = writes_apart(model)
        limit = length_limit(model)
        if limit is not None and width + max_new_tokens > limit:
            raise UserError(
                f"{loaded.model_id}: evaluate.max_new_tokens",
                f"{width} tokens of image and prompt and {max_new_tokens} new ones exceed the model's {limit}",
                f"use at most {limit - width}",
            )
        was_training = model.training
        model.eval()
        with torch.no_grad():
            on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
            ids = model.generate(**on_device, max_new_tokens=max_new_tokens)
        model.train(was_training)
        return [self._text(loaded, row) for row in (ids[:, 1:] if apart else ids[:, width:]).tolist()]

    def _text(self, loaded: LoadedModel, ids: list[int]) -> str:
        ends = set(end_ids(loaded))
        end = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        return loaded.processor.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()

    # ---- parts of the model

    def lora_targets(self, model: nn.Module) -> str:
        language = unwrap(model).get_submodule(self.language_path)
        head = language.get_output_embeddings() if hasattr(language, "get_output_embeddings") else None
        layers = {
            name.removesuffix(".base_layer").rpartition(".")[2]  # the layer itself, where it has adapters already
            for name, module in language.named_modules()
            if isinstance(module, nn.Linear) and module is not head and ".lora_" not in name
        }
        return rf"{re.escape(self.language_path)}\..*\.({'|'.join(sorted(layers))})"

    def vision_parameters(self, model: nn.Module) -> Iterator[nn.Parameter]:
        return unwrap(model).get_submodule(self.vision_path).parameters()


# ---- facts about a loaded model


def unwrap(model: nn.Module) -> Any:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def writes_apart(model: nn.Module) -> bool:
    """Is the language model an encoder-decoder (T5), whose answer is a row of its own?"""
    return bool(unwrap(model).config.text_config.is_encoder_decoder)


def tokenize(loaded: LoadedModel, texts: Sequence[str]) -> list[list[int]]:
    """With the special tokens that the tokenizer adds; nothing is cut or padded."""
    return cast("list[list[int]]", loaded.processor.tokenizer(list(texts))["input_ids"]) if texts else []


def pad_id(loaded: LoadedModel) -> int:
    return int(loaded.processor.tokenizer.pad_token_id)


def image_token_id(loaded: LoadedModel) -> int:
    return int(unwrap(loaded.model).config.image_token_id)


def image_token_count(loaded: LoadedModel) -> int:
    """Placeholders that one image needs in the prompt."""
    config = unwrap(loaded.model).config
    return int(getattr(config, "num_query_tokens", None) or config.image_seq_length)


def end_ids(loaded: LoadedModel) -> tuple[int, ...]:
    """Ids that end an answer, the one to learn first.

    The tokenizer's, because instructblip-vicuna-7b's configuration names wrong ones; but OPT inside BLIP-2 was
    trained to end with a line break, which only its configuration knows.
    """
    end = int(loaded.processor.tokenizer.eos_token_id)
    text_config = unwrap(loaded.model).config.text_config
    if text_config.model_type != "opt":
        return (end,)
    return tuple(dict.fromkeys((int(text_config.eos_token_id), end)))


def length_limit(model: nn.Module) -> int | None:
    """Longest row of tokens, image and answer included; None for T5, whose positions are relative."""
    limit = getattr(unwrap(model).config.text_config, "max_position_embeddings", None)
    return None if writes_apart(model) or limit is None else int(limit)


def _replace_generation_config(loaded: LoadedModel) -> None:
    """Greedy, with explicit ids, for the model and the language model in it.

    Replaced rather than overridden: generate() fills every gap from the checkpoint's own settings.
    """
    tokenizer = loaded.processor.tokenizer
    settings = GenerationConfig(
        do_sample=False,
        num_beams=1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=list(end_ids(loaded)),
        pad_token_id=pad_id(loaded),
        decoder_start_token_id=pad_id(loaded) if writes_apart(loaded.model) else None,
    )
    loaded.model.generation_config = settings
    for module in loaded.model.modules():
        if isinstance(module, PreTrainedModel) and module.can_generate():
            module.generation_config = settings


def _with_adapters(loaded: LoadedModel, adapters: Sequence[Named]) -> LoadedModel:
    """Those that stand on the model itself are the last."""
    if adapters:
        # PEFT takes seconds to import.
        from urbanvlm.models.lora import load_lora

        for folder, _ in reversed(adapters):
            loaded = load_lora(loaded, Path(folder))
    return loaded


@contextmanager
def _loading(checkpoint: str) -> Iterator[None]:
    """What the libraries raise for a checkpoint that is not there, or not whole, as the user's error."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        there = "make fetch gets what is missing of a checkpoint of the hub; a folder must hold a whole model"
        raise UserError(f"checkpoint {checkpoint!r}", f"cannot be loaded ({reason})", there) from error


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
