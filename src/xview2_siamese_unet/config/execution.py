"""Where the scene-by-scene work runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xview2_siamese_unet.config.base import Strict


class ExecutorParams(Strict):
    """How many processes share the scenes; what they write does not depend on it."""

    kind: Literal["serial", "processes", "dask"] = "serial"
    """`dask` needs the extra `cluster`."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; `null` takes one for each core that this process may use."""
    scheduler: str | None = Field(default=None, pattern=r"^(slurm|(tcp|tls|ucx|ws|wss)://.+)$")
    """Only for `dask`: the address of a scheduler, or `slurm` for workers that dask-jobqueue submits (how, say Dask's
    own configuration files, under `jobqueue.slurm`); `null` starts workers on this machine."""
