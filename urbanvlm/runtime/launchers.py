"""Which launcher has really started this process: variables that another program left behind name no ranks of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

OF_TORCHRUN = re.compile(r"TORCHELASTIC_\w+|(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME")
OF_OTHERS = re.compile(
    r"(OMPI|PMIX?|MV2|MPI|HYDRA|PRTE)_\w+|LOCAL_SIZE|CROSS_(RANK|SIZE)"
    # DeepSpeed asks no further where one of these is set.
    r"|AZUREML_EXPERIMENT_ID|SM_TRAINING_ENV|DLTS_JOB_ID"
)
"""what DeepSpeed and accelerate take for ranks, and stop at where it contradicts ours"""
_TORCHRUN = re.compile(
    r"(^|/)torchrun$|\btorch[./]distributed\b"
    # It starts torchrun's agent within its own process.
    r"|(^|/)accelerate(-launch)?$|\baccelerate[./]commands\b"
)
_PROCESSES = Path("/proc")


def torchrun_ranks(environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Rank, local rank and world size from torchrun; None where it has not started this process.

    `export`, and a shell that one of its jobs started, leave its variables behind, so it must be among the processes
    above this one: they are the same user's, whom no mount option of /proc keeps from seeing them.
    """
    words = [environment.get(name, "") for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")]
    if "TORCHELASTIC_RUN_ID" not in environment or not all(word.isdecimal() for word in words):
        return None
    if not any(_TORCHRUN.search(word) for word in _words_above()):
        return None
    rank, local_rank, world_size = map(int, words)
    return rank, local_rank, world_size


def forget_others(environment: MutableMapping[str, str], *, is_torchrun: bool) -> None:
    """Remove, in place, what names ranks and has not started this process, before a library reads it."""
    for name in list(environment):
        if OF_OTHERS.fullmatch(name) or (not is_torchrun and OF_TORCHRUN.fullmatch(name)):
            del environment[name]


def _words_above() -> Iterator[str]:
    """The words of the commands of all processes above this one, as far as they can be seen."""
    pid = os.getppid()
    # Torchrun is number 1 where a container starts nothing else.
    while pid > 0:
        try:
            command = (_PROCESSES / f"{pid}/cmdline").read_bytes()
            state = (_PROCESSES / f"{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        yield from map(os.fsdecode, command.split(b"\0"))
        pid = int(state.rpartition(")")[2].split()[1])
