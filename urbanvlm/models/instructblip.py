"""InstructBLIP: BLIP-2 whose Q-Former also reads the prompt, in front of Vicuna or flan-T5."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers import (
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from urbanvlm.errors import UserError
from urbanvlm.models import tiny
from urbanvlm.models.blip2 import SIZE, QFormerFamily, tiny_image_processor
from urbanvlm.models.encoding import pad
from urbanvlm.models.family import LoadedModel, unwrap


class InstructBlip(QFormerFamily):
    """Prompts as they are, to the language model and to the Q-Former."""

    name = "instructblip"
    model_class = InstructBlipForConditionalGeneration
    processor_class = InstructBlipProcessor

    def extra_inputs(self, loaded: LoadedModel, prompts: Sequence[str]) -> dict[str, Tensor]:
        """The prompt alone for the Q-Former; the library's processor would hand it the answer as well."""
        tokenizer = loaded.processor.qformer_tokenizer
        rows = tokenizer([self.prompt_text(loaded, prompt.strip()) for prompt in prompts])["input_ids"]
        limit = unwrap(loaded.model).config.qformer_config.max_position_embeddings
        if (longest := max(map(len, rows))) > limit:
            raise UserError(
                f"{loaded.model_id}: prompt", f"{longest} tokens, but the Q-Former reads {limit}", "shorten the prompt"
            )
        # Padded right, unlike the language model's rows: the Q-Former counts positions from the left end.
        return {
            "qformer_input_ids": pad(rows, tokenizer.pad_token_id, "right"),
            "qformer_attention_mask": pad([[1] * len(row) for row in rows], 0, "right"),
        }

    def build_tiny(self, preset: str) -> tuple[PreTrainedModel, ProcessorMixin]:
        language_model: tiny.LanguageModel = "llama" if preset == "tiny-llama" else "t5"
        tokenizer = tiny.tiny_tokenizer(language_model)
        config = InstructBlipConfig(
            vision_config=tiny.blip_vision_config(SIZE),
            qformer_config=tiny.qformer_config(len(tokenizer), SIZE),
            text_config=tiny.language_config(language_model, tokenizer, SIZE),
            num_query_tokens=SIZE.query_tokens,
            image_token_index=tokenizer.convert_tokens_to_ids(tiny.IMAGE_TOKEN),
            initializer_range=SIZE.init,
        )
        model = InstructBlipForConditionalGeneration(config)
        self.wake_tiny(model)
        processor = InstructBlipProcessor(
            tiny_image_processor(SIZE),
            tokenizer,
            tiny.tiny_tokenizer("t5"),
            num_query_tokens=SIZE.query_tokens,
        )
        return model, processor


FAMILY = InstructBlip()
