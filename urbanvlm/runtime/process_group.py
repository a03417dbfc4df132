"""The processes of one training job as a group: how they find each other, and the few collectives we use ourselves."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

TIMEOUT = timedelta(minutes=30)
"""Longest wait in a collective: rank 0 writes and hashes a large checkpoint while the others wait."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among its peers."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, *values: float) -> tuple[float, ...]:
        """Sums over all ranks in float64; every rank gets the same bits, so that all decide alike."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def from_first(self, value: Any) -> Any:
        """Rank 0's value on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def barrier(self) -> None:
        dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)


@contextmanager
def process_group(rank: int, local_rank: int, world_size: int, rendezvous: Path | None) -> Iterator[ProcessGroup]:
    """Join the job's processes, with DeepSpeed's communication on top; leave at the end.

    The ranks meet at the file `rendezvous`, else at MASTER_ADDR (env://). The file must be new at each start of the
    job: one left by a killed job makes the next wait for processes that are gone.
    Collectives run on NCCL with a GPU and on gloo without. Raises ValueError if there is nowhere to meet.
    """
    device = _device(local_rank)
    # DeepSpeed reads these, whoever has started us.
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(local_rank), WORLD_SIZE=str(world_size))
    with tempfile.TemporaryDirectory(prefix="urbanvlm-") as alone:
        store = _store(world_size, rendezvous, Path(alone))
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=None if store else "env://",
            store=store,
            rank=rank,
            world_size=world_size,
            timeout=TIMEOUT,
            device_id=device if device.type == "cuda" else None,
        )
        _start_deepspeed(device)
        try:
            yield ProcessGroup(rank, local_rank, world_size, device)
        finally:
            _stop_deepspeed()
            dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Where the launcher shows each process its own GPU only, that one has number 0.
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def _store(world_size: int, rendezvous: Path | None, alone: Path) -> dist.Store | None:
    """The file to meet at, or None to meet at MASTER_ADDR."""
    if world_size == 1:
        rendezvous = alone / "rendezvous"
    if rendezvous is None:
        if "MASTER_ADDR" in os.environ:
            return None
        raise ValueError(f"{world_size} processes need MASTER_ADDR or a rendezvous file to meet at")
    # A file means one machine: gloo must not depend on whether its host name resolves.
    if "GLOO_SOCKET_IFNAME" not in os.environ and Path("/sys/class/net/lo").exists():
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    # Not as a file:// address: torch would look for a folder named "my%20runs" instead of "my runs", for ever.
    return dist.FileStore(str(rendezvous.absolute()), world_size)


def _start_deepspeed(device: torch.device) -> None:
    """DeepSpeed's wrapper around the group that exists already."""
    # An optimizer that DeepSpeed imports and we do not use would load torch's compiler: 3 s at every start.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    if device.type == "cpu":
        # Else DeepSpeed tries to import the extension of every accelerator it knows.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # Of DeepSpeed's use of torch: nothing we or the user could mend.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed\..*")
    import deepspeed
    import deepspeed.ops

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    if device.type == "cpu":
        # Its start would compile a shared-memory all-reduce for half a minute, which needs a C++ compiler; killed
        # meanwhile it leaves a lock on which the next start waits for ever. gloo does the same work. Said for all of
        # its operators, because to find out which of them this machine could compile, it calls the compiler as well.
        deepspeed.ops.__compatible_ops__ = defaultdict(bool)
    deepspeed.init_distributed(
        dist_backend=dist.get_backend(), auto_mpi_discovery=False, verbose=False, timeout=TIMEOUT
    )


def _stop_deepspeed() -> None:
    """Forget DeepSpeed's groups, so that a later group in this process does not meet them."""
    from deepspeed.comm import comm
    from deepspeed.utils import groups

    comm.cdb = None
    for name, value in vars(groups).items():
        if name.startswith("_") and name.endswith("_GROUP") and value is not None:
            setattr(groups, name, None)
