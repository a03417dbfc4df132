"""Which questions of a file are longer than a model reads, image tokens and answer included; without its weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from urbanvlm.dataset.findings import Finding, finding
from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.read import readable_examples
from urbanvlm.dataset.rows import RowFile
from urbanvlm.errors import UserError
from urbanvlm.experiment import Evaluate, Model
from urbanvlm.models.registry import FAMILIES, check_model

if TYPE_CHECKING:
    from urbanvlm.models.family import LoadedModel

BATCH = 256
Pair = tuple[str, str]
"""prompt, and what is learnt to be written"""


def too_long(data: Path, model: str) -> list[Finding]:
    """A finding if the model, `family[:checkpoint]`, cannot read all of the file's rows.

    Room is asked for the row's own answer or rationale, and for as many new tokens as an evaluation has by default.
    Raises UserError where the model's configuration or tokenizer is not on this machine.
    """
    family, _, checkpoint = model.partition(":")
    named = Model(family=family, checkpoint=checkpoint or next(iter(_presets(family))))
    check_model(named, weights=False)
    os.environ.setdefault(
        "HF_HUB_OFFLINE", "1"
    )  # before the libraries are imported: a look must not wait for a network
    from urbanvlm.models.registry import get_family

    loaded = get_family(family).load(named.checkpoint, weights=False)
    prompts = load_prompts(None)
    file = RowFile.of(data)
    places: dict[Pair, list[int]] = {}
    for number, example in readable_examples(file):
        reasons = example.cot_answer is not None
        pair = (prompts.render(example, reasons), example.cot_answer or example.answer)
        places.setdefault(pair, []).append(number)
    pairs = list(places)
    faults = [fault for i in range(0, len(pairs), BATCH) for fault in _faults(loaded, pairs[i : i + BATCH])]
    if not faults:
        return []
    found = sorted((number, what) for pair, what in faults for number in places[pair])
    return [finding("too-long", file, len(found), f"more than {loaded.model_id} reads", found)]


def _presets(family: str) -> Sequence[str]:
    return tuple(FAMILIES[family].presets) if family in FAMILIES else ("tiny",)


def _faults(loaded: LoadedModel, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, str]]:
    """Halved until those that are too long stand alone."""
    try:
        prompts, targets = [prompt for prompt, _ in pairs], [target for _, target in pairs]
        loaded.family.check_lengths(loaded, prompts, targets)
        loaded.family.check_lengths(loaded, prompts, None, Evaluate().max_new_tokens)
    except UserError as error:
        if len(pairs) == 1:
            yield pairs[0], str(error)
        else:
            yield from _faults(loaded, pairs[: len(pairs) // 2])
            yield from _faults(loaded, pairs[len(pairs) // 2 :])
