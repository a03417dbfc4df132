"""The best weights of a run: kept as they are found, and exported at the end as a folder that loads by itself.

best/step-00000200.safetensors    the trainable parameters, whole, in the precision of training
best/step-00000200.COMPLETE       their sha256
export/                           what `ModelFamily.load` takes: safetensors, configuration, processor
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from urbanvlm.experiment import Model, Train
from urbanvlm.models.adapters import is_adapters
from urbanvlm.models.family import LoadedModel
from urbanvlm.models.registry import TINY_PRESETS, get_family
from urbanvlm.permissions import open_to_whom_the_umask_allows
from urbanvlm.run_folder import completion_facts, fingerprint, is_complete, mark_complete
from urbanvlm.runtime.determinism import seed_everything
from urbanvlm.runtime.process_group import ProcessGroup
from urbanvlm.train.engine import whole_weights


def trainable_model(model: Model, train: Train, seed: int) -> LoadedModel:
    """The model as training begins: loaded, adapters added, what is to stay frozen. Equal in every process.

    Adapters of the checkpoint stay beside new ones; where all weights are trained, they are merged into these.
    """
    loaded = get_family(model.family).load(
        model.checkpoint, revision=model.revision, precision=model.precision, seed=seed
    )
    if train.lora is not None:
        # PEFT takes seconds to import.
        from urbanvlm.models.lora import add_lora

        seed_everything(seed, "adapters")
        return add_lora(loaded, train.lora)
    if hasattr(loaded.model, "peft_config"):
        from urbanvlm.models.lora import merge_lora

        loaded = merge_lora(loaded)
        loaded.model.requires_grad_(True)
    if train.freeze_vision:
        for parameter in loaded.family.vision_parameters(loaded.model):
            parameter.requires_grad_(False)
    return loaded


def best_file(best: Path, step: int) -> Path:
    return best / f"step-{step:08d}.safetensors"


def save_best(engine: Any, group: ProcessGroup, best: Path, step: int) -> None:
    """Write the trainable parameters as they are now; all ranks call it."""
    weights = _gather(engine, group)
    if group.is_first:
        best.mkdir(parents=True, exist_ok=True)
        file = best_file(best, step)
        temporary = file.with_name(f".{file.name}.tmp")
        save_file(weights, temporary)
        open_to_whom_the_umask_allows(temporary)
        temporary.replace(file)
        mark_complete(file, {"sha256": fingerprint(file)})
    group.barrier()


def best_is_whole(best: Path, step: int | None) -> bool:
    """Can the best weights of a state be used? True where there are none yet."""
    if step is None:
        return True
    file = best_file(best, step)
    return file.is_file() and is_complete(file) and completion_facts(file)["sha256"] == fingerprint(file)


def prune_best(best: Path, keep: set[int | None]) -> None:
    """Remove the best weights that no kept checkpoint speaks of."""
    kept = {best_file(best, step).stem for step in keep if step is not None}
    for file in best.glob("step-*"):
        if file.stem not in kept:
            file.unlink()


def export(model: Model, train: Train, seed: int, weights: Path, folder: Path) -> dict[str, Any]:
    """Put the best weights into a fresh model, write it to `folder`, load that again and compare. One process.

    Adapters of a tiny preset are merged into its weights, as a preset is no folder that adapters could refer to.
    Adapters of any other checkpoint are written alone, beside a reference to that checkpoint, which must stay: merged
    in bf16 they would be rounded by more than they often change, so the export would not be what was validated.

    Returns facts of the export. Raises RuntimeError if what is read back differs from what was trained.
    """
    loaded = trainable_model(model, train, seed)
    _fill(loaded.model, weights)
    merged = train.lora is not None and model.checkpoint in TINY_PRESETS
    if merged:
        from urbanvlm.models.lora import merge_lora

        loaded = merge_lora(loaded)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    _write(loaded, model, temporary)
    written = weights_hash(loaded.model)
    read = load_export(model, temporary)
    if weights_hash(read.model) != written:
        raise RuntimeError(f"{temporary}: the exported weights, read back, are not those that were trained")
    temporary.rename(folder)
    return {"weights_sha256": written, "form": "adapters" if train.lora and not merged else "whole model"}


def load_export(model: Model, folder: Path) -> LoadedModel:
    """The fine-tuned model of an export: the folder alone or, where it holds adapters, its checkpoint under them."""
    family = get_family(model.family)
    if not is_adapters(folder):
        return family.load(str(folder), precision=model.precision)
    from urbanvlm.models.lora import NEWEST, load_lora

    loaded = family.load(model.checkpoint, revision=model.revision, precision=model.precision)
    return load_lora(loaded, folder, NEWEST)


def weights_hash(model: nn.Module) -> str:
    """sha256 over every parameter and persistent buffer: name, type, shape, bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _gather(engine: Any, group: ProcessGroup) -> dict[str, Tensor]:
    """Trainable parameters by name, whole, on rank 0; the others take part and get nothing.

    One parameter at a time, so that no GPU need hold the whole model. PEFT's and transformers' own savers would
    write ZeRO-3's empty stand-ins without a word.
    """
    weights = {}
    for name, parameter in engine.module.named_parameters():
        if not parameter.requires_grad:
            continue
        with whole_weights(engine, [parameter]):
            if group.is_first:
                weights[name] = parameter.detach().cpu().clone(memory_format=torch.contiguous_format)
    return weights


def _fill(model: nn.Module, file: Path) -> None:
    """Copy saved parameters into the model's trainable ones: the same names and shapes, or RuntimeError."""
    saved = load_file(file)
    expected = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if saved.keys() != expected.keys():
        raise RuntimeError(f"{file}: holds other parameters than the model ({saved.keys() ^ expected.keys()})")
    with torch.no_grad():
        for name, parameter in expected.items():
            if saved[name].shape != parameter.shape:
                raise RuntimeError(f"{file}: {name} is {tuple(saved[name].shape)}, not {tuple(parameter.shape)}")
            parameter.copy_(saved[name])


def _write(loaded: LoadedModel, model: Model, folder: Path) -> None:
    folder.mkdir(parents=True)
    network: Any = loaded.model
    if hasattr(network, "peft_config"):
        from urbanvlm.models.lora import NEWEST

        settings = network.peft_config[NEWEST]
        base = Path(model.checkpoint)
        settings.base_model_name_or_path = str(base.absolute()) if base.exists() else model.checkpoint
        settings.revision = model.revision
        network.save_pretrained(folder, selected_adapters=[NEWEST], save_embedding_layers=False)
    else:
        network.save_pretrained(folder)
    loaded.processor.save_pretrained(folder)
    open_to_whom_the_umask_allows(folder)
