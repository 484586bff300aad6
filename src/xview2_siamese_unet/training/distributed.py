"""The processes that `torchrun` launched: rank and world size, without torch, because every command needs them.

MPI, Slurm, Kubernetes and notebooks on clusters also set `RANK` and the like, for runs of a single process. So these
variables count only under `torchrun`.
"""

from __future__ import annotations

import os


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
