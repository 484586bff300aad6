"""All-gather and shutdown of the processes of a training."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

T = TypeVar("T")


def all_gather(value: T) -> list[T]:
    """Return the value of each process, by rank."""
    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def destroy_process_group() -> None:
    """Wait for all processes and close the connection between them, if there is one."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
