"""Scenes of the store in the host's memory: crops for training, whole scenes for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.draws import Draw

RARITY: Final = np.array([0, 1, 5, 5, 2, 0])
"""Weights of a crop's pixels by class, as the winner of the xView2 challenge had them."""


def corners(height: int, width: int, side: int, seed: int, n: int) -> npt.NDArray[np.int64]:
    """Return the upper left corners of n random squares, (n, 2): row and column."""
    random = np.random.default_rng(seed)
    return np.stack([random.integers((height - side + 1, width - side + 1)) for _ in range(n)])


class Crops(Dataset[Tensor]):
    """Random square crops of scenes, uint8 (side, side, 8).

    Args:
        store: where the scenes are.
        scenes: names, in the order of the indices.
        side: of a crop in pixels; `None`, or more than a scene has, gives the whole scene.
        candidates: crops looked at for each one taken: the one with most of the rare classes, the first of equals.
    """

    def __init__(self, store: Store, scenes: Sequence[str], side: int | None, candidates: int = 1) -> None:
        self._store = store
        self._rows = store.rows(scenes)
        self._candidates = candidates
        self._side = None if side is None or side >= min(store.height, store.width) else side

    def __getitem__(self, draw: Draw) -> Tensor:
        row = self._rows[draw.scene]
        scene = self._store.pixels[row]
        if (side := self._side) is None:
            return _whole(self._store, row)
        tried = corners(scene.shape[0], scene.shape[1], side, draw.seed, self._candidates).tolist()
        for top, _ in tried:
            self._store.prefetch(row, top, top + side)
        crops = [scene[top : top + side, left : left + side] for top, left in tried]
        return torch.from_numpy(np.array(max(crops, key=_rarity) if len(crops) > 1 else crops[0]))


def _rarity(crop: np.ndarray) -> int:
    return int(np.bincount(crop[..., 7].ravel(), minlength=N_CODES) @ RARITY)


class WholeScenes(Dataset[Tensor]):
    """Whole scenes in their order, uint8 (h, w, 8)."""

    def __init__(self, store: Store, scenes: Sequence[str]) -> None:
        self._store = store
        self._rows = store.rows(scenes)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        return _whole(self._store, self._rows[index])


def _whole(store: Store, row: int) -> Tensor:
    store.prefetch(row)
    return torch.from_numpy(np.array(store.pixels[row]))
