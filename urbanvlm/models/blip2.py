"""BLIP-2: the image as query tokens before the text, read by OPT or flan-T5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    PreTrainedModel,
    ProcessorMixin,
)

from urbanvlm.errors import UserError
from urbanvlm.models import tiny
from urbanvlm.models.family import ImageTextFamily, LoadedModel, image_token_count, image_token_id, tokenize

SIZE = tiny.TinySize()


class QFormerFamily(ImageTextFamily):
    """What BLIP-2 and InstructBLIP share: a Q-Former's query tokens stand before the prompt, even before its bos."""

    language_path = "language_model"
    vision_path = "vision_model"

    def prompt_ids(self, loaded: LoadedModel, texts: Sequence[str]) -> list[list[int]]:
        image = [image_token_id(loaded)] * image_token_count(loaded)
        return [image + ids for ids in tokenize(loaded, texts)]

    def settle(self, model: PreTrainedModel, processor: ProcessorMixin, where: str) -> None:
        config: Any = model.config
        if config.image_token_id is None:  # then the library would leave the image out without a word
            raise UserError(
                f"checkpoint {where!r}", "its config.json has no image_token_index", "use a newer revision of it"
            )
        processor.num_query_tokens = config.num_query_tokens

    @staticmethod
    def wake_tiny(model: Any) -> None:
        """Replace the library's initial values that keep a model of this kind from learning."""
        eyes = model.vision_model.embeddings
        tiny.open_eyes(eyes.patch_embedding, eyes.position_embedding)
        tiny.spread_queries(model.query_tokens)
        tiny.scale_words(model.language_model)


def tiny_image_processor(size: tiny.TinySize) -> BlipImageProcessorPil:
    pixels = {"height": size.image_size, "width": size.image_size}
    return BlipImageProcessorPil(size=pixels, image_mean=tiny.IMAGE_MEAN, image_std=tiny.IMAGE_STD)


class Blip2(QFormerFamily):
    """Prompts in the form `Question: … Answer:`."""

    name = "blip2"
    model_class = Blip2ForConditionalGeneration
    processor_class = Blip2Processor

    def build_tiny(self, preset: str) -> tuple[PreTrainedModel, ProcessorMixin]:
        language_model: tiny.LanguageModel = "opt" if preset == "tiny-opt" else "t5"
        tokenizer = tiny.tiny_tokenizer(language_model)
        config = Blip2Config(
            vision_config=tiny.blip_vision_config(SIZE),
            qformer_config=tiny.qformer_config(len(tokenizer), SIZE),
            text_config=tiny.language_config(language_model, tokenizer, SIZE),
            num_query_tokens=SIZE.query_tokens,
            image_token_index=tokenizer.convert_tokens_to_ids(tiny.IMAGE_TOKEN),
            initializer_range=SIZE.init,
        )
        model = Blip2ForConditionalGeneration(config)
        self.wake_tiny(model)
        return model, Blip2Processor(tiny_image_processor(SIZE), tokenizer, num_query_tokens=SIZE.query_tokens)


FAMILY = Blip2()
