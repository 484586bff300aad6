"""The device and the precision of a computation with torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import torch

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.machine import sign_of_gpu

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
_log = logging.getLogger(__name__)


def pick_device(device: str) -> str:
    """Return `cuda` or `cpu`; warn once if `auto` does not use a GPU of this machine.

    Raises:
        ConfigError: `gpu` without a GPU.
    """
    available = torch.cuda.is_available()
    if device == "gpu" and not available:
        raise ConfigError(
            "hardware.device is gpu, but torch detects none.",
            hint="Set hardware.device to auto, or check the driver with nvidia-smi.",
        )
    for warning in device_warnings(device):
        _warn_once(warning)
    return "cuda" if available and device != "cpu" else "cpu"


def device_warnings(device: str) -> list[str]:
    """Return a warning if `auto` does not use a GPU of this machine."""
    sign = sign_of_gpu()
    if device != "auto" or torch.cuda.is_available() or sign is None:
        return []
    built = torch.version.cuda or torch.version.hip
    remedy = "check the driver with nvidia-smi" if built else "install a torch that is built with CUDA"
    return [
        f"Running on the CPU: torch detects no GPU, although this machine appears to have one ({sign}): {remedy}, "
        "or set hardware.device to cpu"
    ]


@cache
def _warn_once(warning: str) -> None:
    _log.warning(warning)


def pick_precision(params: HardwareParams, device: str) -> Precision:
    """Return a precision of Lightning's Trainer; `auto` is bfloat16 if supported."""
    if params.precision != "auto":
        return params.precision
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    # A CPU without these instructions emulates bfloat16, which is slower than float32.
    # The oldest supported torch does not have this function.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("avx512_bf16", False) else "32-true"


def autocast_dtype(params: HardwareParams, device: str) -> torch.dtype | None:
    """Return the dtype of autocast for a trained net, `None` for float32."""
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(pick_precision(params, device))
