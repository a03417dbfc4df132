"""Names of the model families and tiny presets, without importing torch."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from urbanvlm.errors import UserError

if TYPE_CHECKING:
    from urbanvlm.models.family import ModelFamily

FAMILIES: Mapping[str, str] = {
    "blip2": "urbanvlm.models.blip2:FAMILY",
    "instructblip": "urbanvlm.models.instructblip:FAMILY",
    "llava": "urbanvlm.models.llava:FAMILY",
}
"""family -> "module:attribute"; a new family is one file and one line here"""

TINY_PRESETS: tuple[str, ...] = ("tiny", "tiny-opt", "tiny-llama")
"""checkpoints made from random weights; a family knows which of them it has"""


def check_family(name: str) -> None:
    """Raise UserError unless `name` is a family."""
    if name not in FAMILIES:
        close = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(FAMILIES)}"
        raise UserError(f"family {name!r}", "unknown model family", hint)


def get_family(name: str) -> ModelFamily:
    """The family of that name; imports torch and transformers. Raises UserError with the known names."""
    check_family(name)
    module, _, attribute = FAMILIES[name].partition(":")
    return cast("ModelFamily", getattr(importlib.import_module(module), attribute))
