"""Datasets of random crops and whole scenes, in host memory or on the device."""

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
from xview2_siamese_unet.models.tensors import CropTensor, SceneTensor
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.distributed import get_local_rank
from xview2_siamese_unet.training.samplers import CropIndex
from xview2_siamese_unet.types import Corners, Mask

RARITY: Final = np.array([0, 1, 5, 5, 2, 0])
"""Weight of a pixel of each class in the choice among candidate crops, as in the winning solution of xView2."""
_TABLE: Final = bytes(RARITY.tolist()).ljust(256, b"\0")
_SHARE: Final = 0.6  # of the free GPU memory; the rest is for weights and activations
_log = logging.getLogger(__name__)


def corners(height: int, width: int, side: int, seed: int, n: int) -> Corners:
    """Return the upper left corners of n random squares."""
    random = np.random.default_rng(seed)
    return np.stack([random.integers((height - side + 1, width - side + 1)) for _ in range(n)])


class Crops(Dataset[Tensor]):
    """Random square crops of scenes.

    Args:
        store: the scenes.
        scenes: names, in the order of the indices.
        side: of a crop in pixels; `None`, or more than a scene has, gives the whole scene.
        candidates: crops compared for each one taken: the one with most rare classes, the first of equals.
    """

    def __init__(self, store: Store, scenes: Sequence[str], side: int | None, candidates: int = 1) -> None:
        self._store = store
        self._rows = store.rows(scenes)
        self._candidates = candidates
        self._side = None if side is None or side >= min(store.height, store.width) else side

    def __getitem__(self, index: CropIndex) -> CropTensor:
        row = self._rows[index.scene]
        scene = self._store.pixels[row]
        if (side := self._side) is None:
            return _read_scene(self._store, row)
        tried = corners(scene.shape[0], scene.shape[1], side, index.seed, self._candidates)
        for first, last in _line_spans(tried[:, 0].tolist(), side):
            self._store.prefetch(row, first, last)
        top, left = tried[_rarest(scene[..., 7], tried, side)].tolist()
        return torch.from_numpy(np.array(scene[top : top + side, left : left + side]))


def _rarest(damage: Mask, tried: Corners, side: int) -> int:
    """Return which square of the damage has most rare classes."""
    if len(tried) == 1:
        return 0
    low, high = tried.min(axis=0), tried.max(axis=0) + side
    if (high - low).prod() < len(tried) * side**2:
        around = _rarity(damage[low[0] : high[0], low[1] : high[1]])
        squares = [around[top : top + side, left : left + side] for top, left in (tried - low).tolist()]
    else:  # small squares far apart: what lies between them is not read
        squares = [_rarity(damage[top : top + side, left : left + side]) for top, left in tried.tolist()]
    # 32 bits are the fastest to add up in, and enough for a line.
    return int(np.argmax([square.sum(axis=1, dtype=np.uint32).sum() for square in squares]))


def _rarity(damage: Mask) -> Mask:
    # Indexing with an array of bytes makes one of 64-bit numbers first, which takes five times as long.
    return np.frombuffer(damage.tobytes().translate(_TABLE), np.uint8).reshape(damage.shape)


def _line_spans(tops: list[int], side: int) -> list[tuple[int, int]]:
    """Return the lines that squares cover together as disjoint half-open spans."""
    spans: list[tuple[int, int]] = []
    for top in sorted(tops):
        first = spans.pop()[0] if spans and top <= spans[-1][1] else top
        spans.append((first, top + side))
    return spans


class WholeScenes(Dataset[Tensor]):
    """Whole scenes in order."""

    def __init__(self, store: Store, scenes: Sequence[str]) -> None:
        self._store = store
        self._rows = store.rows(scenes)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> CropTensor:
        return _read_scene(self._store, self._rows[index])


def _read_scene(store: Store, row: int) -> CropTensor:
    store.prefetch(row)
    return torch.from_numpy(np.array(store.pixels[row]))


