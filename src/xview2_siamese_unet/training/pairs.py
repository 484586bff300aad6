"""Batches of scenes: how they are loaded, and what they become on the device.

Bytes (h, w, 8) until they are on the device: pre RGB, post RGB, building, damage. That is a quarter of the traffic of
floats, and no arithmetic in the workers.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from xview2_siamese_unet.config.modelling import DataloaderParams, Recipe, Unclassified
from xview2_siamese_unet.damage import IGNORE, OVERLAP_PRIORITY, Damage
from xview2_siamese_unet.errors import ConfigError, StorageError
from xview2_siamese_unet.training.crops import Crops, WholeScenes
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.draws import Draws
from xview2_siamese_unet.training.processes import launched_shard
from xview2_siamese_unet.training.resident import Resident, ResidentCrops, ResidentScenes

Loader = DataLoader[Tensor]


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


def training_loader(data: TrainingData, recipe: Recipe, cores: int, resident: Resident | None = None) -> Loader:
    """Return the loader of training crops, of which each process gets its part.

    Args:
        data: what is learnt from.
        recipe: batch, crop, sampler and workers.
        cores: that this process may use.
        resident: the scenes where they stay on the device.

    Raises:
        ConfigError: the batch cannot be shared evenly.
    """
    training, shard = recipe.training, launched_shard()
    if training.batch_size % shard.world:
        raise ConfigError(
            "training.batch_size",
            found=f"{training.batch_size} for {shard.world} processes",
            allowed="a multiple of the number of processes, which share each batch",
            remedy=f"set training.batch_size to a multiple of {shard.world}",
        )
    draws = Draws(data.sample_weights, training, shard)
    own, kind = training.batch_size // shard.world, (training.crop, training.crop_candidates)
    if resident is not None:
        crops = ResidentCrops(resident, data.train, *kind)
        return DataLoader(crops, batch_size=own, sampler=draws, collate_fn=_as_it_is)
    how = _workers(recipe.dataloader, cores)
    return DataLoader(Crops(data.store, data.train, *kind), batch_size=own, sampler=draws, **how)


def whole_scenes_loader(data: TrainingData, recipe: Recipe, cores: int, resident: Resident | None = None) -> Loader:
    """Return the loader of whole validation scenes; its batches hold about as many pixels as those of training.

    Args:
        data: what is learnt from, and validated on.
        recipe: batch and workers.
        cores: that this process may use.
        resident: the scenes where they stay on the device.

    Raises:
        ConfigError: a process would have no scene.
    """
    store, shard = data.store, launched_shard()
    if len(data.validation) < shard.world:
        raise ConfigError(
            "split validation",
            found=f"{len(data.validation)} scenes for {shard.world} processes",
            allowed="at least one scene for each process",
            remedy="launch fewer processes, or raise data_processing.split.validation",
        )
    crop = min(recipe.training.crop or store.width, store.width)
    batch = max(1, recipe.training.batch_size // shard.world * crop**2 // (store.height * store.width))
    own = data.validation[shard.rank :: shard.world]
    if resident is not None:
        return DataLoader(ResidentScenes(resident, own), batch_size=batch)
    return DataLoader(WholeScenes(store, own), batch_size=batch, **_workers(recipe.dataloader, cores))


@contextmanager
def shared_memory_explained() -> Iterator[None]:
    """Raise one sentence where the workers of a loader, which send batches through /dev/shm, fill it up.

    Raises:
        StorageError: they did.
    """
    try:
        yield
    except RuntimeError as error:
        # A worker raises the first and is killed by a bus error for the second, which may be a link of the chain: torch
        # raises it again while Lightning ends the workers.
        if not re.search(r"shared memory\(shm\)|out of shared memory", "".join(traceback.format_exception(error))):
            raise
        raise StorageError(
            "The dataloader workers ran out of shared memory (/dev/shm), which is small in containers.",
            hint="Start the container with a larger --shm-size, or set dataloader.num_workers_multiplier: 0.",
        ) from error


def _as_it_is(batch: Any) -> Tensor:  # noqa: ANN401  what torch calls a list of samples is a whole batch here
    whole: Tensor = batch
    return whole


def _workers(params: DataloaderParams, cores: int) -> dict[str, Any]:
    workers = round(params.num_workers_multiplier * cores)
    context = "spawn" if workers else None  # fork after torch has computed hangs
    return {
        "num_workers": workers,
        "multiprocessing_context": context,
        "persistent_workers": workers > 0,
        "pin_memory": params.pin_memory and torch.cuda.is_available(),
    }
