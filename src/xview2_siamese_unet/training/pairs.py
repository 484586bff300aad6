"""Scenes of the store as crops for training and as whole scenes for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, WeightedRandomSampler

from xview2_siamese_unet.damage import IGNORE, Damage
from xview2_siamese_unet.params.modelling import DataloaderParams, Recipe, TrainingParams, Unclassified
from xview2_siamese_unet.raster.store import Store


class PairDataset(Dataset[Tensor]):
    """uint8 (h, w, 8) of one scene: pre RGB, post RGB, building, damage.

    Bytes until they are on the device: a quarter of the traffic of floats, and no arithmetic in the workers.

    Args:
        store: where the scenes are.
        scenes: names, in the order of the indices.
        crop: side of a random crop in pixels; `None` gives the whole scene.
    """

    def __init__(self, store: Store, scenes: Sequence[str], crop: int | None = None) -> None:
        self._store = store
        self._rows = store.rows(scenes)
        self._crop = None if crop is None or crop >= min(store.height, store.width) else crop

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Tensor:
        scene = self._store.pixels[self._rows[index]]
        if self._crop is not None:
            # torch's generator, because workers of a DataLoader seed that one, each differently.
            top = int(torch.randint(self._store.height - self._crop + 1, ()))
            left = int(torch.randint(self._store.width - self._crop + 1, ()))
            scene = scene[top : top + self._crop, left : left + self._crop]
        return torch.from_numpy(np.array(scene))


class Batch(NamedTuple):
    """A batch on the device: `pre` and `post` grey values 0–255 (b, 3, h, w), `building` and `damage` (b, h, w)."""

    pre: Tensor
    post: Tensor
    building: Tensor
    damage: Tensor


def unpack(pixels: Tensor, unclassified: Unclassified) -> Batch:
    """Turn bytes (b, h, w, 8) into images and targets, un-classified pixels as the experiment says.

    The permuted views already lie as channels_last asks.
    """
    images = pixels[..., :6].permute(0, 3, 1, 2).float()
    damage = pixels[..., 7].long()
    code = {"ignore": IGNORE, "no_damage": int(Damage.NO_DAMAGE), "class": int(Damage.UNCLASSIFIED)}[unclassified]
    damage = damage.where(damage != Damage.UNCLASSIFIED, code)
    return Batch(images[:, :3], images[:, 3:], pixels[..., 6].long(), damage)


def training_loader(
    store: Store, scenes: Sequence[str], weights: list[float], recipe: Recipe, cores: int
) -> DataLoader[Tensor]:
    """Return the loader of training crops.

    Args:
        store: where the scenes are.
        scenes: names of the training split.
        weights: how often each is drawn, one a scene.
        recipe: batch, crop, sampler and workers.
        cores: that this process may use.
    """
    training = recipe.training
    return DataLoader(
        PairDataset(store, scenes, training.crop),
        batch_size=training.batch_size,
        sampler=_sampler(weights, training),
        drop_last=len(scenes) * training.crops_per_scene > training.batch_size,
        generator=torch.Generator().manual_seed(training.seed),
        **_workers(recipe.dataloader, cores),
    )


def whole_scenes_loader(store: Store, scenes: Sequence[str], recipe: Recipe, cores: int) -> DataLoader[Tensor]:
    """Return the loader of whole scenes in their order; its batches hold about as many pixels as those of training."""
    crop = min(recipe.training.crop or store.width, store.width)
    batch = max(1, recipe.training.batch_size * crop**2 // (store.height * store.width))
    return DataLoader(PairDataset(store, scenes), batch_size=batch, **_workers(recipe.dataloader, cores))


def _sampler(weights: list[float], params: TrainingParams) -> Sampler[int]:
    generator = torch.Generator().manual_seed(params.seed)
    drawn = len(weights) * params.crops_per_scene
    if params.sampler == "weighted":
        return WeightedRandomSampler(weights, drawn, generator=generator)
    # More samples than scenes: one shuffled pass after another, so that each scene comes equally often.
    return RandomSampler(weights, num_samples=drawn, generator=generator)


def _workers(params: DataloaderParams, cores: int) -> dict[str, Any]:
    workers = round(params.num_workers_multiplier * cores)
    context = "spawn" if workers else None  # fork after torch has computed hangs
    return {
        "num_workers": workers,
        "multiprocessing_context": context,
        "persistent_workers": workers > 0,
        "pin_memory": params.pin_memory and torch.cuda.is_available(),
    }
