"""Which device computes, and in which numbers."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import ConfigError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
_DEV = Path("/dev")
_log = logging.getLogger(__name__)


def pick_device(asked: str) -> str:
    """Return `cuda` or `cpu`; log once in a process that `auto` passes over a GPU.

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
    for warning in device_warnings(asked):
        _warn_once(warning)
    return "cuda" if there and asked != "cpu" else "cpu"


def device_warnings(asked: str) -> list[str]:
    """Return a sentence if `auto` takes the CPU of a machine that has a GPU: hours instead of minutes."""
    sign = _sign_of_gpu()
    if asked != "auto" or torch.cuda.is_available() or sign is None:
        return []
    built = torch.version.cuda or torch.version.hip
    remedy = "check the driver with nvidia-smi" if built else "install a torch that is built with CUDA"
    return [
        f"Running on the CPU: torch detects no GPU, although this machine appears to have one ({sign}): {remedy}, "
        "or set hardware.device to cpu"
    ]


def _sign_of_gpu() -> str | None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in {"", "-1", "NoDevFiles"}:  # the last is Slurm's
        return None  # hidden on purpose
    if visible:
        return f"CUDA_VISIBLE_DEVICES={visible}"
    device = next(_DEV.glob("nvidia[0-9]*"), None)
    return str(device or "") or shutil.which("nvidia-smi")


@cache
def _warn_once(warning: str) -> None:
    _log.warning(warning)


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
