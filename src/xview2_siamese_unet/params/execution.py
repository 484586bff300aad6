"""Where the scene-by-scene work runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xview2_siamese_unet.params.base import Strict


class ExecutorParams(Strict):
    """How many processes share the scenes; what they write does not depend on it."""

    kind: Literal["serial", "processes"] = "serial"
    workers: int | None = Field(default=None, ge=1)
    """Processes; `null` takes one for each core that this process may use."""
