"""Runs that were named one by one -> labels that say what tells them apart, such as seed=0 and seed=1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from urbanvlm.errors import UserError
from urbanvlm.run_folder import RunFolder
from urbanvlm.runs import short

LONGEST = 60
"""of a label; where more differs, the run's id stands for it"""
RUN = "run"
"""the key of the label itself, beside the settings that differ"""


def labels_of(runs: Sequence[RunFolder]) -> list[dict[str, str]]:
    """For each run the settings in which they differ, by the shortest name of their keys, and under RUN its label.

    No two labels are equal: runs that differ in too much, or whose experiment cannot be read, are called by their ids,
    and those that lie in several folders by their folders.
    """
    found = [_settings(run) for run in runs]
    settings = [one or {} for one in found]
    keys = [key for key in dict.fromkeys(key for one in settings for key in one) if _differs(key, settings)]
    names = _short_names(keys)
    differences = [{names[key]: one.get(key, "none") for key in keys} for one in settings]
    labels = [", ".join(f"{name}={value}" for name, value in one.items()) for one in differences]
    too_long = any(len(label) > LONGEST for label in labels)
    if None in found or too_long or not _are_different(labels):
        labels = [run.id for run in runs]
    if not _are_different(labels):
        labels = [str(short(run.path)) for run in runs]
    return [one | {RUN: label} for one, label in zip(differences, labels, strict=True)]


def _settings(run: RunFolder) -> dict[str, str] | None:
    """Dotted key -> value, of all that decides what is computed but the name; None where it cannot be read."""
    try:
        identity = run.experiment.identity
    except UserError:
        return None
    return dict(_leaves(identity)) | {"name": ""}


def _leaves(tree: Mapping[str, Any] | Sequence[Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
        if isinstance(value, (dict, list)) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else _word(value)


def _word(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _differs(key: str, settings: Sequence[Mapping[str, str]]) -> bool:
    return len({one.get(key) for one in settings}) > 1


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last word of a key where no other has it, else all of it."""
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: word if last.count(word) == 1 and word != RUN and not word.isdecimal() else key
        for key, word in zip(keys, last, strict=True)
    }


def _are_different(labels: Sequence[str]) -> bool:
    return len(set(labels)) == len(labels) and "" not in labels
