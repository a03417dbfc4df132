"""Checkpoints on disk: written so that a torn one shows, verified before use, pruned.

checkpoints/step-00000100/
    deepspeed/    weights (trainable ones only) and optimizer state, as DeepSpeed writes them
    state.json    TrainState
    COMPLETE      written last: size and sha256 of every file above, and how long the saving took

Light to import: what asks how far a training is needs no torch.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from urbanvlm.errors import UserError
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import completion_facts, fingerprint, is_complete, mark_complete
from urbanvlm.train.state import TrainState

if TYPE_CHECKING:
    from urbanvlm.runtime.process_group import ProcessGroup

logger = logging.getLogger(__name__)

TAG = "deepspeed"


def _member(kind: Any, name: str) -> Enum:
    """Stands for getattr in a pickle: Python 3.11.0 to 3.11.3 write `getattr(ZeroStageEnum, name)` for a member."""
    if isinstance(kind, type) and issubclass(kind, Enum) and name in kind.__members__:
        return kind[name]
    raise UnpicklingError(f"getattr({kind!r}, {name!r}), where a checkpoint has only members of an enum")


def _safe_reader() -> Any:
    """DeepSpeed's reader of checkpoint files, without the power to run code that a pickle may hold."""
    # Imported late: DeepSpeed's import has to come after the process group has prepared it.
    import torch
    from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    # What DeepSpeed's own checkpoints hold beyond tensors and plain values.
    harmless = [LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address, (_member, "builtins.getattr")]

    class SafeReader(TorchCheckpointEngine):  # type: ignore[misc]
        def load(self, path: str, map_location: Any = None) -> Any:
            with torch.serialization.safe_globals(harmless):
                return torch.load(path, map_location=map_location, weights_only=True)

    return SafeReader()


def folder_of(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:08d}"


def save(engine: Any, group: ProcessGroup, checkpoints: Path, state: TrainState) -> Path:
    """Write the checkpoint of `state`; all ranks call it. Frozen parameters are left out: they never change."""
    begun = time.monotonic()
    folder = folder_of(checkpoints, state.global_step)
    if group.is_first:
        # Left by a process that was killed while writing it.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    group.barrier()
    engine.save_checkpoint(str(folder), tag=TAG, save_latest=False, exclude_frozen_parameters=_has_frozen(engine))
    if group.is_first:
        write_atomic(folder / "state.json", state.to_json())
        files = facts_of(folder)
        mark_complete(folder, {"files": files, "save_seconds": round(time.monotonic() - begun, 3)})
    group.barrier()
    return folder


def load(engine: Any, folder: Path) -> TrainState:
    """Put a verified checkpoint into an engine that has made no step yet, as ZeRO-3 demands. All ranks call it."""
    engine.checkpoint_engine = _safe_reader()
    loaded, _ = engine.load_checkpoint(str(folder), tag=TAG, load_module_strict=not _has_frozen(engine))
    if loaded is None:
        raise RuntimeError(f"{folder}: DeepSpeed found nothing to load")
    return read_state(folder)


def read_state(folder: Path) -> TrainState:
    return TrainState.from_json((folder / "state.json").read_text(encoding="utf-8"))


def saved_step(checkpoints: Path) -> int:
    """Global step of the newest complete checkpoint, 0 without one. Nothing is verified, so it is quick."""
    return max(
        (int(folder.name.removeprefix("step-")) for folder in _folders(checkpoints) if is_complete(folder)), default=0
    )


def save_seconds(checkpoints: Path) -> float | None:
    """The longest that saving one of the complete checkpoints took; None without one."""
    found = []
    for folder in _folders(checkpoints):
        # One without a marker that can be read, or from before this was measured, has nothing to say here.
        with suppress(OSError, ValueError, AssertionError, KeyError, TypeError):
            found.append(float(completion_facts(folder)["save_seconds"]))
    return max(found, default=None)


def newest(checkpoints: Path) -> Path | None:
    """The newest checkpoint that is complete and verified. Rank 0 alone calls it, before the others load.

    A finished one that fails is renamed `<name>.broken`, an unfinished one removed; the log says so, and the one
    before is looked at.
    """
    for folder in reversed(_folders(checkpoints)):
        if not is_complete(folder):
            logger.warning("%s: was not finished when its writer ended; removed", folder)
            shutil.rmtree(folder)
        elif (reason := _flaw(folder)) is not None:
            set_aside(folder, reason)
        else:
            return folder
    return None


def facts_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file of a checkpoint, by its name in there."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "COMPLETE")
    return {str(p.relative_to(folder)): {"bytes": p.stat().st_size, "sha256": fingerprint(p)} for p in files}


def set_aside(folder: Path, reason: str) -> None:
    """Rename a checkpoint that cannot be used to `<name>.broken`, where a person may look at it, and log why."""
    aside = folder.with_name(f"{folder.name}.broken")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    logger.warning("%s: %s; set aside as %s, the checkpoint before is used", folder, reason, aside.name)


def check_resumable(folder: Path, state: TrainState, fingerprint_now: str, world_size: int) -> None:
    """Raise UserError unless this run may go on from there: same data, same number of processes."""
    if state.world_size != world_size:
        raise UserError(
            folder,
            f"was written by {state.world_size} processes and cannot be read by {world_size}",
            f"set resources so that nodes × processes = {state.world_size}, or remove the checkpoints to train anew",
        )
    if state.data_fingerprint != fingerprint_now:
        raise UserError(
            folder,
            "was trained on other examples, prompts or pictures than those there now",
            "bring the old ones back, or give the experiment another name to train anew",
        )


def prune(checkpoints: Path, keep: int) -> list[Path]:
    """Remove all but the newest `keep` complete checkpoints and return those. export.py keeps the best weights."""
    complete = [folder for folder in _folders(checkpoints) if is_complete(folder)]
    kept = complete[-keep:]
    # Also what a killed process had begun to remove, which has no marker any more.
    for folder in _folders(checkpoints) if kept else ():
        if folder < kept[0]:
            # Marker first: a folder half removed must not pass for a checkpoint.
            (folder / "COMPLETE").unlink(missing_ok=True)
            shutil.rmtree(folder)
    return kept


def _folders(checkpoints: Path) -> list[Path]:
    return sorted(p for p in checkpoints.glob("step-*") if p.is_dir() and p.suffix == "")


def _has_frozen(engine: Any) -> bool:
    return any(not p.requires_grad for p in engine.module.parameters())


def _flaw(folder: Path) -> str | None:
    """What is wrong with a complete checkpoint, or None."""
    try:
        return next(_flaws(folder, completion_facts(folder)["files"]), None)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AssertionError):
        return "its COMPLETE marker cannot be read"


def _flaws(folder: Path, files: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, facts in files.items():
        file = folder / name
        if not file.is_file():
            yield f"{name} is missing"
        elif file.stat().st_size != facts["bytes"]:
            yield f"{name} has {file.stat().st_size} bytes instead of {facts['bytes']}"
    for name, facts in files.items():
        if fingerprint(folder / name) != facts["sha256"]:
            yield f"the content of {name} has changed"
