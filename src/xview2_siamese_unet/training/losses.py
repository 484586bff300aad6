"""Losses over pixels; a pixel of `IGNORE` counts nowhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xview2_siamese_unet.damage import IGNORE


def focal_loss(logits: Tensor, target: Tensor, alpha: Tensor | None, gamma: float) -> Tensor:
    """Return the softmax focal loss, a weighted mean as `cross_entropy` takes it: Σ αₜ(1 − pₜ)^γ · −log pₜ / Σ αₜ.

    With `gamma` 0 it is cross entropy. Not the focal loss of segmentation-models-pytorch, which is one sigmoid a class.

    Args:
        logits: (b, k, h, w).
        target: (b, h, w), int64, 0 to k − 1 or `IGNORE`.
        alpha: one weight a class, (k,); `None` weighs all alike.
        gamma: how much a pixel that is already right is held back.

    Returns:
        A scalar; 0 where every pixel is ignored.
    """
    log_p = functional.log_softmax(logits.float(), dim=1)
    per_pixel = functional.nll_loss(log_p, target, weight=alpha, ignore_index=IGNORE, reduction="none")
    counted = target != IGNORE
    known = target.where(counted, 0)
    p = log_p.gather(1, known.unsqueeze(1)).squeeze(1).exp()
    weight = counted.float() if alpha is None else alpha[known] * counted
    # 1 − p is 0 for a pixel that is surely right, and 0 ** gamma has no finite slope for gamma < 1.
    modulated = per_pixel * (1 - p).clamp_min(1e-8).pow(gamma)
    return modulated.sum() / weight.sum().clamp_min(torch.finfo(torch.float32).tiny)
