"""Checkpoints of the Hugging Face hub on this machine: which files are loaded, and whether they are here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARDS = "model-?????-of-?????.safetensors"
LOADED = (
    *("config.json", "generation_config.json"),
    *("processor_config.json", "preprocessor_config.json", "chat_template.json", "chat_template.jinja"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    "qformer_tokenizer/*",
)
"""what loading a checkpoint reads beside its weights, as far as the repository has it"""
CACHE_VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
"""say where the cache is, the first that is set"""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where huggingface_hub keeps what it downloads, in a process with these variables: the rule is its own."""
    caches = environment.get("XDG_CACHE_HOME", "~/.cache")
    home = environment.get("HF_HOME", os.path.join(caches, "huggingface"))  # noqa: PTH118 - as there: "" stays ""
    named = environment.get("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))  # noqa: PTH118
    return Path(os.path.expandvars(environment.get("HF_HUB_CACHE", named))).expanduser()


def patterns(single: bool) -> list[str]:
    """Of the files that loading reads; where the weights are in one file, parts of them are not read."""
    return [*LOADED, *([SINGLE] if single else [INDEX, SHARDS])]


def snapshot_of(name: str, revision: str | None, cache: Path) -> Path | None:
    """The folder of a checkpoint in the cache, if all that is loaded of it is there; it is named after the commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    def find(wanted: list[str]) -> Path:
        return Path(
            snapshot_download(name, revision=revision, cache_dir=cache, local_files_only=True, allow_patterns=wanted)
        )

    try:
        # Of an unfinished download it would say so: what the repository has is written down beside it.
        folder = find(["config.json"])
        folder = find(patterns((folder / SINGLE).exists()))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if (folder / "config.json").is_file() and has_weights(folder) else None


def has_weights(folder: Path) -> bool:
    """One file of safetensors, or all that the index names."""
    if (folder / SINGLE).is_file():
        return True
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return all((folder / shard).is_file() for shard in set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
