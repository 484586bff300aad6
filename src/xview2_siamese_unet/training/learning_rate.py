"""The learning rate schedule, and the range test that suggests a peak."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.config.modelling import SchedulerParams

_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 100
_MEMORY: Final = 0.9  # of the running mean of the loss
_DIVERGED: Final = 4.0  # times the lowest loss
_log = logging.getLogger(__name__)


def learning_rate(epoch: float, peak: float, params: SchedulerParams, warmup: float = 0.0) -> float:
    """Return the rate: linear warm-up, then cosine annealing with warm restarts.

    Loshchilov & Hutter 2017, arXiv:1608.03983.

    Args:
        epoch: epochs done, with a fraction.
        peak: highest rate.
        params: periods and lowest rate.
        warmup: epochs in which the rate rises from the lowest to the peak, before the first period.
    """
    if epoch < warmup:
        return params.eta_min + (peak - params.eta_min) * epoch / warmup
    epoch -= warmup
    period = float(params.T_0)
    while epoch >= period:
        epoch -= period
        period *= params.T_mult
    return params.eta_min + (peak - params.eta_min) * (1 + math.cos(math.pi * epoch / period)) / 2


class RateCurve(NamedTuple):
    """Rates, the smoothed loss at each, and the rate at which it falls fastest."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def find_rate(
    optimizer: torch.optim.Optimizer, loss_of: Callable[[Tensor], Tensor], batches: Iterable[Tensor]
) -> RateCurve:
    """Train with a rate that rises from step to step, Smith 2017, arXiv:1506.01186.

    Not Lightning's Tuner, whose suggestion is the steepest fall over the rate itself and not over its logarithm: that
    is the noise of the lowest rates.

    Args:
        optimizer: of a net that is discarded afterwards.
        loss_of: the loss of a batch.
        batches: repeated if there are too few.
    """
    rates = np.geomspace(_LOWEST, _HIGHEST, _STEPS).tolist()
    losses: list[float] = []
    mean = 0.0
    steps = zip(rates, itertools.chain.from_iterable(itertools.repeat(batches)), strict=False)
    for step, (rate, batch) in enumerate(steps, start=1):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = loss_of(batch)
        torch.autograd.backward(loss)
        optimizer.step()
        mean = _MEMORY * mean + (1 - _MEMORY) * loss.item()
        losses.append(mean / (1 - _MEMORY**step))
        if not np.isfinite(losses[-1]) or losses[-1] > _DIVERGED * min(losses):
            break
    return suggest(rates[: len(losses)], losses)


def suggest(rates: list[float], losses: list[float]) -> RateCurve:
    """Return the curve with the steepest fall over log rate, before the lowest loss."""
    until = max(2, int(np.nanargmin(losses)) + 1)
    slope = np.gradient(losses[:until], np.log(rates[:until]))
    return RateCurve(rates, losses, rates[int(np.argmin(slope))])


def report_rate(curve: RateCurve, configured: float, folder: Path) -> None:
    """Write `lr_find.json` and `lr_find.png` to a folder, and log the suggestion."""
    write_atomically(folder / "lr_find.json", json.dumps(curve._asdict(), indent=2))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(curve.rates, curve.losses)
    axes.axvline(curve.suggestion, linestyle="--", label=f"steepest fall: {curve.suggestion:.1e}")
    axes.axvline(configured, linestyle=":", label=f"training.learning_rate: {configured:.1e}")
    axes.set(xlabel="learning rate", ylabel="loss (running mean)")
    axes.legend()
    with whole_file(folder / "lr_find.png") as part:
        figure.savefig(part, dpi=150)
    _log.info(
        "lr_find: the loss falls fastest at %.2e (%s); training continues with training.learning_rate %.2e",
        *(curve.suggestion, folder / "lr_find.png", configured),
    )
