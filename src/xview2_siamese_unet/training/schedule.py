"""The learning rate as a function of how far training has come."""

from __future__ import annotations

import math

from xview2_siamese_unet.config.training import SchedulerParams


def learning_rate(epoch: float, peak: float, params: SchedulerParams, warmup: float = 0.0) -> float:
    """Return the rate at an epoch: cosine annealing with warm restarts, SGDR, Loshchilov & Hutter 2017.

    As torch's CosineAnnealingWarmRestarts, but without a state that a resumed run would have to find again.

    Args:
        epoch: epochs done, with a fraction.
        peak: the highest rate.
        params: periods and lowest rate.
        warmup: epochs over which the rate first rises from the lowest to the peak; the first period starts after.
    """
    if epoch < warmup:
        return params.eta_min + (peak - params.eta_min) * epoch / warmup
    epoch -= warmup
    period = float(params.T_0)
    while epoch >= period:
        epoch -= period
        period *= params.T_mult
    return params.eta_min + (peak - params.eta_min) * (1 + math.cos(math.pi * epoch / period)) / 2
