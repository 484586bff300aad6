from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models import hardware
from xview2_siamese_unet.models.hardware import device_warnings, pick_device, pick_precision, use_one_gpu


@pytest.fixture(autouse=True)
def no_sign_of_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "_DEV", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hardware._warn_once.cache_clear()


def gpu(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)


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
    """Let the machine seem to have a GPU."""
    if sign.startswith("CUDA_VISIBLE_DEVICES="):
        monkeypatch.setenv(*sign.split("="))
    else:
        (folder / sign).touch(0o755)


@pytest.mark.parametrize("sign", ["nvidia0", "nvidia3", "nvidia-smi", "CUDA_VISIBLE_DEVICES=0,1"])
def test_auto_warns_once_of_an_unused_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, sign: str
) -> None:
    gpu(monkeypatch, False)
    show(sign, tmp_path, monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert [pick_device("auto") for _ in range(2)] == ["cpu", "cpu"]
    (said,) = caplog.messages
    assert sign in said
    assert "torch detects no GPU" in said
    assert device_warnings("auto") == [said]
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


def test_a_used_gpu_is_no_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("there", "picked"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_auto_precision_of_a_gpu(monkeypatch: pytest.MonkeyPatch, there: bool, picked: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: there)
    assert pick_precision(HardwareParams(), "cuda") == picked


@pytest.mark.parametrize(("there", "picked"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_of_a_cpu(monkeypatch: pytest.MonkeyPatch, there: bool, picked: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": there}, raising=False)
    assert pick_precision(HardwareParams(), "cpu") == picked


def test_an_old_torch_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_precision(HardwareParams(), "cpu") == "32-true"


def test_a_given_precision_is_used() -> None:
    assert pick_precision(HardwareParams(precision="16-mixed"), "cpu") == "16-mixed"


@pytest.mark.parametrize(
    ("visible", "count", "seen"),
    [(None, 2, ["0", "1", "0"]), ("4,GPU-5e", 2, ["4", "GPU-5e", "4"]), (None, 0, [None] * 3), ("3", 1, ["3"] * 3)],
)
def test_a_worker_sees_the_gpu_of_its_number(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int, seen: list[str | None]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for number, expected in enumerate(seen):
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        else:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        use_one_gpu(number)
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == expected
