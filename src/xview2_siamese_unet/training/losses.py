"""Segmentation losses of the two heads; pixels of `IGNORE` do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor
from torch.nn import functional

from xview2_siamese_unet.config.modelling import DamageLossMix, LossesParams, LossMix
from xview2_siamese_unet.config.validation import look_up
from xview2_siamese_unet.damage import IGNORE, SCORED, Damage
from xview2_siamese_unet.models.tensors import ClassLogits, ClassWeights, Scalar, Targets

ReduceMean = Callable[[Tensor], Tensor]
"""Differentiable mean over all ranks, so that a ratio of sums is that of the pixels of all ranks."""
_TINY = torch.finfo(torch.float32).tiny


class Terms(NamedTuple):
    """Inputs of a loss in addition to logits and target.

    Attributes:
        alpha: class weights (k,); `None` weights all equally.
        gamma: of the focal loss.
        reduce_mean: over all ranks.
    """

    alpha: Tensor | None
    gamma: float
    reduce_mean: ReduceMean


class Loss(NamedTuple):
    """An entry of `LOSSES`.

    Attributes:
        function: logits (b, k, h, w), target (b, h, w), int64, 0 to k − 1 or `IGNORE`, and `Terms` → the loss, ().
        background: whether the damage head counts pixels of the background, which are `IGNORE` otherwise.
        damage_only: whether the loss needs the damage classes, so that the localisation head has none.
    """

    function: Callable[[Tensor, Tensor, Terms], Tensor]
    background: bool = False
    damage_only: bool = False


def check_losses(losses: LossesParams) -> None:
    """Check the names of the losses of both heads.

    Raises:
        ConfigError: no such loss of that head.
    """
    for mix in (losses.pre, losses.post):
        _weights(mix)


def mix_losses(
    logits: ClassLogits,
    target: Targets,
    mix: LossMix,
    *,
    alpha: ClassWeights | None,
    gamma: float,
    reduce_mean: ReduceMean = lambda number: number,
) -> Scalar:
    """Return the weighted sum of the losses of one head.

    Args:
        logits: of k classes.
        target: 0 to k − 1 or `IGNORE`.
        mix: weights of the losses; a `DamageLossMix` for the damage head.
        alpha: class weights of focal and cross entropy.
        gamma: of the focal loss.
        reduce_mean: over all ranks.

    Raises:
        ConfigError: the mix names no loss of that head.
    """
    of_damage = isinstance(mix, DamageLossMix)
    # Damage is only predicted for buildings, so overlap and ordinal losses of the damage head skip the background.
    inside = target.where(target != Damage.BACKGROUND, IGNORE) if of_damage else target
    terms = Terms(alpha, gamma, reduce_mean)
    parts = [
        weight * loss.function(logits, target if loss.background else inside, terms)
        for loss, weight in _weights(mix)
        if weight
    ]
    return torch.stack(parts).sum() if parts else logits.sum() * 0


def _weights(mix: LossMix) -> list[tuple[Loss, float]]:
    of_damage = isinstance(mix, DamageLossMix)
    known = {name: loss for name, loss in LOSSES.items() if of_damage or not loss.damage_only}
    key = f"Each key of training.losses.{'post' if of_damage else 'pre'}"
    return [(look_up(known, name, key), weight) for name, weight in mix.model_dump().items()]


def focal_loss(
    logits: ClassLogits,
    target: Targets,
    alpha: ClassWeights | None,
    gamma: float,
    reduce_mean: ReduceMean = lambda number: number,
) -> Scalar:
    """Return the softmax focal loss, Σ αₜ(1 − pₜ)^γ · −log pₜ / Σ αₜ.

    With `gamma` 0 it is cross entropy. The focal loss of segmentation-models-pytorch is one sigmoid for each class.

    Args:
        logits: of k classes.
        target: 0 to k − 1 or `IGNORE`; the loss is 0 if all are ignored.
        alpha: class weights; `None` weights all equally.
        gamma: focusing parameter.
        reduce_mean: over all ranks.
    """
    log_p = functional.log_softmax(logits.float(), dim=1)
    counted = target != IGNORE
    known = target.where(counted, 0)
    log_p_true = log_p.gather(1, known.unsqueeze(1)).squeeze(1)  # `nll_loss` has no deterministic form on a GPU
    weight = counted.float() if alpha is None else alpha[known] * counted
    # 1 − p can be 0, and 0 ** gamma has no finite gradient for gamma < 1.
    modulated = -log_p_true * weight * (1 - log_p_true.exp()).clamp_min(1e-8).pow(gamma)
    return modulated.sum() / reduce_mean(weight.sum()).clamp_min(_TINY)


def dice_loss(logits: ClassLogits, target: Targets, reduce_mean: ReduceMean = lambda number: number) -> Scalar:
    """Return 1 − Dice coefficient, the mean over classes 1 to k − 1; absent ones add 0.

    The Dice loss of segmentation-models-pytorch cannot be reduced over ranks.
    """
    p = logits.float().softmax(dim=1) * (target != IGNORE).unsqueeze(1)
    truth = target.unsqueeze(1) == torch.arange(logits.shape[1], device=target.device).view(1, -1, 1, 1)
    sums = torch.stack([part.sum(dim=(0, 2, 3), dtype=torch.float32) for part in (p * truth, p, truth)])
    overlap, predicted, true = reduce_mean(sums)[:, 1:]
    dice = 2 * overlap / (predicted + true).clamp_min(_TINY)
    loss: Tensor = ((1 - dice) * (true > 0)).mean()
    return loss


def lovasz_loss(logits: ClassLogits, target: Targets) -> Scalar:
    """Return the Lovász-softmax loss, Berman et al. 2018, arXiv:1705.08790.

    It sorts pixels, so it is that of each rank's own pixels.
    """
    loss: Tensor = LovaszLoss("multiclass", ignore_index=IGNORE)(logits.float(), target)
    return loss.sum()  # empty without a pixel


def ordinal_loss(logits: ClassLogits, target: Targets, reduce_mean: ReduceMean = lambda number: number) -> Scalar:
    """Return the squared earth mover's distance, Hou et al. 2017, arXiv:1611.05916.

    The mean of Σ (P(class ≤ c) − [truth ≤ c])² over the pixels of the four scored classes.
    """
    scored = (target >= SCORED[0]) & (target <= SCORED[-1])
    p = logits[:, SCORED[0] : SCORED[-1] + 1].float().softmax(dim=1).cumsum(dim=1)
    truth = torch.stack([target <= code for code in SCORED], dim=1)
    distance = (p - truth.float()).square().sum(dim=1) * scored
    return distance.sum() / reduce_mean(scored.sum().float()).clamp_min(_TINY)


LOSSES: Final[dict[str, Loss]] = {
    "focal": Loss(lambda x, y, terms: focal_loss(x, y, terms.alpha, terms.gamma, terms.reduce_mean), background=True),
    "cross_entropy": Loss(lambda x, y, terms: focal_loss(x, y, terms.alpha, 0.0, terms.reduce_mean), background=True),
    "dice": Loss(lambda x, y, terms: dice_loss(x, y, terms.reduce_mean)),
    "lovasz": Loss(lambda x, y, _: lovasz_loss(x, y)),
    "ordinal": Loss(lambda x, y, terms: ordinal_loss(x, y, terms.reduce_mean), damage_only=True),
}
"""Names for `training.losses`; one that has no field in `LossMix` has weight 0 unless it is set."""
