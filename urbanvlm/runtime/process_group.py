"""The processes of one training job as a group: joining it, leaving it, the few collectives we use ourselves."""

from __future__ import annotations

import logging
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from urbanvlm.errors import UserError
from urbanvlm.runtime.rendezvous import Met, Patience, check_gloo_interface, first_line, meet, node_name

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

    def any(self, flag: bool) -> bool:
        """Is it so on one rank at least? Every rank gets the same answer, so that all act alike."""
        return self.sum(flag)[0] > 0

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order, on every rank."""
        values = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """Rank 0's value on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def barrier(self) -> None:
        dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)


@contextmanager
def process_group(rank: int, local_rank: int, world_size: int) -> Iterator[ProcessGroup]:
    """Join the job's processes, with DeepSpeed's communication on top; leave at the end.

    Where they meet stands in the environment, see `urbanvlm.runtime.rendezvous.meet`; one process meets nobody.
    Collectives run on NCCL with a GPU and on gloo without. Raises UserError if the processes do not come together.
    What is set in the environment for the group's libraries ends with it: a job submitted later must not inherit it.
    """
    with _environment_restored():
        device = _device(local_rank)
        # DeepSpeed reads these, whoever has started us.
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(local_rank), WORLD_SIZE=str(world_size))
        # Before there is a group: its functions' default arguments would hold it, and gloo's threads, until the process
        # ends, and end it now and then with "terminate called without an active exception".
        _import_deepspeed(device)
        _join(rank, world_size, device)
        _start_deepspeed()
        try:
            yield ProcessGroup(rank, local_rank, world_size, device)
        finally:
            _stop_deepspeed()
            dist.destroy_process_group()


@contextmanager
def _environment_restored() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def is_lost_peer(error: BaseException) -> bool:
    """Is that what a collective raises when another process, or the way to it, is gone? gloo has no class for it."""
    if isinstance(error, (dist.DistBackendError, dist.DistNetworkError, dist.DistStoreError)):
        return True
    words = str(error)
    return isinstance(error, RuntimeError) and ("gloo/transport" in words or "pair closure" in words)


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Where the launcher shows each process its own GPU only, that one has number 0.
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def _join(rank: int, world_size: int, device: torch.device) -> None:
    """torch's default group over a store at which all processes have met."""
    met = Met.alone() if world_size == 1 else meet(rank, world_size, os.environ)
    if device.type == "cpu" and (interface := check_gloo_interface(met, os.environ)):
        os.environ["GLOO_SOCKET_IFNAME"] = interface
    patience = Patience.of(os.environ)
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=met.store,
            rank=rank,
            world_size=world_size,
            # Of the connections that this makes; the collectives get theirs below.
            timeout=patience.left if device.type == "cuda" else patience.for_gloo,
            device_id=device if device.type == "cuda" else None,
        )
    except RuntimeError as error:
        if device.type == "cuda":
            raise
        what = f"met the other processes, but cannot connect to each ({first_line(error)})"
        interface = os.environ.get("GLOO_SOCKET_IFNAME", "not set")
        raise UserError(
            f"rank {rank} on {node_name()}",
            what,
            f"GLOO_SOCKET_IFNAME is {interface}: do all nodes share that network?",
        ) from error
    dist.distributed_c10d._set_pg_timeout(TIMEOUT)
    met.store.set_timeout(TIMEOUT)


def _import_deepspeed(device: torch.device) -> None:
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


def _start_deepspeed() -> None:
    """DeepSpeed's wrapper around the group that exists already."""
    import deepspeed

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
