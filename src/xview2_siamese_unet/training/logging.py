"""Log file, profile of the steps, and images for TensorBoard."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.profilers import SimpleProfiler

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.models.tensors import Codes, SceneTensor
from xview2_siamese_unet.types import Image, Mask, Panel, Pixels

_PALETTE: Final = np.array([code.rgb for code in Damage], np.uint8)
_SIDE: Final = 256
_SHOWN: Final = 4
_log = logging.getLogger(__name__)


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append the log of this package to a file within this context."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger("xview2_siamese_unet")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's tips, and warnings that users of this project cannot act on."""
    library = logging.getLogger("lightning.pytorch")
    before = library.level
    library.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            # The oldest supported torch does not have its successor.
            warnings.filterwarnings("ignore", ".*`broadcast_buffers` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "Checkpoint directory .* is not empty")  # a resumed run
            yield
    finally:
        library.setLevel(before)


class StepProfiler(SimpleProfiler):
    """Lightning's profiler, which waits for the device so that GPU time is attributed to the right step."""

    def start(self, action_name: str) -> None:
        """Start an action."""
        _synchronize()
        super().start(action_name)

    def stop(self, action_name: str) -> None:
        """End an action."""
        _synchronize()
        super().stop(action_name)

    def end_epoch(self, epoch: int, pairs: int) -> dict[str, float]:
        """Log and return the shares of an epoch's time and `pairs_per_second`; start again.

        Augmentation is part of forward, and the transfer to the device part of data.
        """

        def seconds(*endings: str) -> float:
            return sum(sum(took) for name, took in self.recorded_durations.items() if name.endswith(endings))

        parts = {"data": seconds(".train_dataloader_next", ".batch_to_device"), "forward": seconds("y.training_step")}
        parts["backward"] = seconds("y.backward")  # of the strategy, which wraps the module's
        parts["optimiser"] = seconds("run_training_batch") - parts["forward"] - parts["backward"]
        self.recorded_durations.clear()
        total = sum(parts.values())
        shares = {f"share_{part}": spent / total for part, spent in parts.items()}
        text = ", ".join(f"{part} {spent / total:.0%}" for part, spent in parts.items())
        most = max(parts, key=parts.__getitem__)
        _log.info("epoch %d: %.1f pairs/s; %s: the bottleneck is %s", epoch, pairs / total, text, most)
        return shares | {"pairs_per_second": pairs / total}


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Panels:
    """Images of the scenes with most damage, the same ones in every epoch."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, Image]] = []

    def offer(self, pixels: SceneTensor, predicted: Codes) -> None:
        """Keep panels of the scenes of a batch that are among those with most damage.

        Args:
            pixels: of the scenes.
            predicted: damage codes.
        """
        damage = pixels[..., 7]
        damaged = ((damage >= Damage.MINOR_DAMAGE) & (damage <= Damage.DESTROYED)).sum(dim=(1, 2)).tolist()
        for n, most in enumerate(damaged):
            if len(self._kept) < _SHOWN or most > self._kept[-1][0]:
                self._kept.append((most, draw_panel(pixels[n].cpu().numpy(), predicted[n].cpu().numpy())))
                self._kept = sorted(self._kept, key=lambda kept: -kept[0])[:_SHOWN]

    def image(self) -> Image:
        """Return the panels from top to bottom, most damage first."""
        return np.concatenate([panel for _, panel in self._kept])


def draw_panel(scene: Pixels, predicted: Mask) -> Panel:
    """Return pre, post, truth and prediction side by side, (h, 4 w, 3), about 256 rows.

    Args:
        scene: (h, w, 8) of the store.
        predicted: damage codes (h, w).
    """
    step = max(1, scene.shape[0] // _SIDE)
    scene, predicted = scene[::step, ::step], predicted[::step, ::step]
    return np.concatenate([scene[..., :3], scene[..., 3:6], _PALETTE[scene[..., 7]], _PALETTE[predicted]], axis=1)
