"""Low-rank adapters on the language model of any family."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn

from urbanvlm.errors import UserError
from urbanvlm.experiment import Lora
from urbanvlm.models.adapters import adapter_shapes, not_of_this
from urbanvlm.models.family import LoadedModel

_PREFIX = "base_model.model."
NEWEST = "default"
"""PEFT's name for adapters that it saves in the folder itself: those of the run; those of its checkpoint have others"""


def add_lora(loaded: LoadedModel, lora: Lora) -> LoadedModel:
    """Freeze the model and put adapters on the language model's linear layers, output layer excepted.

    Adapters of the checkpoint stay beside them as they are: training goes on from the sum. Adapters take the weights'
    number format: autocast ones break DeepSpeed's ZeRO-3 in bf16.
    """
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=loaded.family.lora_targets(loaded.model),
    )
    if not isinstance(loaded.model, PeftModel):
        return loaded.with_model(get_peft_model(loaded.model, config, autocast_adapter_dtype=False))
    loaded.model.add_adapter(NEWEST, config, autocast_adapter_dtype=False)
    _use_all(loaded.model, trained=NEWEST)
    return loaded


def load_lora(loaded: LoadedModel, folder: Path, name: str | None = None) -> LoadedModel:
    """Put saved adapters on the model, frozen, beside those that it has.

    Raises UserError unless every one of them finds its layer, and every layer its adapters.
    """
    former = loaded.family.former_names
    saved = {_present_name(name, former) for name in adapter_shapes(folder)}
    model = loaded.model
    name = name or f"base{len(model.peft_config) if isinstance(model, PeftModel) else 0}"
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(folder, name, autocast_adapter_dtype=False, key_mapping=former)
        else:
            model = PeftModel.from_pretrained(model, folder, name, autocast_adapter_dtype=False, key_mapping=former)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"adapters {folder}", *not_of_this(reason)) from error
    expected = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False).keys()
    if others := sorted(expected ^ saved):
        reason = f"{len(others)} weights have no counterpart, such as {others[0]}"
        raise UserError(f"adapters {folder}", *not_of_this(reason))
    _use_all(model)
    return loaded.with_model(model.eval())


def _present_name(name: str, former: Mapping[str, str]) -> str:
    """As PEFT renames what it reads: by the first of the patterns that matches below its own prefix."""
    inner = name.removeprefix(_PREFIX)
    for pattern, present in former.items():
        renamed, count = re.subn(pattern, present, inner)
        if count:
            return name[: len(name) - len(inner)] + renamed
    return name


def merge_lora(loaded: LoadedModel) -> LoadedModel:
    """All adapters added into the weights: a plain model again, changed in place. Without adapters, as it is."""
    if not isinstance(loaded.model, PeftModel):
        return loaded
    return loaded.with_model(loaded.model.merge_and_unload())


def _use_all(model: PeftModel, trained: str = "") -> None:
    """Every one of the model's adapters has its say, and only those of that name learn, or are dropped at random."""
    model.base_model.set_adapter(list(model.peft_config), inference_mode=True)
    for module in model.modules():
        if not isinstance(module, LoraLayer):
            continue
        for name, dropout in module.lora_dropout.items():
            if name != trained and isinstance(dropout, nn.Dropout):
                dropout.p = 0.0
        for weights in (module.lora_A, module.lora_B):
            if trained in weights:
                weights[trained].requires_grad_(True)
