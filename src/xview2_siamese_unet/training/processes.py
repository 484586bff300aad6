"""The processes that `torchrun` launched: rank, world size, all-gather, and how they end.

Nothing else reads these environment variables: MPI, Slurm, Kubernetes and notebooks of clusters set `RANK` and its like
for runs that are none of `torchrun`. Imports no torch, for each command asks for the rank.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple, TypeVar

Part = TypeVar("Part")


class Shard(NamedTuple):
    """The part of every batch that one of several processes computes."""

    rank: int = 0
    world: int = 1


def launched() -> bool:
    """Return whether `torchrun` launched this process; as `torch.distributed.is_torchelastic_launched`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launched_shard() -> Shard:
    """Return which of the processes that `torchrun` launched this is; the only one where it launched none."""
    return Shard(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if launched() else Shard()


def launched_here() -> int:
    """Return how many processes `torchrun` launched on this node; 1 where it launched none."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else 1


def local_rank() -> int:
    """Return the number of this process on its node, which is that of its GPU; 0 where `torchrun` launched none."""
    return int(os.environ["LOCAL_RANK"]) if launched() else 0


def everywhere(part: Part) -> list[Part]:
    """Return what each process has, in the same order in all of them."""
    import torch  # noqa: PLC0415

    if not torch.distributed.is_initialized():
        return [part]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts


def leave_processes() -> None:
    """Wait for the other processes of `torchrun` and end the connection to them; does nothing where there are none."""
    import torch  # noqa: PLC0415

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
