"""What is known of the model families without importing torch: their names, presets, and checkpoints that fit."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from urbanvlm.errors import UserError, suggest
from urbanvlm.experiment import Model
from urbanvlm.models.adapters import adapter_shapes, chain_of, check_fit, is_adapters
from urbanvlm.models.folder import check_files, check_parts, config_of
from urbanvlm.models.weights import weights_of

if TYPE_CHECKING:
    from urbanvlm.models.family import ModelFamily


@dataclass(frozen=True, slots=True)
class Entry:
    """A family's line in the registry."""

    where: str
    """module:attribute"""
    model_type: str
    """of the checkpoints' config.json"""
    presets: Mapping[str, str]
    """tiny checkpoint made from random weights -> its language model's type"""
    template: str
    """what its checkpoints were trained to read: words around `{prompt}`, and `{image}` where the picture is"""

    def whole_prompt(self, prompt: str, image: str = "<image>") -> str:
        """A prompt inside the family's words, as the tokenizer gets it."""
        before, after = self.template.replace("{image}", image).split("{prompt}")
        return f"{before}{prompt}{after}"


FAMILIES: Mapping[str, Entry] = {
    "blip2": Entry(
        "urbanvlm.models.blip2:FAMILY", "blip-2", {"tiny": "t5", "tiny-opt": "opt"}, "Question: {prompt} Answer:"
    ),
    "instructblip": Entry(
        "urbanvlm.models.instructblip:FAMILY", "instructblip", {"tiny": "t5", "tiny-llama": "llama"}, "{prompt}"
    ),
    "llava": Entry("urbanvlm.models.llava:FAMILY", "llava", {"tiny": "llama"}, "USER: {image}\n{prompt} ASSISTANT:"),
}
"""A new family is one file and one line here."""

TINY_PRESETS = frozenset(preset for entry in FAMILIES.values() for preset in entry.presets)


def check_family(name: str) -> None:
    """Raise UserError unless `name` is a family."""
    if name not in FAMILIES:
        raise UserError(f"family {name!r}", "unknown model family", suggest(name, FAMILIES))


def get_family(name: str) -> ModelFamily:
    """The family of that name; imports torch and transformers. Raises UserError with the known names."""
    check_family(name)
    module, _, attribute = FAMILIES[name].where.partition(":")
    return cast("ModelFamily", getattr(importlib.import_module(module), attribute))


def check_model(model: Model, *, weights: bool = True) -> str | None:
    """Raise UserError for what loading would stumble over, as far as names, sizes and small files on this machine tell.

    Without `weights` a folder's configuration is enough. Returns a remark for one of the hub without a revision.
    """
    check_family(model.family)
    checkpoint, presets = model.checkpoint, FAMILIES[model.family].presets
    if checkpoint in TINY_PRESETS:
        if checkpoint not in presets:
            raise UserError(
                f"checkpoint {checkpoint!r}", f"{model.family} has no such preset", f"it has: {', '.join(presets)}"
            )
        check_precision(presets[checkpoint], model.precision, checkpoint)
        return None
    if Path(checkpoint).is_dir():
        if is_adapters(Path(checkpoint)):
            return _check_adapters(model, weights=weights)
        check_folder(Path(checkpoint), model, weights=weights)
        return None
    if Path(checkpoint).is_file():
        raise UserError(f"checkpoint {checkpoint!r}", "is a file", "name the folder that it lies in")
    if not is_hub_name(checkpoint):
        raise UserError(
            f"checkpoint {checkpoint!r}",
            "is no folder here, no preset, and no name on the Hugging Face hub",
            f"presets of {model.family}: {', '.join(presets)}",
        )
    if model.revision is None:
        return f"{model.label}: {checkpoint} has no revision, so another download may bring other weights"
    return None


def check_folder(folder: Path, model: Model, *, weights: bool = True) -> None:
    """Raise UserError where a folder, one's own or the hub cache's, holds no whole checkpoint of the model."""
    where = f"checkpoint {model.checkpoint!r}"
    config = config_of(folder, where)
    check_model_type(config["model_type"], model.family, model.checkpoint)
    check_parts(config, folder)
    check_precision(config["text_config"].get("model_type"), model.precision, model.checkpoint)
    if weights:
        check_files(folder, config, where)


def _check_adapters(model: Model, *, weights: bool) -> str | None:
    """The same for a folder of adapters: of them, and of the checkpoint that they stand on."""
    *adapters, (name, revision) = chain_of(model.checkpoint, model.revision)
    if name in TINY_PRESETS:
        what = f"stands on {name}, whose weights are made at random"
        raise UserError(f"checkpoint {model.checkpoint!r}", what, "name a folder of a whole model")
    try:
        remark = check_model(model.model_copy(update={"checkpoint": name, "revision": revision}), weights=weights)
    except UserError as error:
        raise UserError(f"checkpoint {model.checkpoint!r}", f"stands on another one, {error}") from None
    if weights:
        below = weights_of(Path(name), f"checkpoint {name!r}") if Path(name).is_dir() else {}
        for folder, _ in adapters:
            check_fit(Path(folder), adapter_shapes(Path(folder)), below)
    return remark


def is_hub_name(checkpoint: str) -> bool:
    """Is it to be had on the Hugging Face hub, rather than a preset or a folder here?"""
    return (
        checkpoint not in TINY_PRESETS
        and not Path(checkpoint).is_dir()
        and re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", checkpoint, re.ASCII) is not None
    )


def check_model_type(found: str | None, family: str, checkpoint: str) -> None:
    """Raise UserError where a checkpoint's config.json says that it is of another family."""
    if found != FAMILIES[family].model_type:
        raise UserError(
            f"checkpoint {checkpoint!r}",
            f"is a {found} model, which family {family} does not load",
            "change the family or the checkpoint",
        )


def check_precision(language_model_type: str | None, precision: str, checkpoint: str) -> None:
    """Raise UserError for T5 in fp16: its feed-forward layers overflow there."""
    if precision == "fp16" and language_model_type == "t5":
        raise UserError(
            f"checkpoint {checkpoint!r}", "its T5 language model overflows in fp16", "set precision to bf16 or fp32"
        )
