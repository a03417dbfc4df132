"""LLaVA-1.5: the image as patch tokens inside a USER/ASSISTANT turn, read by Vicuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from urbanvlm.errors import UserError
from urbanvlm.models import tiny
from urbanvlm.models.family import ImageTextFamily, LoadedModel, image_token_count, image_token_id, tokenize

SIZE = tiny.TinySize(patch_size=16, language_layers=3)
"""larger patches than BLIP's, as the language model reads them all; more of its layers, as it alone compares them"""


class Llava(ImageTextFamily):
    """Prompts in one turn of `USER: <image> … ASSISTANT:`."""

    name = "llava"
    model_class = LlavaForConditionalGeneration
    processor_class = LlavaProcessor
    language_path = "model.language_model"
    vision_path = "model.vision_tower"
    former_names: Mapping[str, str] = {
        r"^language_model\.model\.": "model.language_model.",
        r"^language_model\.lm_head\.": "lm_head.",
        r"^vision_tower\.": "model.vision_tower.",
        r"^multi_modal_projector\.": "model.multi_modal_projector.",
    }

    def prompt_ids(self, loaded: LoadedModel, texts: Sequence[str]) -> list[list[int]]:
        """One image token in the text becomes one per patch in the ids, so that no tokenizer can cut them."""
        image = image_token_id(loaded)
        patches = [image] * image_token_count(loaded)
        return [
            [part for token in ids for part in (patches if token == image else (token,))]
            for ids in tokenize(loaded, texts)
        ]

    def settle(self, model: PreTrainedModel, processor: ProcessorMixin, where: str) -> None:
        """Checkpoints of 2023 carry no image_seq_length; the vision tower knows it better than the default."""
        config: Any = model.config
        patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
        config.image_seq_length = patches + (config.vision_feature_select_strategy == "full")
        if processor.tokenizer.convert_tokens_to_ids(processor.image_token) != config.image_token_id:
            raise UserError(
                f"checkpoint {where!r}", "tokenizer and config.json disagree on the image token", "mend its files"
            )

    def build_tiny(self, preset: str) -> tuple[PreTrainedModel, ProcessorMixin]:
        size, tokenizer = SIZE, tiny.tiny_tokenizer("llama")
        config = LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=size.hidden,
                intermediate_size=size.mlp,
                num_hidden_layers=size.vision_layers,
                num_attention_heads=size.heads,
                image_size=size.image_size,
                patch_size=size.patch_size,
                projection_dim=size.hidden,
                initializer_range=0.05,
            ),
            text_config=tiny.language_config("llama", tokenizer, size),
            image_token_index=tokenizer.convert_tokens_to_ids(tiny.IMAGE_TOKEN),
            initializer_range=SIZE.init,
            vision_feature_layer=-1,  # every layer it has, not all but one of 24
            image_seq_length=(size.image_size // size.patch_size) ** 2,
        )
        model = LlavaForConditionalGeneration(config)
        eyes = model.model.vision_tower.embeddings
        tiny.open_eyes(eyes.patch_embedding, eyes.position_embedding.weight)
        tiny.scale_words(model.model.language_model)
        image_processor = CLIPImageProcessorPil(
            size={"shortest_edge": size.image_size},
            crop_size={"height": size.image_size, "width": size.image_size},
            image_mean=tiny.IMAGE_MEAN,
            image_std=tiny.IMAGE_STD,
        )
        processor = LlavaProcessor(
            image_processor,
            tokenizer,
            patch_size=size.patch_size,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            num_additional_image_tokens=1,
        )
        return model, processor


FAMILY = Llava()
