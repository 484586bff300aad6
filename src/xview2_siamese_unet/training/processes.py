"""The processes that `torchrun` launched: which one this is, what the others have, and how it ends."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import torch

from xview2_siamese_unet.training.draws import Shard

Part = TypeVar("Part")


def launched() -> bool:
    """Return whether `torchrun` launched this process."""
    return torch.distributed.is_torchelastic_launched()


def launched_shard() -> Shard:
    """Return which of the processes that `torchrun` launched this is; the only one where it launched none."""
    return Shard(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if launched() else Shard()


def launched_here() -> int:
    """Return how many processes `torchrun` launched on this node; 1 where it launched none."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else 1


def everywhere(part: Part) -> list[Part]:
    """Return what each process has, in the same order in all of them."""
    if not torch.distributed.is_initialized():
        return [part]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts


def leave_processes() -> None:
    """Wait for the other processes of `torchrun` and end the connection to them; does nothing where there are none."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
