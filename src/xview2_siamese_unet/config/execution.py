"""Execution of work that is done scene by scene."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xview2_siamese_unet.config.validation import Strict


class ExecutorParams(Strict):
    """Processes that share the scenes; results do not depend on them."""

    kind: Literal["serial", "processes", "dask"] = "serial"
    """`dask` needs the extra `cluster`."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; `null`: one for each core that this process may use."""
    scheduler: str | None = Field(default=None, pattern=r"^(slurm|(tcp|tls|ucx|ws|wss)://.+)$")
    """Only for `dask`: the address of a scheduler, or `slurm` for workers that dask-jobqueue submits (as Dask's
    own configuration files set under `jobqueue.slurm`); `null` starts workers on this machine."""
