from __future__ import annotations

import pytest
import torch

from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.nets.hardware import pick_device, pick_precision
from xview2_siamese_unet.params.modelling import HardwareParams


def gpu(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)


def test_the_device_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, True)
    assert [pick_device(asked) for asked in ("auto", "gpu", "cpu")] == ["cuda", "cuda", "cpu"]
    gpu(monkeypatch, False)
    assert [pick_device(asked) for asked in ("auto", "cpu")] == ["cpu", "cpu"]


def test_a_gpu_that_is_not_there_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, False)
    with pytest.raises(ConfigError, match=r"hardware\.device: found gpu"):
        pick_device("gpu")


@pytest.mark.parametrize(("there", "picked"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_a_gpu_computes_in_bfloat16_where_it_can(monkeypatch: pytest.MonkeyPatch, there: bool, picked: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: there)
    assert pick_precision(HardwareParams(), "cuda") == picked


@pytest.mark.parametrize(("there", "picked"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_cpu_computes_in_bfloat16_where_it_can(monkeypatch: pytest.MonkeyPatch, there: bool, picked: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": there}, raising=False)
    assert pick_precision(HardwareParams(), "cpu") == picked


def test_a_torch_that_cannot_tell_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_precision(HardwareParams(), "cpu") == "32-true"


def test_what_is_asked_for_is_taken() -> None:
    assert pick_precision(HardwareParams(precision="16-mixed"), "cpu") == "16-mixed"
