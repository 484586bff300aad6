"""Losses over pixels; a pixel of `IGNORE` counts nowhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor
from torch.nn import functional

from xview2_siamese_unet.config.training import DamageLossMix, LossMix
from xview2_siamese_unet.damage import IGNORE, SCORED, Damage

Spread = Callable[[Tensor], Tensor]
"""Mean of numbers over all processes, through which gradients flow: each forms its ratio of the pixels of all."""
_TINY = torch.finfo(torch.float32).tiny


def mix_losses(
    logits: Tensor,
    target: Tensor,
    mix: LossMix,
    *,
    alpha: Tensor | None,
    gamma: float,
    spread: Spread = lambda number: number,
) -> Tensor:
    """Return the weighted sum of the losses of one head.

    Args:
        logits: (b, k, h, w).
        target: (b, h, w), int64, 0 to k − 1 or `IGNORE`.
        mix: weights of the losses; a `DamageLossMix` for the damage head.
        alpha: one weight a class for focal and cross entropy.
        gamma: of the focal loss.
        spread: see `Spread`.
    """
    of_damage = isinstance(mix, DamageLossMix)
    # Where no building is, the damage head is never asked: overlaps and orders look at buildings only.
    inside = target.where(target != Damage.BACKGROUND, IGNORE) if of_damage else target
    parts: dict[str, Callable[[], Tensor]] = {
        "focal": lambda: focal_loss(logits, target, alpha, gamma, spread),
        "cross_entropy": lambda: focal_loss(logits, target, alpha, 0.0, spread),
        "dice": lambda: dice_loss(logits, inside, spread),
        "lovasz": lambda: lovasz_loss(logits, inside),
        "ordinal": lambda: ordinal_loss(logits, inside, spread),
    }
    weights = mix.model_dump()
    terms = [weights[name] * parts[name]() for name in parts if weights.get(name)]
    return torch.stack(terms).sum() if terms else logits.sum() * 0


def focal_loss(
    logits: Tensor,
    target: Tensor,
    alpha: Tensor | None,
    gamma: float,
    spread: Spread = lambda number: number,
) -> Tensor:
    """Return the softmax focal loss, a weighted mean as `cross_entropy` takes it: Σ αₜ(1 − pₜ)^γ · −log pₜ / Σ αₜ.

    With `gamma` 0 it is cross entropy. Not the focal loss of segmentation-models-pytorch, which is one sigmoid a class.

    Args:
        logits: (b, k, h, w).
        target: (b, h, w), int64, 0 to k − 1 or `IGNORE`.
        alpha: one weight a class, (k,); `None` weighs all alike.
        gamma: how much a pixel that is already right is held back.
        spread: see `Spread`.

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    log_p = functional.log_softmax(logits.float(), dim=1)
    counted = target != IGNORE
    known = target.where(counted, 0)
    log_p_true = log_p.gather(1, known.unsqueeze(1)).squeeze(1)  # `nll_loss` has no deterministic form on a GPU
    weight = counted.float() if alpha is None else alpha[known] * counted
    # 1 − p is 0 for a pixel that is surely right, and 0 ** gamma has no finite slope for gamma < 1.
    modulated = -log_p_true * weight * (1 - log_p_true.exp()).clamp_min(1e-8).pow(gamma)
    return modulated.sum() / spread(weight.sum()).clamp_min(_TINY)


def dice_loss(logits: Tensor, target: Tensor, spread: Spread = lambda number: number) -> Tensor:
    """Return 1 − Dice overlap, the mean over all classes but background; a class that is not there adds 0.

    Not that of segmentation-models-pytorch, whose sums cannot be taken over several processes.
    """
    p = logits.float().softmax(dim=1) * (target != IGNORE).unsqueeze(1)
    truth = target.unsqueeze(1) == torch.arange(logits.shape[1], device=target.device).view(1, -1, 1, 1)
    sums = torch.stack([part.sum(dim=(0, 2, 3), dtype=torch.float32) for part in (p * truth, p, truth)])
    overlap, answered, there = spread(sums)[:, 1:]
    dice = 2 * overlap / (answered + there).clamp_min(_TINY)
    loss: Tensor = ((1 - dice) * (there > 0)).mean()
    return loss


def lovasz_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the Lovász-softmax loss over the classes that are there, Berman et al. 2018, arXiv:1705.08790.

    It sorts pixels, so each of several processes takes its own for the whole batch.
    """
    loss: Tensor = LovaszLoss("multiclass", ignore_index=IGNORE)(logits.float(), target)
    return loss.sum()  # without a pixel it is empty


def ordinal_loss(logits: Tensor, target: Tensor, spread: Spread = lambda number: number) -> Tensor:
    """Return the squared earth mover's distance, Hou et al. 2017, arXiv:1611.05916: the mean over the pixels of the
    four scored classes of Σ (P(class ≤ c) − [truth ≤ c])².
    """  # noqa: D205
    scored = (target >= SCORED[0]) & (target <= SCORED[-1])
    p = logits[:, SCORED[0] : SCORED[-1] + 1].float().softmax(dim=1).cumsum(dim=1)
    truth = torch.stack([target <= code for code in SCORED], dim=1)
    distance = (p - truth.float()).square().sum(dim=1) * scored
    return distance.sum() / spread(scored.sum().float()).clamp_min(_TINY)
