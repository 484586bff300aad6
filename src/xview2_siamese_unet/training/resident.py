"""Scenes that stay on the device: crops are cut there, and no batch travels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from xview2_siamese_unet.config.modelling import DataloaderParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.crops import RARITY, corners
from xview2_siamese_unet.training.draws import Draw
from xview2_siamese_unet.training.processes import local_rank

_SHARE: Final = 0.6  # of the free memory; the rest is for the net and what it computes
_log = logging.getLogger(__name__)


class Resident:
    """Scenes on a device, uint8 (n, h, w, 8).

    Args:
        store: where the scenes are.
        names: which of them.
        device: where they go.
    """

    def __init__(self, store: Store, names: Sequence[str], device: torch.device) -> None:
        self._place = {name: place for place, name in enumerate(names)}
        self.pixels = torch.empty((len(names), store.height, store.width, 8), dtype=torch.uint8, device=device)
        for place, row in enumerate(store.rows(names)):
            self.pixels[place].copy_(torch.from_numpy(np.array(store.pixels[row])))

    def rows(self, names: Sequence[str]) -> list[int]:
        """Return where the scenes lie in `pixels`."""
        return [self._place[name] for name in names]


def take_in(store: Store, names: Sequence[str], params: DataloaderParams, device: str) -> Resident | None:
    """Return the scenes on the device if they are asked for there, or `None` where they stay in the host's memory.

    Raises:
        ConfigError: they are asked for and do not fit.
    """
    if params.location == "host" or (params.location == "auto" and device == "cpu"):
        return None
    needed = len(names) * store.height * store.width * 8
    free = free_memory(device)
    if free is None or needed <= _SHARE * free:
        _log.info("%d scenes (%.2f GB) stay in the memory of the device", len(names), needed / 1e9)
        return Resident(store, names, torch.device(device, local_rank()))
    if params.location == "auto":
        _log.warning(
            "%.1f GB of scenes do not fit in %.1f GB of free GPU memory: they stay in host memory, which is slower",
            *(needed / 1e9, free / 1e9),
        )
        return None
    raise ConfigError(
        "dataloader.location",
        found=f"device, where {free / 1e9:.1f} GB are free for {needed / 1e9:.1f} GB of scenes",
        allowed=f"scenes that fill at most {_SHARE:.0%} of the free memory",
        remedy="set dataloader.location to auto or host",
    )


def free_memory(device: str) -> int | None:
    """Return the free bytes of a GPU; `None` for the CPU, where the scenes are in memory already or can be."""
    return torch.cuda.mem_get_info(local_rank())[0] if device == "cuda" else None


class ResidentCrops(Dataset[Tensor]):
    """The same crops as `Crops`, whole batches at a time, uint8 (b, side, side, 8).

    Args:
        resident: where the scenes are.
        scenes: names, in the order of the indices.
        side: of a crop in pixels; `None`, or more than a scene has, gives the whole scene.
        candidates: crops looked at for each one taken.
    """

    def __init__(self, resident: Resident, scenes: Sequence[str], side: int | None, candidates: int = 1) -> None:
        self._pixels = resident.pixels
        self._rows = np.array(resident.rows(scenes))
        # Bytes, whose sum has 64 bits all the same.
        self._weights = torch.from_numpy(RARITY.astype(np.uint8)).to(self._pixels.device)
        self._candidates = candidates
        self._side = None if side is None or side >= min(self._pixels.shape[1:3]) else side

    def __getitems__(self, draws: Sequence[Draw]) -> Tensor:
        rows = self._on_device(self._rows[[draw.scene for draw in draws]])
        if self._side is None:
            return self._pixels[rows]
        height, width = self._pixels.shape[1:3]
        tried = np.stack([corners(height, width, self._side, draw.seed, self._candidates) for draw in draws])
        places = self._on_device(tried)
        if self._candidates == 1:
            return self._cut(rows, places[:, 0])
        rarities = [self._rarity(self._cut(rows, places[:, i], 7)) for i in range(self._candidates)]
        # The first of equals, as `max` takes it: `argmax` may take any.
        order = torch.arange(self._candidates, 0, -1, device=rows.device)
        best = (torch.stack(rarities, dim=1) * (self._candidates + 1) + order).argmax(dim=1)
        return self._cut(rows, places[torch.arange(len(rows), device=rows.device), best])

    def _cut(self, rows: Tensor, places: Tensor, channel: int | slice = slice(None)) -> Tensor:
        steps = torch.arange(self._side or 0, device=rows.device)
        down, right = (places[:, axis, None] + steps for axis in (0, 1))
        return self._pixels[rows[:, None, None], down[:, :, None], right[:, None, :], channel]

    def _rarity(self, damage: Tensor) -> Tensor:
        return self._weights.index_select(0, damage.flatten().int()).view(len(damage), -1).sum(dim=1)

    def _on_device(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers).to(self._pixels.device, non_blocking=True)


class ResidentScenes(Dataset[Tensor]):
    """Whole scenes in their order, uint8 (h, w, 8)."""

    def __init__(self, resident: Resident, scenes: Sequence[str]) -> None:
        self._resident = resident
        self._rows = resident.rows(scenes)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        return self._resident.pixels[self._rows[index]]
