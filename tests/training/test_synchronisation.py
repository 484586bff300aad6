"""Augmentation, forward pass and loss on a GPU never copy to or wait for the host, tested with fake tensors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from tiny_training import new_module
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.training.data import TrainingData, _priorities

MakeRecipe = Callable[..., Recipe]
# Without flips, which are drawn on the host from random numbers that fake tensors do not have.
AUGMENTATION = {"flips": False, "rotate": 10.0, "scale": 0.2, "shift": 0.1, "post_shift": 3.0}


class Copies(TorchDispatchMode):
    """Records each operation on tensors of both GPU and host, except scalars, which need no copy."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        if len(devices) > 1:
            self.operations.append(str(func))
        return result


@pytest.fixture
def fake_gpu() -> Any:  # noqa: ANN401
    """Make tensors without memory, even on a GPU that does not exist."""
    _priorities.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    _priorities.cache_clear()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "augmentation": {"flips": False},
            "losses": {"pre": {"dice": 1.0}, "post": {"cross_entropy": 1.0, "dice": 1.0, "ordinal": 1.0}},
        },
        {"damage_dilation": 5, "augmentation": AUGMENTATION},
    ],
    ids=["losses", "augmentation"],
)
def test_a_training_loss_copies_nothing_between_gpu_and_host(
    data: TrainingData, recipe: MakeRecipe, fake_gpu: None, changes: dict[str, Any]
) -> None:
    with torch.device("cuda"):
        module = new_module(data, recipe(training=changes))
    pixels = torch.zeros(2, 64, 64, 8, dtype=torch.uint8, device="cuda")
    module.training_loss(pixels, torch.clone)  # constants are copied once
    with Copies() as copies:
        module.training_loss(pixels, torch.clone)
    assert copies.operations == []


def test_copies_are_recorded_and_waiting_raises_an_error(fake_gpu: None) -> None:
    with ExitStack() as stack:
        copies = stack.enter_context(Copies())
        torch.zeros(2).to("cuda")
        torch.zeros(2, device="cuda").cpu()
    assert len(copies.operations) == 2
    with pytest.raises(DataDependentOutputException):
        torch.zeros((), device="cuda").item()