class DeviceScenes:
    """Scenes in the memory of a device, uint8 (n, h, w, 8)."""

    def __init__(self, store: Store, names: Sequence[str], device: torch.device) -> None:
        self._row = {name: row for row, name in enumerate(names)}
        self.pixels = torch.empty((len(names), store.height, store.width, 8), dtype=torch.uint8, device=device)
        # Page-locked memory is copied to a GPU without another copy on the way.
        staged = torch.empty(self.pixels.shape[1:], dtype=torch.uint8, pin_memory=device.type == "cuda")
        rows = store.rows(names)
        for row in track("scenes copied to the device", len(rows), range(len(rows))):
            store.prefetch(int(rows[min(row + 1, len(rows) - 1)]))  # is read while this one is copied
            staged.numpy()[...] = store.pixels[rows[row]]
            self.pixels[row].copy_(staged)

    def rows(self, names: Sequence[str]) -> list[int]:
        """Return the rows of the scenes in `pixels`."""
        return [self._row[name] for name in names]


def load_to_device(store: Store, names: Sequence[str], params: DataloaderParams, device: str) -> DeviceScenes | None:
    """Return the scenes in the memory of the device, `None` if they stay on the host.

    Raises:
        ConfigError: they are asked for on the device and do not fit.
    """
    needed = len(names) * store.height * store.width * 8
    if params.location == "host" or (params.location == "auto" and device == "cpu"):
        _log.info("%d scenes (%.2f GB) are read from the store, as a map of the file", len(names), needed / 1e9)
        return None
    free = free_memory(device)
    if free is None or needed <= _SHARE * free:
        _log.info("%d scenes (%.2f GB) are kept in the memory of the device", len(names), needed / 1e9)
        return DeviceScenes(store, names, torch.device(device, get_local_rank()))
    if params.location == "auto":
        _log.warning(
            "%.1f GB of scenes do not fit in %.1f GB of free GPU memory: they stay in host memory, which is slower",
            *(needed / 1e9, free / 1e9),
        )
        return None
    raise ConfigError(
        f"dataloader.location is device, but {needed / 1e9:.1f} GB of scenes are more than {_SHARE:.0%} of the "
        f"{free / 1e9:.1f} GB of free GPU memory.",
        hint="Set dataloader.location to auto or host.",
    )


def free_memory(device: str) -> int | None:
    """Return the free bytes of a GPU; `None` for the CPU."""
    return torch.cuda.mem_get_info(get_local_rank())[0] if device == "cuda" else None


class DeviceCrops(Dataset[Tensor]):
    """The same crops as `Crops`, in whole batches."""

    def __init__(self, device: DeviceScenes, scenes: Sequence[str], side: int | None, candidates: int = 1) -> None:
        self._pixels = device.pixels
        self._rows = np.array(device.rows(scenes))
        # Bytes, whose sum has 64 bits all the same.
        self._weights = torch.from_numpy(RARITY.astype(np.uint8)).to(self._pixels.device)
        self._candidates = candidates
        self._side = None if side is None or side >= min(self._pixels.shape[1:3]) else side

    def __getitems__(self, indices: Sequence[CropIndex]) -> SceneTensor:
        rows = self._on_device(self._rows[[index.scene for index in indices]])
        if self._side is None:
            return self._pixels[rows]
        height, width = self._pixels.shape[1:3]
        tried = np.stack([corners(height, width, self._side, index.seed, self._candidates) for index in indices])
        positions = self._on_device(tried)
        if self._candidates == 1:
            return self._cut(rows, positions[:, 0])
        rarities = [self._rarity(self._cut(rows, positions[:, i], 7)) for i in range(self._candidates)]
        # The first of equals, as in `Crops`: `argmax` may take any.
        order = torch.arange(self._candidates, 0, -1, device=rows.device)
        best = (torch.stack(rarities, dim=1) * (self._candidates + 1) + order).argmax(dim=1)
        return self._cut(rows, positions[torch.arange(len(rows), device=rows.device), best])

    def _cut(self, rows: Tensor, positions: Tensor, channel: int | slice = slice(None)) -> Tensor:
        steps = torch.arange(self._side or 0, device=rows.device)
        down, right = (positions[:, axis, None] + steps for axis in (0, 1))
        return self._pixels[rows[:, None, None], down[:, :, None], right[:, None, :], channel]

    def _rarity(self, damage: Tensor) -> Tensor:
        return self._weights.index_select(0, damage.flatten().int()).view(len(damage), -1).sum(dim=1)

    def _on_device(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers).to(self._pixels.device, non_blocking=True)
