"""Exponential moving average of weights and batch norm statistics, on the device of the module."""

from __future__ import annotations

from itertools import chain

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from xview2_siamese_unet.training.distributed import get_local_rank


class MovingAverage(WeightAveraging):
    """Validates and saves averaged weights.

    Not Lightning's `EMAWeightAveraging`, which averages one tensor at a time, and on the CPU, where the module is when
    training begins.

    Args:
        decay: of the average, per step.
        device: `cuda` or `cpu`.
    """

    def __init__(self, decay: float, device: str) -> None:
        self._where = torch.device(device, get_local_rank()) if device == "cuda" else torch.device(device)
        super().__init__(self._where)
        self._decay = decay

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Create the average."""
        self._average_model = _Average(pl_module, self._where, self._decay)


class _Average(AveragedModel):
    """Averages floats; integers, such as counts of batches, are those of the last step.

    torch's own method keeps the number of steps on the device and reads it, or on the host and copies it: either way, a
    GPU waits at every step.
    """

    def __init__(self, module: nn.Module, device: torch.device, decay: float) -> None:
        super().__init__(module, device, use_buffers=True)
        self.n_averaged = torch.tensor(0)
        self._average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards a model."""
        pairs = [*zip(*(chain(each.parameters(), each.buffers()) for each in (self.module, model)), strict=True)]
        if self.n_averaged > 0:
            floats = [pair for pair in pairs if pair[0].is_floating_point()]
            self._average([mean for mean, _ in floats], [value for _, value in floats], self.n_averaged)
            pairs = [pair for pair in pairs if not pair[0].is_floating_point()]
        for mean, value in pairs:
            mean.copy_(value)
        self.n_averaged += 1
