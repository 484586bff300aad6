"""Scenes of the store as crops for training and as whole scenes for validation.

Bytes (h, w, 8) until they are on the device: pre RGB, post RGB, building, damage. That is a quarter of the traffic of
floats, and no arithmetic in the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from xview2_siamese_unet.damage import IGNORE, N_CODES, OVERLAP_PRIORITY, Damage
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.params.modelling import DataloaderParams, Recipe, Unclassified
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.draws import Draw, Draws, Shard

_RARITY = np.array([0, 1, 5, 5, 2, 0])


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
        scene = self._store.pixels[self._rows[draw.scene]]
        if self._side is None:
            return torch.from_numpy(np.array(scene))
        random = np.random.default_rng(draw.seed)
        crops = [self._crop(scene, self._side, random) for _ in range(self._candidates)]
        return torch.from_numpy(np.array(max(crops, key=_rarity) if len(crops) > 1 else crops[0]))

    @staticmethod
    def _crop(scene: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
        top, left = random.integers((scene.shape[0] - side + 1, scene.shape[1] - side + 1))
        return scene[top : top + side, left : left + side]


def _rarity(crop: np.ndarray) -> int:
    """Weigh the pixels of a crop by class, as the winner of the xView2 challenge did."""
    counts = np.bincount(crop[..., 7].ravel(), minlength=N_CODES)
    return int(counts @ _RARITY)


class WholeScenes(Dataset[Tensor]):
    """Whole scenes in their order, uint8 (h, w, 8)."""

    def __init__(self, store: Store, scenes: Sequence[str]) -> None:
        self._store = store
        self._rows = store.rows(scenes)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self._store.pixels[self._rows[index]]))


class Batch(NamedTuple):
    """A batch on the device: `pre` and `post` grey values 0–255 (b, 3, h, w), `building` and `damage` (b, h, w)."""

    pre: Tensor
    post: Tensor
    building: Tensor
    damage: Tensor


def unpack(pixels: Tensor, unclassified: Unclassified, dilation: int = 1) -> Batch:
    """Turn bytes (b, h, w, 8) into images and targets, un-classified pixels as the experiment says.

    The permuted views already lie as channels_last asks.

    Args:
        pixels: of a batch.
        unclassified: what un-classified pixels of the damage truth become.
        dilation: side of the square by which the buildings of the damage truth grow.
    """
    images = pixels[..., :6].permute(0, 3, 1, 2).float()
    damage = dilate(pixels[..., 7].long(), dilation)
    code = {"ignore": IGNORE, "no_damage": int(Damage.NO_DAMAGE), "class": int(Damage.UNCLASSIFIED)}[unclassified]
    damage = damage.where(damage != Damage.UNCLASSIFIED, code)
    return Batch(images[:, :3], images[:, 3:], pixels[..., 6].long(), damage)


def dilate(damage: Tensor, side: int) -> Tensor:
    """Let buildings grow by a square of `side` pixels, codes (b, h, w); the class of higher priority wins.

    A label and its roof seldom lie on each other to the pixel, and least of all in the post-disaster image.
    """
    if side == 1:
        return damage
    order = torch.tensor([Damage.BACKGROUND, *reversed(OVERLAP_PRIORITY)], device=damage.device)
    rank = order.argsort()[damage]
    grown = functional.max_pool2d(rank.float().unsqueeze(1), side, stride=1, padding=side // 2).squeeze(1)
    return order[grown.long()]


def training_loader(
    store: Store,
    scenes: Sequence[str],
    weights: Sequence[float],
    recipe: Recipe,
    cores: int,
    shard: Shard = Shard(),  # noqa: B008  frozen
) -> DataLoader[Tensor]:
    """Return the loader of training crops.

    Args:
        store: where the scenes are.
        scenes: names of the training split.
        weights: how often each is drawn, one a scene.
        recipe: batch, crop, sampler and workers.
        cores: that this process may use.
        shard: this process's part of every batch.

    Raises:
        ConfigError: the batch cannot be shared evenly.
    """
    training = recipe.training
    if training.batch_size % shard.world:
        raise ConfigError(
            "training.batch_size",
            found=f"{training.batch_size} for {shard.world} processes",
            allowed="a multiple of the number of processes, which share each batch",
            remedy=f"set training.batch_size to a multiple of {shard.world}",
        )
    return DataLoader(
        Crops(store, scenes, training.crop, training.crop_candidates),
        batch_size=training.batch_size // shard.world,
        sampler=Draws(weights, training, shard),
        **_workers(recipe.dataloader, cores),
    )


def whole_scenes_loader(
    store: Store,
    scenes: Sequence[str],
    recipe: Recipe,
    cores: int,
    shard: Shard = Shard(),  # noqa: B008
) -> DataLoader[Tensor]:
    """Return the loader of whole scenes in their order; its batches hold about as many pixels as those of training."""
    crop = min(recipe.training.crop or store.width, store.width)
    batch = recipe.training.batch_size // shard.world * crop**2 // (store.height * store.width)
    own = WholeScenes(store, scenes[shard.rank :: shard.world])
    return DataLoader(own, batch_size=max(1, batch), **_workers(recipe.dataloader, cores))


def _workers(params: DataloaderParams, cores: int) -> dict[str, Any]:
    workers = round(params.num_workers_multiplier * cores)
    context = "spawn" if workers else None  # fork after torch has computed hangs
    return {
        "num_workers": workers,
        "multiprocessing_context": context,
        "persistent_workers": workers > 0,
        "pin_memory": params.pin_memory and torch.cuda.is_available(),
    }
