"""Where the time of a training step goes."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from xview2_siamese_unet.training.module import DamageModule

_log = logging.getLogger(__name__)


class StepClock(Callback):
    """Shares of data wait, forward, backward and optimiser in each epoch's steps, and what takes most.

    It waits for the device at each mark, which by itself costs some speed. Augmentation is part of forward, and what
    brings a batch to the device part of data.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._pairs = 0
        self._at = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start counting anew."""
        self._seconds, self._pairs, self._at = {}, 0, time.perf_counter()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: torch.Tensor, batch_idx: int) -> None:  # noqa: ANN401
        """End the wait for data."""
        self._pairs += len(batch)
        self._mark("data")

    def on_before_backward(self, *_: object) -> None:
        """End augmentation, forward pass and loss."""
        self._mark("forward")

    def on_after_backward(self, *_: object) -> None:
        """End the backward pass."""
        self._mark("backward")

    def on_train_batch_end(self, *_: object) -> None:
        """End clipping and the step of the optimiser."""
        self._mark("optimiser")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hand the shares to the history and say what the bottleneck is; the module's own hook comes after."""
        if not isinstance(pl_module, DamageModule):
            raise TypeError(type(pl_module).__name__)
        total = sum(self._seconds.values())
        shares = {part: seconds / total for part, seconds in self._seconds.items()}
        rate = self._pairs * trainer.world_size / total
        pl_module.profile = {f"share_{part}": share for part, share in shares.items()} | {"pairs_per_second": rate}
        text = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        most = max(shares, key=shares.__getitem__)
        _log.info("epoch %d: %.1f pairs/s; %s: the bottleneck is %s", trainer.current_epoch, rate, text, most)

    def _mark(self, part: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._at
        self._at = now
