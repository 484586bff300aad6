from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from xview2_siamese_unet.damage import IGNORE
from xview2_siamese_unet.training.losses import focal_loss


def scene(seed: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 5, 4, generator=random)
    target = torch.randint(classes, (2, 5, 4), generator=random)
    target[torch.rand(2, 5, 4, generator=random) < 0.2] = IGNORE
    return logits, target, 0.1 + torch.rand(classes, generator=random)


def slow_focal(logits: Tensor, target: Tensor, alpha: Tensor, gamma: float) -> Tensor:
    total, weights = torch.zeros(()), torch.zeros(())
    for b, y, x in (target != IGNORE).nonzero().tolist():
        p = logits[b, :, y, x].softmax(0)[target[b, y, x]]
        total, weights = total - alpha[target[b, y, x]] * (1 - p) ** gamma * p.log(), weights + alpha[target[b, y, x]]
    return total / weights


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6), gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]))
def test_focal_loss_is_the_formula(seed: int, classes: int, gamma: float) -> None:
    logits, target, alpha = scene(seed, classes)
    torch.testing.assert_close(
        focal_loss(logits, target, alpha, gamma), slow_focal(logits, target, alpha, gamma), rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        focal_loss(logits, target, None, gamma),
        slow_focal(logits, target, torch.ones(classes), gamma),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("weighted", [True, False])
def test_focal_loss_without_gamma_is_cross_entropy(weighted: bool) -> None:
    logits, target, alpha = scene(1, 5)
    weight = alpha if weighted else None
    expected = functional.cross_entropy(logits, target, weight=weight, ignore_index=IGNORE)
    torch.testing.assert_close(focal_loss(logits, target, weight, 0.0), expected)


def test_an_ignored_pixel_changes_neither_loss_nor_gradient() -> None:
    logits, target, alpha = scene(2, 5)
    logits.requires_grad_()
    focal_loss(logits, target, alpha, 2.0).backward()
    assert logits.grad is not None
    ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].any()


def test_where_all_is_ignored_the_loss_is_nought_and_so_is_its_slope() -> None:
    logits = torch.randn(1, 5, 4, 4, requires_grad=True)
    loss = focal_loss(logits, torch.full((1, 4, 4), IGNORE), torch.ones(5), 2.0)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_pixel_that_is_surely_right_has_a_finite_slope(gamma: float) -> None:
    logits = torch.tensor([80.0, -80.0]).view(1, 2, 1, 1).requires_grad_()
    focal_loss(logits, torch.zeros(1, 1, 1, dtype=torch.int64), None, gamma).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
