"""GPUs, threads and memory of this machine, without torch."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil

from xview2_siamese_unet.parallel import usable_cores

_DEV: Final = Path("/dev")
_OUT_OF_MEMORY: Final = re.compile("out of memory|allocate memory|_ALLOC_FAILED")
_THREADS: Final = "OMP_NUM_THREADS"


def sign_of_gpu() -> str | None:
    """Return a sign that this machine has a GPU; `None` without one, or if the GPU is hidden on purpose."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in {"", "-1", "NoDevFiles"}:  # the last is Slurm's
        return None
    if visible:
        return f"CUDA_VISIBLE_DEVICES={visible}"
    return str(next(_gpus(), "")) or shutil.which("nvidia-smi")


def use_one_gpu(number: int) -> None:
    """Restrict this process to one of several GPUs: that of its number modulo their count.

    Call this before CUDA starts, which reads the variable once, for all threads.
    """
    all_gpus = ",".join(str(index) for index, _ in enumerate(_gpus()))
    names = os.environ.get("CUDA_VISIBLE_DEVICES", all_gpus).split(",")
    if len(names) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]


def _gpus() -> Iterator[Path]:
    return _DEV.glob("nvidia[0-9]*")


def thread_count() -> int:
    """Return the threads of a network outside torch: `OMP_NUM_THREADS`, else one for each core, as torch does."""
    requested = os.environ.get(_THREADS, "").partition(",")[0]
    if requested.isdecimal() and int(requested):
        return int(requested)
    return min(usable_cores(), psutil.cpu_count(logical=False) or usable_cores())


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread for networks that are opened in this context, and for torch if it is installed."""
    # Import torch before the variable is set, which it would keep for good.
    torch = import_module("torch") if find_spec("torch") else None
    threads, before = torch and torch.get_num_threads(), os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)
        os.environ.pop(_THREADS)
        if before is not None:
            os.environ[_THREADS] = before


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch, of a library of CUDA or of ONNX Runtime means that memory ran out."""
    # Only some of them have a class: the CPU, cuDNN, cuBLAS and ONNX Runtime raise a RuntimeError.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return not kinds.isdisjoint({"MemoryError", "OutOfMemoryError"}) or bool(_OUT_OF_MEMORY.search(str(error)))


def free_gpu_memory() -> None:
    """Free the GPU memory that torch has cached."""
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
