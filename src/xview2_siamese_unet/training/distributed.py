"""The processes that `torchrun` launched: rank, world size, all-gather, shutdown.

MPI, Slurm, Kubernetes and notebooks on clusters also set `RANK` and the like, for runs of a single process. So these
variables count only under `torchrun`. Imports no torch, because every command asks for the rank.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

T = TypeVar("T")


def is_torchrun() -> bool:
    """Return whether `torchrun` launched this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def get_rank() -> int:
    """Return the number of this process among all; 0 without `torchrun`."""
    return int(os.environ["RANK"]) if is_torchrun() else 0


def get_world_size() -> int:
    """Return the number of processes; 1 without `torchrun`."""
    return int(os.environ["WORLD_SIZE"]) if is_torchrun() else 1


def get_local_rank() -> int:
    """Return the number of this process and its GPU on the node; 0 without `torchrun`."""
    return int(os.environ["LOCAL_RANK"]) if is_torchrun() else 0


def get_local_world_size() -> int:
    """Return the number of processes on this node; 1 without `torchrun`."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_torchrun() else 1


def all_gather(value: T) -> list[T]:
    """Return the value of each process, by rank."""
    import torch  # noqa: PLC0415

    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def destroy_process_group() -> None:
    """Wait for all processes and close the connection between them, if there is one."""
    import torch  # noqa: PLC0415

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
