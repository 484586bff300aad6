"""A learning rate to begin with: the loss while the rate rises from step to step, Smith 2017, arXiv:1506.01186."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.training.module import DamageModule

_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 100
_MEMORY: Final = 0.9  # of the running mean of the loss
_DIVERGED: Final = 4.0  # times the lowest loss
_log = logging.getLogger(__name__)


class RateCurve(NamedTuple):
    """Rates, the smoothed loss at each, and where it falls fastest."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def find_rate(
    module: DamageModule, batches: Iterable[Tensor], device: str, dtype: torch.dtype | None = None
) -> RateCurve:
    """Return the curve; the module learns on the way and is of no use afterwards.

    Args:
        module: new.
        batches: bytes (b, h, w, 8); taken again from the start where there are too few.
        device: where to compute.
        dtype: numbers to compute in; `None` for float32.
    """
    module.to(device).train()
    optimizer = torch.optim.AdamW(module.net.parameters(), weight_decay=module.recipe.training.weight_decay, fused=True)
    rates = np.geomspace(_LOWEST, _HIGHEST, _STEPS).tolist()
    losses: list[float] = []
    mean = 0.0
    steps = zip(rates, itertools.chain.from_iterable(itertools.repeat(batches)), strict=False)
    for step, (rate, pixels) in enumerate(steps, start=1):
        optimizer.param_groups[0]["lr"] = rate
        with torch.autocast(device, dtype, enabled=dtype is not None):
            loss = module.loss_of(pixels.to(device), torch.clone)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        mean = _MEMORY * mean + (1 - _MEMORY) * loss.item()
        losses.append(mean / (1 - _MEMORY**step))
        if not np.isfinite(losses[-1]) or losses[-1] > _DIVERGED * min(losses):
            break
    return suggest(rates[: len(losses)], losses)


def suggest(rates: list[float], losses: list[float]) -> RateCurve:
    """Return the curve with the rate at which the loss falls fastest over the logarithm, before its lowest point."""
    until = max(2, int(np.nanargmin(losses)) + 1)
    slope = np.gradient(losses[:until], np.log(rates[:until]))
    return RateCurve(rates, losses, rates[int(np.argmin(slope))])


def report_rate(curve: RateCurve, configured: float, folder: Path) -> None:
    """Leave `lr_find.json` and `lr_find.png` in a folder, and the suggestion in the log."""
    write_atomically(folder / "lr_find.json", json.dumps(curve._asdict(), indent=2))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(curve.rates, curve.losses)
    axes.axvline(curve.suggestion, linestyle="--", label=f"falls fastest: {curve.suggestion:.1e}")
    axes.axvline(configured, linestyle=":", label=f"training.learning_rate: {configured:.1e}")
    axes.set(xlabel="learning rate", ylabel="loss (running mean)")
    axes.legend()
    with whole_file(folder / "lr_find.png") as part:
        figure.savefig(part, dpi=150)
    _log.info(
        "lr_find: the loss falls fastest at %.2e (%s); training goes on with training.learning_rate %.2e",
        *(curve.suggestion, folder / "lr_find.png", configured),
    )
