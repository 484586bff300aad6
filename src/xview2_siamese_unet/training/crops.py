"""Scenes of the store in the host's memory: crops for training, whole scenes for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.draws import Draw

RARITY: Final = np.array([0, 1, 5, 5, 2, 0])
"""Weights of a crop's pixels by class, as the winner of the xView2 challenge had them."""
_TABLE: Final = bytes(RARITY.tolist()).ljust(256, b"\0")


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
        tried = corners(scene.shape[0], scene.shape[1], side, draw.seed, self._candidates)
        for first, last in _spans(tried[:, 0].tolist(), side):
            self._store.prefetch(row, first, last)
        top, left = tried[_rarest(scene[..., 7], tried, side)].tolist()
        return torch.from_numpy(np.array(scene[top : top + side, left : left + side]))


def _rarest(damage: npt.NDArray[np.uint8], tried: npt.NDArray[np.int64], side: int) -> int:
    """Return which of the squares (n, 2) holds most of the rare classes, the first of equals; damage is (h, w)."""
    if len(tried) == 1:
        return 0
    low, high = tried.min(axis=0), tried.max(axis=0) + side
    if (high - low).prod() < len(tried) * side**2:
        around = _weigh(damage[low[0] : high[0], low[1] : high[1]])
        squares = [around[top : top + side, left : left + side] for top, left in (tried - low).tolist()]
    else:  # small squares far apart: what lies between them is not read
        squares = [_weigh(damage[top : top + side, left : left + side]) for top, left in tried.tolist()]
    # 32 bits are the fastest to add up in, and enough for a line.
    return int(np.argmax([square.sum(axis=1, dtype=np.uint32).sum() for square in squares]))


def _weigh(damage: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    # Indexing with an array of bytes makes one of 64-bit numbers first, which takes five times as long.
    return np.frombuffer(damage.tobytes().translate(_TABLE), np.uint8).reshape(damage.shape)


def _spans(tops: list[int], side: int) -> list[tuple[int, int]]:
    """Return the lines that squares cover together, first and behind the last of each run of them, none twice."""
    spans: list[tuple[int, int]] = []
    for top in sorted(tops):
        first = spans.pop()[0] if spans and top <= spans[-1][1] else top
        spans.append((first, top + side))
    return spans


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
