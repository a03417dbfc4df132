"""Are a checkpoint's weights whole? Told by names, sizes and the headers of safetensors, without reading a weight."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from urbanvlm.errors import UserError
from urbanvlm.models.hub import INDEX, SINGLE

POINTER = b"version https://git-lfs.github.com/spec/"
PULL = "git lfs pull in its folder gets the file itself"
AGAIN = "copy or download it again"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
MOST_HEADER = 100_000_000
"""bytes; the format allows no more"""

Shapes = Mapping[str, tuple[int, ...]]


def is_pointer(file: Path) -> bool:
    """Is it what Git leaves in the place of a large file that Git-LFS has not fetched?"""
    with file.open("rb") as source:
        return source.read(len(POINTER)) == POINTER


def weights_of(folder: Path, where: str) -> Shapes:
    """Every weight's shape, by name. Raises UserError for a file that is missing or not whole."""
    if (folder / SINGLE).is_file():
        return shapes_of(folder / SINGLE)
    if not (folder / INDEX).is_file():
        raise UserError(where, *_no_weights(folder))
    index = read_object(folder / INDEX).get("weight_map")
    if not isinstance(index, dict) or not index or not all(isinstance(shard, str) for shard in index.values()):
        raise UserError(folder / INDEX, "has no weight_map, which names the file of each weight", AGAIN)
    shards = sorted(set(index.values()))
    if missing := [shard for shard in shards if not (folder / shard).is_file()]:
        what = f"{len(missing)} of its {len(shards)} files of weights are missing, such as {missing[0]}"
        raise UserError(where, what, AGAIN)
    return {name: shape for shard in shards for name, shape in shapes_of(folder / shard).items()}


def shapes_of(file: Path) -> Shapes:
    """Of one file of safetensors: 8 bytes with the length of a header, the header in JSON, and the weights."""
    if is_pointer(file):
        raise UserError(file, "is a Git-LFS pointer, not the weights", PULL)
    size = file.stat().st_size
    with file.open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        header = source.read(length) if length <= min(MOST_HEADER, size - 8) else b""
    try:
        tensors = {name: one for name, one in json.loads(header).items() if name != "__metadata__"}
        ends = [int(one["data_offsets"][1]) for one in tensors.values()]
        shapes = {str(name): tuple(map(int, one["shape"])) for name, one in tensors.items()}
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError):
        raise UserError(file, f"is no file of safetensors, or only its beginning ({size:,} bytes)", AGAIN) from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise UserError(file, f"is not whole: its header speaks of {expected:,} bytes, and it has {size:,}", AGAIN)
    return shapes


def read_object(file: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises UserError for any other."""
    try:
        if is_pointer(file):
            raise UserError(file, "is a Git-LFS pointer, not the file", PULL)
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(file, f"cannot be read ({error})", AGAIN) from None
    if not isinstance(found, dict):
        raise UserError(file, "is not a JSON object", AGAIN)
    return found


def _no_weights(folder: Path) -> tuple[str, str]:
    if next(_pickles(folder), None) is not None:
        what = f"has its weights as pickles alone, such as {min(_pickles(folder))}, and only safetensors are taken"
        return what, "take a revision with safetensors, or write them with transformers: save_pretrained"
    return f"has no weights: neither {SINGLE} nor {INDEX}", AGAIN


def _pickles(folder: Path) -> Iterator[str]:
    return (file.name for pattern in PICKLES for file in folder.glob(pattern) if file.name != "training_args.bin")
