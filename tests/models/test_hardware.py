from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models import hardware, machine
from xview2_siamese_unet.models.hardware import device_warnings, pick_device, pick_precision
from xview2_siamese_unet.models.machine import is_out_of_memory, one_thread, thread_count, use_one_gpu


@pytest.fixture(autouse=True)
def no_sign_of_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_DEV", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hardware._warn_once.cache_clear()


def gpu(monkeypatch: pytest.MonkeyPatch, available: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)


def test_the_device_follows_the_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, True)
    assert [pick_device(asked) for asked in ("auto", "gpu", "cpu")] == ["cuda", "cuda", "cpu"]
    gpu(monkeypatch, False)
    assert [pick_device(asked) for asked in ("auto", "cpu")] == ["cpu", "cpu"]


def test_a_missing_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, False)
    with pytest.raises(ConfigError, match=r"hardware\.device is gpu"):
        pick_device("gpu")


def show(sign: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a sign of a GPU."""
    if sign.startswith("CUDA_VISIBLE_DEVICES="):
        monkeypatch.setenv(*sign.split("="))
    else:
        (folder / sign).touch(0o755)


@pytest.mark.parametrize("sign", ["nvidia0", "nvidia3", "nvidia-smi", "CUDA_VISIBLE_DEVICES=0,1"])
def test_auto_warns_once_about_an_unused_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, sign: str
) -> None:
    gpu(monkeypatch, False)
    show(sign, tmp_path, monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert [pick_device("auto") for _ in range(2)] == ["cpu", "cpu"]
    (warning,) = caplog.messages
    assert sign in warning
    assert "torch detects no GPU" in warning
    assert device_warnings("auto") == [warning]
    assert device_warnings("cpu") == []


@pytest.mark.parametrize("hidden", [None, "", "-1", "NoDevFiles"])
def test_auto_does_not_warn_without_a_gpu_or_if_it_is_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hidden: str | None
) -> None:
    gpu(monkeypatch, False)
    if hidden is not None:
        show("nvidia0", tmp_path, monkeypatch)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert device_warnings("auto") == []


def test_a_used_gpu_causes_no_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu(monkeypatch, True)
    show("nvidia0", tmp_path, monkeypatch)
    assert device_warnings("auto") == []


@pytest.mark.parametrize(("built", "advice"), [("13.2", "check the driver"), (None, "built with CUDA")])
def test_the_advice_depends_on_what_torch_is_built_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built: str | None, advice: str
) -> None:
    gpu(monkeypatch, False)
    show("nvidia0", tmp_path, monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    assert advice in device_warnings("auto")[0]


@pytest.mark.parametrize(("available", "picked"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_auto_precision_of_a_gpu(monkeypatch: pytest.MonkeyPatch, available: bool, picked: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: available)
    assert pick_precision(HardwareParams(), "cuda") == picked


@pytest.mark.parametrize(("available", "picked"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_of_a_cpu(monkeypatch: pytest.MonkeyPatch, available: bool, picked: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": available}, raising=False)
    assert pick_precision(HardwareParams(), "cpu") == picked


def test_a_torch_without_cpu_capabilities_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_precision(HardwareParams(), "cpu") == "32-true"


def test_a_given_precision_is_used() -> None:
    assert pick_precision(HardwareParams(precision="16-mixed"), "cpu") == "16-mixed"


@pytest.mark.parametrize(
    ("visible", "count", "seen"),
    [(None, 2, ["0", "1", "0"]), ("4,GPU-5e", 2, ["4", "GPU-5e", "4"]), (None, 0, [None] * 3), ("3", 1, ["3"] * 3)],
)
def test_a_worker_sees_the_gpu_of_its_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str | None, count: int, seen: list[str | None]
) -> None:
    for index in range(count):
        (tmp_path / f"nvidia{index}").touch()
    for number, expected in enumerate(seen):
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        else:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        use_one_gpu(number)
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == expected


@pytest.mark.parametrize(("asked", "count"), [("3", 3), ("2,1", 2), ("0", 2), ("many", 2), (None, 2)])
def test_the_thread_count_follows_omp_num_threads_or_else_the_cores(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, count: int
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda logical: 8 if logical else 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert thread_count() == count


@pytest.mark.parametrize("asked", ["2", None])
def test_one_thread_applies_to_torch_and_onnx_until_the_block_ends(
    monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert (torch.get_num_threads(), thread_count()) == (1, 1)
        assert torch.get_num_threads() == 2
        assert os.environ.get("OMP_NUM_THREADS") == asked
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("no"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("size mismatch"), False),
    ],
)
def test_an_out_of_memory_error_is_recognised_by_class_or_message(error: Exception, ran_out: bool) -> None:
    assert is_out_of_memory(error) is ran_out
