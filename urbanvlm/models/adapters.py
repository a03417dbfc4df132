"""Folders that hold adapters of another checkpoint: which it is and whether they are whole, told without torch."""

from __future__ import annotations

from pathlib import Path

from urbanvlm.errors import UserError, quoted
from urbanvlm.models.weights import AGAIN, Shapes, read_object, shapes_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

Named = tuple[str, "str | None"]
"""a checkpoint and its revision"""


def is_adapters(folder: Path) -> bool:
    """Adapters alone: a folder of a whole model may have some beside it, which then are not meant."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def chain_of(checkpoint: str, revision: str | None) -> list[Named]:
    """The checkpoint, then what its adapters stand on, down to a whole one. A whole one is alone.

    Raises UserError where a folder does not say what its adapters stand on, or they stand on themselves.
    """
    chain: list[Named] = [(checkpoint, revision)]
    seen = set()
    while _is_adapters_here(folder := Path(chain[-1][0])):
        if folder.resolve() in seen:
            raise UserError(
                folder / CONFIG, "says that its adapters stand on themselves", "mend base_model_name_or_path"
            )
        seen.add(folder.resolve())
        chain.append(_base_of(folder))
    return chain


def _is_adapters_here(folder: Path) -> bool:
    """Raises UserError for what cannot be looked at, such as a name of thousands of characters."""
    try:
        return is_adapters(folder)
    except OSError as error:
        raise UserError(
            f"checkpoint {quoted(str(folder))}",
            f"cannot be looked at ({error.strerror})",
            "name a folder that can, or a model on the hub",
        ) from None


def adapter_shapes(folder: Path) -> Shapes:
    """Of adapters, by name. Raises UserError where their file is missing or not whole."""
    if not (folder / WEIGHTS).is_file():
        what = f"has no {WEIGHTS}" + (", only pickles" if any(folder.glob("adapter_model.*")) else "")
        raise UserError(f"adapters {folder}", what, f"{AGAIN}, or write them with save_pretrained of PEFT")
    return shapes_of(folder / WEIGHTS)


def check_fit(folder: Path, adapters: Shapes, base: Shapes) -> None:
    """Raise UserError where the checkpoint below has a layer of the same name and another size.

    Libraries call the same layer by longer and shorter names, so that its end has to do; loading looks at all.
    """
    sizes: dict[str, set[tuple[int, ...]]] = {}
    for name, shape in base.items():
        sizes.setdefault(_end_of(name), set()).add(shape)
    for name, shape in adapters.items():
        if not name.endswith(".lora_A.weight") or len(shape) != 2:
            continue
        out = adapters.get(name.replace(".lora_A.", ".lora_B."), (0,))[0]
        layer = _end_of(name.replace(".lora_A.", "."))
        if layer in sizes and (out, shape[1]) not in sizes[layer]:
            raise UserError(f"adapters {folder}", *not_of_this(f"{layer} is {out} × {shape[1]} there and not here"))


def not_of_this(reason: str) -> tuple[str, str]:
    return f"are of another model than the one they stand on ({reason})", f"mend base_model_name_or_path in {CONFIG}"


def _end_of(name: str) -> str:
    """From a layer's last number on: `0.self_attn.q_proj.weight`."""
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] :] if numbers else parts)


def _base_of(folder: Path) -> Named:
    config = read_object(folder / CONFIG)
    if (kind := config.get("peft_type")) != "LORA":
        raise UserError(
            folder / CONFIG, f"is of adapters of type {kind}, which are not loaded", "name one of type LORA"
        )
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not name.strip():
        what = "does not say what its adapters stand on"
        raise UserError(folder / CONFIG, what, "write the checkpoint's folder or hub name as base_model_name_or_path")
    # A path is meant from here or, where adapters and model were moved together, from the adapters.
    try:
        places = [place for place in (Path(name), folder / name) if place.is_dir()]
    except OSError as error:
        what = f"stands on {quoted(name)}, which cannot be looked at ({error.strerror})"
        raise UserError(folder / CONFIG, what, "mend base_model_name_or_path") from None
    return str(places[0]) if places else name, revision if isinstance(revision, str) else None
