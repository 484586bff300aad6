"""Which device computes, and in which numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.params.modelling import HardwareParams

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def pick_device(asked: str) -> str:
    """Return `cuda` or `cpu`.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if asked == "gpu" and not there:
        raise ConfigError(
            "hardware.device",
            found="gpu on a machine where torch sees none",
            allowed="auto, cpu, or gpu where there is one",
            remedy="set hardware.device to auto, or check the driver with nvidia-smi",
        )
    return "cuda" if there and asked != "cpu" else "cpu"


def pick_precision(params: HardwareParams, device: str) -> Precision:
    """Return a precision of Lightning's Trainer; `auto` is bfloat16 where the hardware computes in it."""
    if params.precision != "auto":
        return params.precision
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    # On a CPU without such instructions bfloat16 is emulated, and slower than float32.
    # The function is younger than the oldest torch that we take.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("avx512_bf16", False) else "32-true"


def autocast_dtype(params: HardwareParams, device: str) -> torch.dtype | None:
    """Return the numbers that a trained net computes in, `None` for float32."""
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(pick_precision(params, device))
