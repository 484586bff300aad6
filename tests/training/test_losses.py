from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from xview2_siamese_unet.config.modelling import DamageLossMix, LossesParams, LossMix
from xview2_siamese_unet.damage import IGNORE
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.training.losses import (
    ReduceMean,
    check_losses,
    dice_loss,
    focal_loss,
    lovasz_loss,
    mix_losses,
    ordinal_loss,
)


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


def test_without_pixels_loss_and_gradient_are_0() -> None:
    logits = torch.randn(1, 5, 4, 4, requires_grad=True)
    loss = focal_loss(logits, torch.full((1, 4, 4), IGNORE), torch.ones(5), 2.0)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_confident_pixel_has_a_finite_gradient(gamma: float) -> None:
    logits = torch.tensor([80.0, -80.0]).view(1, 2, 1, 1).requires_grad_()
    focal_loss(logits, torch.zeros(1, 1, 1, dtype=torch.int64), None, gamma).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def pixels(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    counted = target != IGNORE
    return logits.softmax(1).movedim(1, -1)[counted], target[counted]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6))
def test_dice_loss_is_the_formula(seed: int, classes: int) -> None:
    logits, target, _ = scene(seed, classes)
    p, truth = pixels(logits, target)
    total = 0.0
    for c in range(1, classes):
        true = (truth == c).float()
        total += float(1 - 2 * (p[:, c] * true).sum() / (p[:, c].sum() + true.sum())) if true.any() else 0.0
    assert dice_loss(logits, target).item() == pytest.approx(total / (classes - 1), abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6))
def test_lovasz_loss_is_the_formula(seed: int, classes: int) -> None:
    logits, target, _ = scene(seed, classes)
    p, truth = pixels(logits, target)
    losses = []
    for c in truth.unique().tolist():
        true = truth == c
        errors, order = (true.float() - p[:, c]).abs().sort(descending=True)
        # Jaccard loss if the n worst pixels are wrong, for each n; its increments weight the errors.
        hit, wrong = true[order].cumsum(0), (~true[order]).cumsum(0)
        jaccard = 1 - (true.sum() - hit) / (true.sum() + wrong)
        losses.append((errors * jaccard.diff(prepend=torch.zeros(1))).sum())
    torch.testing.assert_close(lovasz_loss(logits, target), torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(5, 6))
def test_ordinal_loss_is_the_formula(seed: int, classes: int) -> None:
    logits, target, _ = scene(seed, classes)
    scored = [(b, y, x) for b, y, x in (target != IGNORE).nonzero().tolist() if 1 <= target[b, y, x] <= 4]
    total = 0.0
    for b, y, x in scored:
        p = logits[b, 1:5, y, x].softmax(0)
        total += sum(float(p[:c].sum() - (target[b, y, x] <= c).float()) ** 2 for c in range(1, 5))
    assert ordinal_loss(logits, target).item() == pytest.approx(total / len(scored), rel=1e-4, abs=1e-6)


def test_ordinal_loss_grows_with_the_distance_between_classes() -> None:
    truth = torch.full((1, 1, 1), 1)
    costs = [ordinal_loss(9 * functional.one_hot(truth + off, 5).movedim(-1, 1).float(), truth) for off in range(4)]
    assert costs[0] < costs[1] < costs[2] < costs[3]


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits, target, reduce_mean: focal_loss(logits, target, torch.arange(1.0, 6.0), 2.0, reduce_mean),
        dice_loss,
        ordinal_loss,
    ],
    ids=["focal", "dice", "ordinal"],
)
def test_a_batch_split_over_ranks_has_the_gradient_of_the_whole_batch(
    loss: Callable[[Tensor, Tensor, ReduceMean], Tensor],
) -> None:
    logits, target, _ = scene(7, 5)
    target[0, :3] = 0  # the two parts have different shares of classes
    whole = logits.clone().requires_grad_()
    loss(whole, target, lambda numbers: numbers).backward()
    shared, sums = logits.clone().requires_grad_(), []
    for part in (slice(0, 1), slice(1, 2)):
        loss(shared[part], target[part], lambda numbers: sums.append(numbers) or numbers)  # type: ignore[func-returns-value]
    mean = torch.stack(sums).mean(dim=0)
    (sum(loss(shared[part], target[part], lambda _: mean) for part in (slice(0, 1), slice(1, 2))) / 2).backward()
    torch.testing.assert_close(shared.grad, whole.grad)


ALL = {"focal": 0.7, "cross_entropy": 0.2, "dice": 0.3, "lovasz": 0.4}


def test_a_mix_is_the_weighted_sum_of_its_losses() -> None:
    logits, target, alpha = scene(3, 5)
    inside = target.where(target != 0, IGNORE)
    mixed = mix_losses(logits, target, DamageLossMix(**ALL, ordinal=0.6), alpha=alpha, gamma=2.0)
    pixelwise = 0.7 * focal_loss(logits, target, alpha, 2.0) + 0.2 * focal_loss(logits, target, alpha, 0.0)
    overlaps = 0.3 * dice_loss(logits, inside) + 0.4 * lovasz_loss(logits, inside)
    torch.testing.assert_close(mixed, pixelwise + overlaps + 0.6 * ordinal_loss(logits, inside))


def test_overlap_losses_of_localisation_count_every_pixel() -> None:
    logits, target, _ = scene(4, 2)
    mix = LossMix(focal=0.0, dice=1.0, lovasz=1.0)
    mixed = mix_losses(logits, target, mix, alpha=None, gamma=2.0)
    torch.testing.assert_close(mixed, dice_loss(logits, target) + lovasz_loss(logits, target))


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize(("kind", "name"), [(LossMix, "dicee"), (DamageLossMix, "dicee"), (LossMix, "ordinal")])
def test_an_unknown_loss_of_a_head_is_refused(kind: type[LossMix], name: str, weight: float) -> None:
    head, mix = "post" if kind is DamageLossMix else "pre", kind.model_validate({name: weight})
    logits, target, _ = scene(6, 5)
    with pytest.raises(ConfigError, match=rf"key of training\.losses\.{head} must be one of focal, .*, got '{name}'"):
        mix_losses(logits, target, mix, alpha=None, gamma=2.0)
    with pytest.raises(ConfigError, match=rf"training\.losses\.{head}.*got '{name}'") as caught:
        check_losses(LossesParams.model_construct(**{"pre": LossMix(), "post": DamageLossMix(), head: mix}))
    assert name == "ordinal" or "dice" in caught.value.hint


@pytest.mark.parametrize("mix", [DamageLossMix(**ALL, ordinal=1.0), DamageLossMix(focal=0.0)])
def test_a_mix_without_pixels_has_a_gradient_of_0(mix: DamageLossMix) -> None:
    logits = torch.randn(1, 5, 4, 4, requires_grad=True)
    loss = mix_losses(logits, torch.full((1, 4, 4), IGNORE), mix, alpha=torch.ones(5), gamma=2.0)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_every_rank_divides_by_the_mean_weight_of_all_ranks() -> None:
    logits, target, alpha = scene(5, 5)
    mean = alpha[target[target != IGNORE]].sum() / 2
    halves = [focal_loss(logits[i : i + 1], target[i : i + 1], alpha, 2.0, lambda _: mean) for i in (0, 1)]
    torch.testing.assert_close(torch.stack(halves).mean(), focal_loss(logits, target, alpha, 2.0))
