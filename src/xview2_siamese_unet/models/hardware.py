"""The device and the precision of a computation."""

from __future__ import annotations

import logging
import os
import re
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
_OUT_OF_MEMORY = re.compile("out of memory|allocate memory|_ALLOC_FAILED")
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


def use_one_gpu(number: int) -> None:
    """Let this process see one GPU of several: that of its number modulo their count.

    Call this before CUDA starts, which reads the variable once, for all threads.
    """
    count = torch.cuda.device_count()  # asks the driver, and does not start CUDA
    if count > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % count]


def device_warnings(device: str) -> list[str]:
    """Return a sentence if `auto` does not use a GPU of this machine."""
    sign = _sign_of_gpu()
    if device != "auto" or torch.cuda.is_available() or sign is None:
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
    """Return a precision of Lightning's Trainer; `auto` is bfloat16 if supported."""
    if params.precision != "auto":
        return params.precision
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    # A CPU without these instructions emulates bfloat16, which is slower than float32.
    # The function is younger than the oldest torch that is supported.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("avx512_bf16", False) else "32-true"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch, of a library of CUDA or of ONNX Runtime means that memory ran out."""
    # Only some of them have a class: the CPU, cuDNN, cuBLAS and ONNX Runtime raise a RuntimeError.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or bool(_OUT_OF_MEMORY.search(str(error)))


def autocast_dtype(params: HardwareParams, device: str) -> torch.dtype | None:
    """Return the dtype of autocast for a trained net, `None` for float32."""
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(pick_precision(params, device))
