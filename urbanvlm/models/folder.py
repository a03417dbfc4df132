"""What is wrong with a checkpoint's folder, as far as its small files tell; nothing heavy is imported or read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from urbanvlm.errors import UserError
from urbanvlm.models.hub import LOADED
from urbanvlm.models.weights import AGAIN, PULL, Shapes, is_pointer, read_object, weights_of

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
EMBEDDINGS = ("embed_tokens.weight", "shared.weight")
"""ends of the names of a language model's word embedding: LLaMA's and OPT's, T5's"""
ORIGINAL = "mm_vision_tower"
"""key of config.json in LLaVA's own layout"""
TOWERS = ("vision_config", "qformer_config")


def config_of(folder: Path, where: str) -> dict[str, Any]:
    """Its config.json, with the parts that loading needs. Raises UserError where it is not a whole model's."""
    if not (folder / "config.json").is_file():
        raise UserError(folder / "config.json", "no such file", _other_folder(folder))
    config = read_object(folder / "config.json")
    if ORIGINAL in config:
        what = "is in the layout of LLaVA's authors, which transformers does not load"
        raise UserError(where, what, "take its conversion, such as llava-hf/llava-1.5-7b-hf")
    if not isinstance(config.get("model_type"), str):
        raise UserError(folder / "config.json", "has no model_type", AGAIN)
    return config


def check_parts(config: Mapping[str, Any], folder: Path) -> None:
    """Raise UserError where a part has no settings: the library would make it by its own, of 7 billion weights."""
    wrong = [key for key in ("text_config", *TOWERS) if not isinstance(config.get(key, {}), dict)]
    if wrong or "text_config" not in config:
        what = f"{wrong[0]} is no object" if wrong else "text_config is missing"
        raise UserError(folder / "config.json", f"{what}, so nobody knows what model it is", AGAIN)
    if "qformer_config" in config and config.get("image_token_index", config.get("image_token_id")) is None:
        raise UserError(folder / "config.json", "has no image_token_index", "use a newer revision of it")


def check_files(folder: Path, config: Mapping[str, Any], where: str) -> None:
    """Raise UserError where weights, tokenizer and processor are not whole or do not fit each other."""
    for file in _small_files(folder):
        if is_pointer(file):
            raise UserError(file, "is a Git-LFS pointer, not the file", PULL)
    shapes = weights_of(folder, where)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise UserError(where, f"has no tokenizer: none of {', '.join(TOKENIZERS)}", AGAIN)
    if (folder / TOKENIZERS[0]).is_file():
        _check_tokenizer(folder / TOKENIZERS[0], shapes)
    if not any((folder / name).is_file() for name in PROCESSORS):
        raise UserError(where, f"has no processor: none of {', '.join(PROCESSORS)}", AGAIN)
    _check_pictures(folder, config)


def _other_folder(folder: Path) -> str:
    """Where the model may be instead."""
    below = sorted(file.parent for depth in ("*", "*/*") for file in folder.glob(f"{depth}/config.json"))
    if len(below) == 1:
        return f"name {below[0]}"
    return "name a folder that holds a saved model"


def _small_files(folder: Path) -> Iterator[Path]:
    return (file for pattern in LOADED for file in sorted(folder.glob(pattern)) if file.is_file())


def _check_tokenizer(file: Path, shapes: Shapes) -> None:
    tokenizer = read_object(file)
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else []
    if isinstance(vocabulary, list):  # of a unigram model: a token's place is its id
        ids = list(range(len(vocabulary)))
    ids += [one.get("id") for one in added or () if isinstance(one, dict)]
    largest = max((one for one in ids if isinstance(one, int)), default=0)
    rows = [shape[0] for name, shape in shapes.items() if name.endswith(EMBEDDINGS) and len(shape) == 2]
    if rows and largest >= max(rows):
        what = f"has tokens up to {largest}, but the model's embedding has {max(rows)} rows"
        raise UserError(file, what, "take tokenizer and weights of one revision, or resize the embedding")


def _check_pictures(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError where the processor makes pictures of another size than the vision tower reads."""
    tower = config.get("vision_config", {}).get("image_size")
    if not isinstance(tower, int):
        return
    for name in PROCESSORS:
        if not (folder / name).is_file():
            continue
        settings = read_object(folder / name)
        if name == PROCESSORS[0]:
            settings = settings.get("image_processor") or {}
        made = _sides(settings)
        if made and set(made) != {tower}:
            what = f"makes pictures of {' × '.join(map(str, made))} pixels, but the vision tower reads {tower}"
            raise UserError(folder / name, what, f"take the files of one revision, or set its size to {tower}")


def _sides(settings: Mapping[str, Any]) -> list[int]:
    """Height and width of what an image processor makes, as far as its settings say."""
    key = "crop_size" if settings.get("do_center_crop", True) and settings.get("crop_size") else "size"
    size = settings.get(key)
    if isinstance(size, int):
        return [size, size]
    sides = [size.get("height"), size.get("width")] if isinstance(size, dict) else []
    return [one for one in sides if isinstance(one, int)]
