"""Low-rank adapters on the language model of any family."""

from __future__ import annotations

from peft import LoraConfig, PeftModel, get_peft_model

from urbanvlm.experiment import Lora
from urbanvlm.models.family import LoadedModel


def add_lora(loaded: LoadedModel, lora: Lora) -> LoadedModel:
    """Freeze the model and put adapters on the language model's linear layers, output layer excepted.

    Adapters take the weights' number format: autocast ones break DeepSpeed's ZeRO-3 in bf16.
    """
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=loaded.family.lora_targets(loaded.model),
    )
    return loaded.with_model(get_peft_model(loaded.model, config, autocast_adapter_dtype=False))


def merge_lora(loaded: LoadedModel) -> LoadedModel:
    """The adapters added into the weights: a plain model again, changed in place. Without adapters, as it is."""
    if not isinstance(loaded.model, PeftModel):
        return loaded
    return loaded.with_model(loaded.model.merge_and_unload())
